"""Bad input: one line that says what, where and what to do; the right status; nothing lost."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_support import SMALL, Caller, command, run, unprivileged
from gpgen_cli.main import cli
from store_tools import hashes

import gpgen as library
from gpgen.io import files


@pytest.fixture
def gpgen(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return Caller(capfd, tmp_path)


def assert_one_line(result, status, *words):
    assert result.status == status, result
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err


WRONG_ARGUMENTS = [
    (["--n", "0"], ["n is 0", "1 sample or more"]),
    (["--n", "-3"], ["n is -3"]),
    (["--n", "many"], ["'many' is not a valid integer", "gpgen make --help"]),
    (["--size", "wide"], ["'wide' is not a size", "480x640"]),
    (["--size", "0"], ["0"]),
    (["--size", "-4"], ["-4"]),
    (["--size", "1x2x3x4"], ["shape"]),
    (["--boundary", "periodic", "--size", "20"], ["px", "periodic"]),
    (["--boundary", "closed"], ["'closed' is not one of", "periodic"]),
    (["--dtype", "int8"], ["'int8' is not one of", "float16"]),
    (["--seed", "-1"], ["seed -1", "use 0 to"]),
    (["--workers", "0"], ["workers is 0", "1 or more"]),
    (["--chunk-size", "0"], ["chunk_size is 0"]),
    (["--chunk-size", "3", "--shard-size", "4"], ["not a multiple", "6"]),
    (["--out", "data.txt"], ["data.txt", "data.zarr"]),
    (["--resume", "--overwrite"], ["exclude each other"]),
    (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], ["brings its own workers"]),
    (["--sed", "3"], ["there is no option --sed", "did you mean --seed?"]),
    (["--frobnicate"], ["there is no option --frobnicate", "gpgen make --help"]),
    (["--recipe", "two-scael"], ["'two-scael'", "two-scale"]),
    (["--recipe", "missing.toml"], ["missing.toml", "can't be read"]),
    (["--recipe", "."], ["can't be read"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_ARGUMENTS)
def test_wrong_arguments_are_refused_with_status_2(gpgen, tmp_path, arguments, words):
    before = sorted(tmp_path.iterdir())
    assert_one_line(gpgen.make(*arguments), 2, *words)
    assert sorted(tmp_path.iterdir()) == before


WRONG_RECIPES = [
    ("2.0, 2.5", "-2.0, 2.5", ["component 1", "-2.0 px", "positive"]),
    ("8.0, 12.0", "8.0, 5000.0", ["5000 px", "32x32 px", "rounding noise", "use at most"]),
    ("2.0, 2.5", "nan, 2.5", ["component 1", "nan"]),
    ("2.0, 2.5", "2.0, 2.0", ["component 1", "2 px", "twice"]),
    ("weight = 1.25", "weight = -1.25", ["component 2", "weight -1.25"]),
    ("weight = 1.25", "weight = nan", ["component 2", "weight nan"]),
    ("seed = 11", "splits = { train = 0.5, test = 0.4 }", ["splits sum to 0.9", "1"]),
    ('"rbf"', '"rbv"', ["unknown kernel 'rbv'", "use one of: rbf"]),
    ("weight = 1.25", "wieght = 1.25", ["wieght", "weight"]),
    ("seed = 11", "sead = 11", ["sead", "seed"]),
    ("shape = [32, 32]", "shape = 32", ["shape"]),
    ("shape = [32, 32]", "shape = [32, 32", ["not valid TOML"]),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG_RECIPES)
def test_wrong_recipes_are_refused_with_the_files_name(gpgen, old, new, words):
    Path("bad.toml").write_text(SMALL.replace(old, new))
    assert_one_line(gpgen.make("--recipe", "bad.toml"), 2, "bad.toml", *words)
    assert_one_line(gpgen("recipes", "show", "bad.toml"), 2, "bad.toml", *words)


def test_a_recipe_that_is_not_text_is_refused(gpgen):
    Path("bad.toml").write_bytes(b"\xff\xfe\x00")
    assert_one_line(gpgen.make("--recipe", "bad.toml"), 2, "bad.toml", "UTF-8")


def test_a_target_in_a_missing_folder_is_refused(gpgen):
    assert_one_line(gpgen.make(out="nowhere/data.zarr"), 1, "nowhere", "mkdir -p")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_target_where_not_even_root_can_write_is_refused(gpgen):
    assert_one_line(gpgen.make(out="/proc/data.zarr"), 1, "/proc")


def test_a_target_that_is_not_writable_is_refused(gpgen, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    words = ("make", "--recipe", "small.toml", "--n", "8", "--out", "locked/data.zarr")
    result = run(*words, cwd=tmp_path, before=unprivileged())
    assert_one_line(result, 1, "locked", "not writable")


def test_a_target_that_exists_is_refused_and_left_untouched(gpgen, tmp_path):
    gpgen.make()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("data.zarr*")}
    assert_one_line(gpgen.make("--seed", "3"), 1, "data.zarr exists", "--overwrite")
    assert_one_line(gpgen.make("--seed", "3", "--resume"), 1, "differs", "seed")
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("data.zarr*")}
    assert gpgen.make("--seed", "3", "--overwrite").status == 0


def test_too_little_disk_is_told_before_anything_is_written(gpgen, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = gpgen.make("--size", "4096", n=10**8)
    assert_one_line(result, 1, "GB free", "free some space")
    assert sorted(tmp_path.iterdir()) == before
    assert "not enough" in gpgen.make("--size", "4096", "--dry-run", n=10**8).out


def test_a_scheduler_that_does_not_answer_is_told_by_its_address(gpgen, monkeypatch):
    from gpgen.making import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    address = "tcp://127.0.0.1:9"
    assert_one_line(gpgen.make("--scheduler", address), 1, address, "does not answer")


def test_what_is_not_a_dataset_is_refused(gpgen):
    for verb in (["info"], ["verify"], ["show", "-o", "sheet.png"]):
        assert_one_line(gpgen(*verb, "missing.zarr"), 1, "missing.zarr")
        assert_one_line(gpgen(*verb, "."), 1, "a folder of other things, not a gpgen dataset")
    Path("other.h5").write_bytes(b"not HDF5")
    assert_one_line(gpgen("info", "other.h5"), 1, "other.h5")


def test_wrong_wishes_of_the_other_verbs_are_refused(gpgen):
    gpgen.make()
    assert_one_line(gpgen("show", "data.zarr", "-o", "sheet.doc"), 2, "sheet.doc", ".pdf")
    assert_one_line(gpgen("show", "data.zarr", "-o", "no/sheet.png"), 1, "/no does not exist")
    assert_one_line(gpgen("show", "data.zarr", "-o", "a.png", "--columns", "0"), 2, "columns")
    assert_one_line(gpgen("verify", "data.zarr", "--regenerate", "some"), 2, "'some'", "'all'")
    assert_one_line(gpgen("verify", "data.zarr", "--regenerate", "-1"), 2, "-1")
    assert_one_line(gpgen("recipes", "show", "two"), 2, "'two'")
    assert_one_line(gpgen("show"), 2, "SOURCE", "gpgen show --help")


@pytest.mark.parametrize(
    ("typed", "meant"), [("mkae", "make"), ("shwo", "show"), ("recipe", "recipes")]
)
def test_a_misspelt_verb_gets_the_nearest_one(gpgen, typed, meant):
    assert_one_line(gpgen(typed), 2, repr(typed), f"did you mean 'gpgen {meant}'")


def test_a_verb_like_no_other_gets_the_list(gpgen):
    assert_one_line(gpgen("xyzzy"), 2, "make", "verify")


def test_a_missing_package_is_named_with_the_command_that_installs_it(gpgen, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    gpgen.make()
    result = gpgen("show", "data.zarr", "-o", "sheet.png")
    assert_one_line(result, 1, "matplotlib", "pip install 'gpgen[plot]'")


def test_errors_come_as_json_too(gpgen):
    result = gpgen.make("--n", "0", "--json")
    assert_one_line(result, 2, "n is 0")
    error = json.loads(result.out)["error"]
    assert error["code"] == "usage"
    assert result.err == f"error: {error['message']}; {error['hint']}\n"


def test_debug_shows_the_traceback_before_the_line(gpgen):
    result = gpgen.make("--n", "0", "--debug")
    assert result.status == 2
    assert result.err.startswith("Traceback")
    assert result.err.splitlines()[-1].startswith("error: n is 0")


def test_a_bug_is_one_line_too_and_asks_for_a_report(gpgen, monkeypatch):
    def explode(*arguments, **options):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(library, "plan", explode, raising=False)
    assert_one_line(gpgen.make(), 1, "ZeroDivisionError: division by zero", "--debug", "report")


def test_every_parameter_is_documented():
    import click

    context = click.Context(cli)
    for name in cli.list_commands(context):
        for parameter in cli.get_command(context, name).params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)


def test_wrong_input_in_a_process_of_its_own_is_one_line(tmp_path):
    assert_one_line(run("make", "--n", "0", "--out", "a.zarr", cwd=tmp_path), 2, "n is 0")


@pytest.mark.kill
@pytest.mark.parametrize("kind", ["--threads", "--processes"])
def test_ctrl_c_says_how_to_resume_and_the_result_is_the_same(gpgen, tmp_path, kind):
    arguments = ["--n", "2400", "--shard-size", "10", "--size", "64"]
    process = subprocess.Popen(
        command("make", "--recipe", "small.toml", *arguments, "--out", "data.zarr", kind),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    journal = tmp_path / "data.zarr.making" / "journal.jsonl"
    deadline = time.monotonic() + 300
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole process group
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    said, err = err.split("\n", 1)
    assert said.startswith("stopping")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert "of 2,400 samples are safe" in err
    assert not (tmp_path / "data.zarr").exists()
    resume = err.strip().partition("resume with: ")[2]
    assert resume.startswith("gpgen make ")
    assert resume.endswith(" --resume")
    assert gpgen(*shlex.split(resume)[1:]).status == 0
    made = json.loads(gpgen("info", "data.zarr", "--json").out)
    gpgen("make", "--recipe", "small.toml", *arguments, "--out", "whole.zarr")
    whole = json.loads(gpgen("info", "whole.zarr", "--json").out)
    assert made["manifest_sha256"] == whole["manifest_sha256"]


OVERWRITING = {
    "make": ["make", "--recipe", "small.toml", "--n", "8", "--out", "new.zarr"],
    "convert": ["convert", "old.zarr", "new.h5"],
    "import": ["import", "old/samples.zip", "--out", "new.zarr"],
}


@pytest.mark.parametrize("verb", OVERWRITING)
@pytest.mark.parametrize("begun", [False, True], ids=["before it began", "when all is made"])
def test_ctrl_c_while_overwriting_says_what_replaces_the_old(gpgen, tmp_path, verb, begun) -> None:
    arguments = OVERWRITING[verb]
    target = arguments[-1]
    if verb == "convert":
        gpgen.make(out="old.zarr")
    elif verb == "import":
        gpgen("archive", "--samples=9.5=2", "--samples=80=2", "--size=128", "--out", "old")
    assert gpgen(*arguments).status == 0
    whole = hashes(tmp_path)
    damage(max(tmp_path.glob(f"{target}/**/*"), default=Path(target), key=os.path.getsize))

    def hook(action, path):
        if action == "rename" and path.endswith(f"/{target}" if begun else "/job.json"):
            files.watch(None)
            raise KeyboardInterrupt

    files.watch(hook)
    stopped = gpgen(*arguments, "--overwrite")
    assert_one_line(stopped, 130, "interrupted")
    hint = stopped.err.strip().rpartition(" with: ")[2]
    assert hint == shlex.join(["gpgen", *arguments, "--resume" if begun else "--overwrite"])
    assert gpgen(*shlex.split(hint)[1:]).status == 0
    assert hashes(tmp_path) == whole


def test_ctrl_c_in_an_export_to_tar_keeps_nothing_and_says_so(gpgen, tmp_path) -> None:
    before = sorted(tmp_path.iterdir())

    def hook(action, path):
        if action == "rename" and path.endswith("d-02.tar"):
            files.watch(None)
            raise KeyboardInterrupt

    files.watch(hook)
    arguments = ["--n", "8", "--shard-size", "2", "--out", "d-{shard:02d}.tar", "--workers", "1"]
    stopped = gpgen("make", "--recipe", "small.toml", *arguments)
    assert_one_line(stopped, 130, "interrupted; nothing is kept")
    assert sorted(tmp_path.iterdir()) == before
    again = stopped.err.strip().rpartition(" with: ")[2]
    assert gpgen(*shlex.split(again)[1:]).status == 0
    assert gpgen("verify", "d-manifest.tar.h5").status == 0


def damage(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", [["info"], ["verify", "--json"], ["verify", "--debug"]])
def test_output_that_can_not_be_written_is_an_error_of_one_line(gpgen, verb) -> None:
    gpgen.make()
    with Path("/dev/full").open("w") as full:
        for stderr in (subprocess.PIPE, full):
            done = subprocess.run(
                command(*verb, "data.zarr"), stdout=full, stderr=stderr, text=True, check=False
            )
            assert done.returncode == 1
            if done.stderr is not None:
                line = done.stderr.splitlines()[-1]
                assert line == "error: standard output: no space left on device"
                assert "--debug" in verb or done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&- >&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(gpgen, closed) -> None:
    gpgen.make()
    for verb in (["info"], ["verify", "--json"], ["show", "-o", "sheet.png"]):
        line = f"{shlex.join(command(*verb, 'data.zarr'))} {closed}"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert gpgen("verify", "data.zarr").status == 0
