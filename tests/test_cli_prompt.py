"""What one meets at the prompt first: help, names, what is missing, what is waited for."""

from __future__ import annotations

import importlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from cli_support import SMALL, Caller, command, run
from gpgen_cli.main import VERBS, cli

import backdrop.training  # before anything of it is replaced
from gpgen.errors import DatasetError
from gpgen.golkar2018.downloading import download
from gpgen.publish.client import Service, ServiceError

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def gpgen(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return Caller(capfd, tmp_path)


def refusal(result, status, *words):
    """Return the last line, which has to be an error's and to hold some words."""
    assert result.status == status, result
    line = result.err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "bug" not in line
    for word in words:
        assert word in line
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_alone_it_is_its_help(tmp_path):
    alone, asked = run(cwd=tmp_path), run("--help", cwd=tmp_path)
    assert alone == asked
    assert (alone.status, alone.err) == (0, "")
    assert alone.out.count("\n") > 20


def test_python_runs_the_package_as_the_command(tmp_path):
    def call(module):
        arguments = [sys.executable, "-m", module, "recipes", "show", "two-scael"]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert call("gpgen") == call("gpgen_cli")
    assert call("gpgen")[0] == 2


# What an option is without a value when the option itself is a wish that may be left out.
OPTIONAL = {
    *("make --n", "make --from", "make --scheduler", "make --reuse", "publish --new-version"),
    *("make --tls-ca-file", "make --tls-cert", "make --tls-key", "publish --token-file"),
    *("cite --publication", "report --publication", "train --plot", "verify --regenerate"),
    *("audit --recipe", "difficulty --target"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_help_tells_the_default_of_every_option_that_takes_a_value(verb):
    top = click.Context(cli, info_name="gpgen", **cli.context_settings)
    shown = importlib.import_module(VERBS[verb]).command
    with shown.make_context(verb, [], parent=top, resilient_parsing=True) as context:
        for option in shown.params:
            if not isinstance(option, click.Option) or f"{verb} {option.opts[0]}" in OPTIONAL:
                continue
            if option.is_flag and not option.secondary_opts:
                continue
            _, words = option.get_help_record(context)
            assert re.search(r"\[(default: |required)", words), option.opts


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("gpgen recipes show two-scale-", "two-scale-mini"),
        ("gpgen make --recipe thr", "three-scale"),
        ("gpgen show gol", "golkar2018"),
        ("gpgen train sma", "small.toml"),
        ("gpgen info sma", "small.toml"),
        ("gpgen ver", "verify"),
    ],
)
def test_bash_completes_recipes_files_and_verbs(tmp_path, typed, completed):
    """In a real bash, at a terminal: what Tab makes of a line is run through echo."""
    (tmp_path / "small.toml").write_text(SMALL)
    program = tmp_path / "bin" / "gpgen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpgen_cli "$@"\n')
    program.chmod(0o755)
    script = run("completion", "bash", cwd=tmp_path).out
    (tmp_path / "completion.sh").write_text(script)
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - bash takes this process's place
        os.chdir(tmp_path)
        os.environ |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "dumb"}
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])  # noqa: S606 - at a terminal
    try:
        ask(terminal, "PS1='$ '; . ./completion.sh; echo re''ady\r", "ready\r\n")
        ask(terminal, f"{typed}\t", completed)
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(child, 0)


def ask(terminal, typed, expected):
    os.write(terminal, typed.encode())
    seen, deadline = "", time.monotonic() + 300
    while expected not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 4096).decode()


MISSPELT = [
    (["recipes", "show", "two-scael"], 2, "'two-scale'"),
    (["show", "three-scal", "-o", "a.png"], 2, "'three-scale'"),
    (["train", "two-scale-min", "--out", "r"], 2, "'two-scale-mini'"),
    (["make", "--recipe", "smal.toml", "--n", "8", "--out", "x.zarr"], 2, "'small.toml'"),
    (["show", "dta.zarr", "-o", "a.png"], 2, "'data.zarr'"),
    (["info", "dta.zarr"], 1, "'data.zarr'"),
    (["verify", "data"], 1, "'data.zarr'"),
    (["convert", "data.zar", "x.h5"], 1, "'data.zarr'"),
    (["report", "./datta.zarr", "-o", "x.html"], 1, "'data.zarr'"),
    (["package", "daat.zarr", "-p", "x.toml", "--out", "d"], 1, "'data.zarr'"),
    (["cite", "data.zarr", "-p", "smalll.toml"], 1, "'small.toml'"),
    (["import", "dat.zarr", "--out", "x.zarr"], 1, "'data.zarr'"),
]


@pytest.mark.parametrize(("arguments", "status", "meant"), MISSPELT)
def test_a_misspelt_recipe_or_path_gets_the_nearest(gpgen, arguments, status, meant):
    Path("data.zarr").mkdir()
    refusal(gpgen(*arguments), status, f"did you mean {meant}?")
    assert names(Path()) == ["data.zarr", "small.toml"]


def test_what_is_like_nothing_gets_no_suggestion(gpgen):
    Path("x.zarr").mkdir()
    assert "did you mean" not in refusal(gpgen("info", "b.zarr"), 1, "b.zarr")
    line = refusal(gpgen("show", "xyzzy", "-o", "a.png"), 2, "neither a dataset nor")
    assert "two-scale-mini" in line


def test_a_dataset_that_is_being_made_is_no_misspelling(gpgen):
    Path("data.zarr").mkdir()
    Path("dat.zarr.making").mkdir()
    assert "did you mean" not in refusal(gpgen("info", "dat.zarr"), 1)


BLOCKED = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from gpgen_cli.main import main
sys.exit(main(sys.argv[1:]))
"""
NEED = [
    (["train", "two-scale-mini", "--out", "r"], "torch", "torch"),
    (["evaluate", "small.toml", "two-scale-mini"], "torch", "torch"),
    pytest.param(
        ["train", "two-scale-mini", "--out", "r", "--plot", "q.png"],
        "matplotlib",
        "plot",
        marks=pytest.mark.slow,
    ),
    (["show", "two-scale-mini", "-o", "s.png"], "matplotlib", "plot"),
    (["publish", "deposit"], "httpx", "publish"),
    (["fetch", "1234"], "httpx", "publish"),
    (["download", "golkar2018"], "httpx", "download"),
    (["info", "s3://bucket/x.zarr"], "botocore", "s3"),
    (["make", "--n", "8", "--out", "s3://bucket/x.zarr"], "botocore", "s3"),
]


@pytest.mark.parametrize(("arguments", "package", "extra"), NEED)
def test_what_is_not_installed_is_one_line_with_what_installs_it(
    tmp_path, arguments, package, extra
):
    (tmp_path / "small.toml").write_text(SMALL)
    script = BLOCKED.format(names={package})
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert f"pip install 'gpgen[{extra}]'" in done.stderr
    assert names(tmp_path) == ["small.toml"]


def test_backdrop_without_torch_says_what_installs_it():
    script = "import sys; sys.modules['torch'] = None\nfrom backdrop import Backdrop"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("gpgen.errors.MissingPackageError: backdrop needs PyTorch")
    assert "pip install 'gpgen[torch]'" in last


BAD_OUTPUTS = [
    (["show", "two-scale-mini", "-o", "q.bmp"], 2, "'q.bmp'"),
    (["show", "two-scale-mini", "-o", "no/q.png"], 1, "/no does not exist"),
    (["train", "two-scale-mini", "--out", "r", "--plot", "q.bmp"], 2, "'q.bmp'"),
    (["train", "two-scale-mini", "--out", "r", "--plot", "no/q.png"], 1, "/no does not exist"),
    (["train", "two-scale-mini", "--out", "r", "--plot", "/proc/q.png"], 1, "/proc/q.png"),
    (["train", "two-scale-mini", "--out", "small.toml"], 2, "small.toml"),
    (["report", "data.zarr", "-o", "no/q.html"], 1, "/no does not exist"),
    (["report", "data.zarr", "-o", "/proc/q.html"], 1, "/proc/q.html"),
    (["report", "data.zarr", "-o", "data.zarr", "--overwrite"], 1, "is a folder"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), BAD_OUTPUTS)
def test_where_nothing_can_be_written_is_said_before_the_work(
    gpgen, monkeypatch, arguments, status, words
):
    """Nothing is drawn, read or trained before: whoever tried would fail here."""

    def never(*arguments, **options):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("gpgen.opening.recipe_or_dataset", never)
    monkeypatch.setattr("backdrop.training.Source", never)
    monkeypatch.setattr("gpgen.report.page.open_content", never)
    Path("data.zarr").mkdir()
    refusal(gpgen(*arguments), status, words)
    assert names(Path()) == ["data.zarr", "small.toml"]


@pytest.mark.train
def test_training_takes_the_sizes_that_the_data_have(gpgen):
    """Forty samples of the README's recipe: 32 to train with, one of each class to test."""
    made = ["make", "--recipe", "two-scale-mini", "--size", "64", "--n", "40", "--out", "m.zarr"]
    assert gpgen(*made).status == 0
    options = ["--epochs", "1", "--seeds", "1", "--workers", "1", "--device", "cpu", "--no-ideal"]
    done = gpgen("train", "m.zarr", "--out", "r", *options)
    assert (done.status, done.err) == (0, "")
    assert "32 training images, tested on 4 of 'test'" in " ".join(done.out.split())
    checkpoint = "r/backdrop/seed-0/checkpoint.pt"
    assert "images       4" in gpgen("evaluate", checkpoint, "m.zarr", "--device", "cpu").out
    for size, named in (("--test-size", "4 images or fewer"), ("--train-size", "32 images or")):
        refusal(gpgen("train", "m.zarr", "--out", "s", size, "400"), 2, named)
    refusal(gpgen("train", "m.zarr", "--out", "s", "--train-size", "30"), 2, "4: 28 or 32")
    refusal(gpgen("train", "m.zarr", "--out", "s", "--train-size", "3"), 2, "4: 4")
    refusal(gpgen("train", "m.zarr", "--out", "s", "--split", "tset"), 2, "validation, test")
    assert not Path("s").exists()


def test_three_scales_in_eight_classes_are_trained_on_a_multiple_of_eight():
    source = backdrop.training.Source("three-scale")
    assert (source.most("train", 60), source.most("test", 400)) == (56, 400)


def test_a_service_that_nobody_runs_is_told_at_once_and_soon(gpgen):
    started = time.monotonic()
    result = gpgen("fetch", "1234", "--from", NOBODY, "--out", "d.zarr")
    assert time.monotonic() - started < 30  # about 1 s, and once 31 s
    assert result.err.splitlines()[0] == f"asking {NOBODY}"
    line = refusal(result, 1, f"{NOBODY} can't be reached", "what is there is kept")
    assert "sent" not in line
    assert names(Path()) == ["small.toml"]
    assert gpgen("fetch", "1234", "--from", NOBODY, "--quiet").err.count("\n") == 1


def test_patience_is_for_services_that_have_answered():
    slept, told = [], []
    with (
        Service(NOBODY, sleep=slept.append, notify=told.append) as service,
        pytest.raises(ServiceError, match="can't be reached"),
    ):
        service.call("GET", "/api/records/1")
    assert slept == [1.0]
    assert told == [f"asking {NOBODY}", f"{NOBODY} can't be reached; waiting 1 s"]


def test_a_download_says_whom_it_asks(tmp_path):
    told = []
    with pytest.raises(DatasetError, match="can't be reached"):
        download(tmp_path, record=f"{NOBODY}/api/records/1", notify=told.append)
    assert told == ["asking 127.0.0.1:9"]


def test_an_object_store_that_nobody_runs_is_told_soon(tmp_path):
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": NOBODY}
    started = time.monotonic()
    done = subprocess.run(
        command("info", "s3://bucket/x.zarr"), cwd=tmp_path, env={**os.environ, **keys},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert time.monotonic() - started < 30
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "6 times" in done.stderr
