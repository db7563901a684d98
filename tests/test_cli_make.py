"""``gpgen make`` and the verbs that look at what it made."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_support import SMALL, Caller, command, run

import gpgen as library


@pytest.fixture
def gpgen(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    # Of one class: before it is made nobody need look for seconds at how its classes differ.
    one = SMALL.replace("[2.0, 2.5]", "[2.0]").replace("[8.0, 12.0]", "[8.0]")
    (tmp_path / "one.toml").write_text(one)
    return Caller(capfd, tmp_path)


def test_make_says_what_it_will_make_then_how_to_look_at_it(gpgen):
    result = gpgen.make("--shard-size", "4", "--workers", "2")
    assert (result.status, result.err) == (0, "")
    plan = library.plan(gpgen.recipe, 8, "other.zarr", shard_size=4)
    assert "small: 32 x 32 px, float32, open boundary, standardized" in result.out
    assert "4: 2-8, 2.5-8, 2-12, 2.5-12" in result.out
    assert "2 shards of 4 samples" in result.out
    assert f"{plan.nbytes / 1e3:.1f} kB needed" in result.out
    assert re.search(r"2 threads, up to [\d.]+ [kM]B of memory each", result.out)
    made, look = result.out.splitlines()[-2:]
    assert made.startswith("made data.zarr: 8 samples, ")
    assert look == "look at it: gpgen show data.zarr -o sheet.png"


def test_what_is_made_is_what_the_library_makes(gpgen):
    gpgen.make()
    with library.open_dataset("data.zarr") as dataset:
        for index in (0, 3, 7):
            expected = library.sample(gpgen.recipe, index).image
            np.testing.assert_array_equal(dataset.read([index])[0], expected)


def test_overrides_are_what_is_stored(gpgen):
    options = ["--size", "24x48", "--seed", "7", "--dtype", "float16", "--no-standardize"]
    result = gpgen.make(*options, "--boundary", "open", "--json")
    assert result.status == 0
    with library.open_dataset("data.zarr") as dataset:
        recipe = dataset.recipe
    assert recipe == gpgen.recipe.replace(
        shape=[24, 48], seed=7, dtype="float16", standardize=False
    )
    assert json.loads(result.out)["recipe_sha256"] == recipe.sha256


def test_one_size_is_for_every_axis(gpgen):
    result = gpgen.make("--recipe", "one.toml", "--size", "48", "--dry-run", "--json")
    assert json.loads(result.out)["recipe"]["shape"] == [48, 48]


def test_a_dry_run_tells_the_exact_bytes_and_touches_nothing(gpgen, tmp_path):
    before = sorted(tmp_path.iterdir())
    planned = json.loads(gpgen.make("--recipe", "one.toml", "--dry-run", "--json").out)
    assert sorted(tmp_path.iterdir()) == before
    gpgen.make("--recipe", "one.toml")
    made = sum(path.stat().st_size for path in tmp_path.glob("data.zarr/**/*") if path.is_file())
    assert planned["dry_run"] is True
    assert planned["nbytes"] == made


def test_a_dry_run_warns_of_a_benchmark_that_is_none(gpgen, tmp_path):
    recipe = gpgen.recipe.to_dict()
    recipe["components"] = [{"kernel": "rbf", "length_scales": [2.0, 8.0]}]
    (tmp_path / "trivial.toml").write_text(library.Recipe.from_dict(recipe).to_toml())
    make = ["make", "--n", "40", "--out", "d.zarr", "--dry-run", "--recipe"]
    told = json.loads(gpgen(*make, "trivial.toml", "--json").out)
    assert [warning.partition(":")[0] for warning in told["warnings"]] == ["trivial"]
    assert told["difficulty_unknown"] is None
    assert f"warning  {told['warnings'][0]}\n" in gpgen(*make, "trivial.toml").out
    unknown = gpgen(*make, "regression", "--size", "64").out.splitlines()[-1]
    assert unknown.split()[:3] == ["difficulty", "not", "known:"]


def test_recipes_show_tells_what_the_ideal_observer_can(gpgen, tmp_path):
    shown = gpgen("recipes", "show", "two-scale-mini").out
    said = "ideal observer right in 0.990 ± 0.002; component 1 (4 or 4.2 px)"
    assert f"# accuracy   {said}" in shown
    (tmp_path / "line.toml").write_text(SMALL.replace("[32, 32]", "[32]"))
    told = json.loads(gpgen("recipes", "show", "line.toml", "--json").out)
    assert 0.25 < told["difficulty"]["accuracy"] < 1
    assert told["difficulty_unknown"] is None
    refused = json.loads(gpgen("recipes", "show", "golkar2018", "--json").out)
    assert refused["difficulty"] is None
    assert "no known density" in refused["difficulty_unknown"]


@pytest.mark.parametrize("out", ["data.zarr", "data.h5", "data-{shard}.h5", "data-{shard}.tar"])
def test_more_samples_than_anybody_can_have_are_counted_or_refused_at_once(gpgen, out):
    planned = gpgen.make("--recipe", "one.toml", "--dry-run", "--json", n=10**12, out=out)
    assert json.loads(planned.out)["nbytes"] > 10**12 * gpgen.recipe.image_nbytes
    for n, words in {10**14: "fit no file system", 10**17: "are the most there can be"}.items():
        refused = gpgen.make("--dry-run", "--size", "1024", n=n, out=out)
        assert refused.status == 2
        assert refused.err.startswith(f"error: n is {n}")
        assert words in refused.err


def test_quiet_prints_nothing_at_all(gpgen):
    for result in (
        gpgen.make("--quiet"),
        gpgen("info", "data.zarr", "--quiet"),
        gpgen("verify", "data.zarr", "-q"),
        gpgen("show", "data.zarr", "-o", "sheet.png", "--quiet"),
        gpgen("recipes", "--quiet"),
        gpgen("recipes", "show", "one.toml", "--quiet"),
    ):
        assert (result.status, result.out, result.err) == (0, "", "")


def test_json_is_one_object_whatever_the_verb(gpgen):
    made = json.loads(gpgen.make("--json").out)
    assert (made["n"], made["format"], made["classes"]) == (8, "zarr", list(gpgen.recipe.classes))
    info = json.loads(gpgen("info", "data.zarr", "--json").out)
    assert info["n"] == 8
    assert sum(sum(split.values()) for split in info["counts"].values()) == 8
    checked = json.loads(gpgen("verify", "data.zarr", "--regenerate", "all", "--json").out)
    assert (checked["ok"], checked["samples_regenerated"]) == (True, 8)
    shown = json.loads(gpgen("show", "data.zarr", "-o", "sheet.png", "--json").out)
    assert shown["picture"] == "sheet.png"
    listed = json.loads(gpgen("recipes", "--json").out)
    assert [recipe["name"] for recipe in listed["recipes"]] == list(library.builtin_recipes())
    recipe = json.loads(gpgen("recipes", "show", "small.toml", "--json").out)
    assert recipe["covariance_error"] == gpgen.recipe.accuracy.covariance_error
    assert library.Recipe.from_toml(recipe["toml"]) == gpgen.recipe


def test_info_counts_every_class_in_every_split(gpgen):
    gpgen.make(n=40)
    counts = json.loads(gpgen("info", "data.zarr", "--json").out)["counts"]
    with library.open_dataset("data.zarr") as dataset:
        labels, splits = dataset.label[:], dataset.split_code[:]
        names, classes = dataset.splits, dataset.classes
    for code, split in enumerate(names):
        for label, name in enumerate(classes):
            assert counts[split][name] == np.sum((splits == code) & (labels == label))
    text = gpgen("info", "data.zarr").out
    assert "sha256:" + gpgen.recipe.sha256 in text
    assert "gpgen.open_dataset(" in text


def test_verify_names_the_damaged_file_and_fails(gpgen, tmp_path):
    gpgen.make("--shard-size", "4")
    assert gpgen("verify", "data.zarr").out.startswith("data.zarr is whole: 2 shards checked")
    shard = sorted(tmp_path.glob("data.zarr/image/c*"))[1]
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    result = gpgen("verify", "data.zarr")
    assert (result.status, result.err) == (1, "")
    assert shard.name in result.out
    answer = gpgen("verify", "data.zarr", "--json")
    assert answer.status == 1
    problems = json.loads(answer.out)["problems"]
    assert [Path(problem["file"]).name for problem in problems] == [shard.name]


@pytest.mark.parametrize("target", ["data.h5", "data-{shard:05d}.h5"])
def test_hdf5_targets_are_made_shown_and_verified(gpgen, target):
    assert gpgen.make("--shard-size", "4", out=target).status == 0
    for verb in (["info", target], ["verify", target], ["show", target, "-o", "sheet.png"]):
        assert gpgen(*verb).status == 0


def test_resuming_what_is_finished_says_so(gpgen):
    gpgen.make()
    result = gpgen.make("--resume")
    assert result.status == 0
    assert "it was finished already" in result.out


def test_without_a_terminal_there_is_no_bar_and_no_colour(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    result = run("make", "--recipe", "small.toml", "--n", "8", "--out", "data.zarr", cwd=tmp_path)
    assert (result.status, result.err) == (0, "")
    assert "\x1b" not in result.out
    assert not any(line.endswith(" ") for line in result.out.splitlines())


def test_a_terminal_gets_a_bar_with_rate_and_time_left(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    terminal, theirs = pty.openpty()
    arguments = ["--n", "4000", "--shard-size", "100", "--workers", "1"]
    process = subprocess.Popen(
        command("make", "--recipe", "small.toml", *arguments, "--out", "data.zarr"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = b""
    try:
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            seen += part
    finally:
        os.close(terminal)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert re.search(rb"of 4,000 samples, [\d,.]+/s, [\d.]+ s left", seen)
    assert b"made data.zarr" in out
    assert b"\x1b" not in out


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        command("recipes"), cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    _, err = process.communicate(timeout=300)
    assert err == b""
    assert process.returncode == 1


def test_making_needs_neither_torch_nor_matplotlib(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    script = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['matplotlib'] = None\n"
        "from gpgen_cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["make", "--recipe", "small.toml", "--n", "4", "--out", "data.zarr"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
