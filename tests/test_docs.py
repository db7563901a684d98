"""What the README and the docs tell people to type is typed here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpgen_cli.main import main
from publish_help import PUBLICATION
from serving_support import serving

import gpgen
from gpgen import Recipe, sample

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language; "" for commands."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for name, code in fenced if name == language]


def test_ci_runs_the_readmes_command_and_every_test_that_it_leaves_out() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    (command,) = [line for block in blocks("README.md", "") for line in block.splitlines()
                  if line.endswith("&& pytest")]  # fmt: skip
    assert command.replace("pip install", "pip install -q") in ci
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    (left_out,) = re.findall(r"-m 'not \((.*)\)'", options["addopts"])
    assert f"pytest -m '{left_out}' --durations=20" in ci
    marks = {line.partition(":")[0] for line in options["markers"]}
    assert set(left_out.split(" or ")) == marks - {"long"}


@pytest.mark.slow
def test_the_readmes_commands_run_in_their_order(tmp_path: Path) -> None:
    shown = [*blocks("README.md", ""), *blocks("docs/tour.md", "")]
    lines = [line for block in shown for line in block.splitlines()]
    commands = [line.split("&& ")[-1] for line in lines if "gpgen " in line]
    assert len(commands) >= 7
    (tmp_path / "publication.toml").write_text(PUBLICATION)
    for command in commands:
        arguments = shlex.split(command)
        assert arguments[0] == "gpgen"
        subprocess.run(
            [sys.executable, "-m", "gpgen_cli", *arguments[1:]],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            env={"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)},
        )
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gpgen.make("two-scale-mini", 8, "mini.zarr").close()
    for page, count in (("README.md", 3), ("docs/tour.md", 3)):
        code = blocks(page, "python")
        assert len(code) == count
        for block in code:
            exec(compile(block, page, "exec"), {})  # noqa: S102


def test_the_recipe_of_the_page_of_kernels_has_the_classes_that_it_says() -> None:
    text, drawn, weighted, transformed, of_sum = blocks("docs/kernels.md", "toml")
    assert Recipe.from_toml(drawn).classes == ("3..12",)
    target, _ = blocks("docs/kernels.md", "python")
    names: dict[str, Any] = {}
    exec(compile(target, "docs/kernels.md", "exec"), names)  # noqa: S102
    assert names["length_scales"].tolist() == pytest.approx(
        Recipe.load("regression").length_scale_array(0, 1)[0]
    )
    assert set(np.unique(sample(Recipe.from_toml(transformed), 0).image)) == {0, 1}
    assert len({sample(Recipe.from_toml(weighted), k).weights for k in range(4)}) == 4
    assert sample(Recipe.from_toml(of_sum), 0).image.min() > 0
    assert Recipe.from_toml(text).classes[0] == "2x6(smoothness=0.5,angle=0)-1"
    assert Recipe.from_toml(text).class_count == 4


def test_what_the_page_on_python_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = blocks("docs/python.md", "python")
    assert len(code) >= 5
    for block in code:
        exec(compile(block, "docs/python.md", "exec"), {})  # noqa: S102
    assert (tmp_path / "small.zarr").is_dir()


@pytest.mark.slow
def test_what_the_page_on_no_storage_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "publication.toml").write_text(PUBLICATION)
    code = blocks("docs/without-storage.md", "python")
    clients = [block for block in code if "http://127.0.0.1:8000" in block]
    assert (len(code), len(clients)) == (6, 3)
    for block in code:
        if block not in clients:
            exec(compile(block, "docs/without-storage.md", "exec"), {})  # noqa: S102
    with serving("two-scale-mini", 10_000) as server:
        for block in clients:
            # tensorstore must not be used in a process that will fork.
            words = [sys.executable, "-c", block.replace("http://127.0.0.1:8000", server.root)]
            subprocess.run(words, check=True, timeout=300)


@pytest.mark.slow
def test_what_the_page_on_growing_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks("docs/growing.md", "sh"):
        for line in block.splitlines():
            verb, *arguments = shlex.split(line)
            assert (verb, main(arguments)) == ("gpgen", 0), line
    assert capfd.readouterr().err == ""
    (code,) = blocks("docs/growing.md", "python")
    exec(compile(code, "docs/growing.md", "exec"), {})  # noqa: S102
    found = {path.name: len(gpgen.open_dataset(path)) for path in tmp_path.iterdir()}
    assert found == {
        "data.zarr": 2500, "more.zarr": 3000, "more.h5": 3000, "small.zarr": 500,
        "data.h5": 3000, "smaller.h5": 500,
    }  # fmt: skip


@pytest.mark.slow
# The datasets package leaves files and sockets to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_the_page_on_other_formats_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    page = "docs/other-formats.md"
    for line in "".join(blocks(page, "sh")).splitlines():
        verb, *arguments = shlex.split(line)
        if verb == "gpgen":
            assert main(arguments) == 0, line
        else:
            subprocess.run([verb, *arguments], check=True)
    assert capfd.readouterr().err == ""
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)  # noqa: S102
    assert repr(names["data"]["image"].dims) == "('sample', 'y', 'x')"
    error = abs(names["value"] - gpgen.open_dataset("data.zarr").image[7]).max()
    assert error <= names["grey"]["largest_error"] * (1 + 1e-6)
    assert names["sample"].shape == (64, 64)
    assert names["arrays"]["image"].shape == (200, 64, 64)
    assert len(np.load("few.npz")["index"]) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_the_page_on_publishing_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "publication.toml").write_text(PUBLICATION)
    gpgen.make(Recipe.load("two-scale-mini").replace(shape=[64, 64]), 40, "data.zarr").close()
    code = blocks("docs/publishing.md", "python")[0]
    *lines, last = code.strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # noqa: S102
    shown = eval(last, names)  # noqa: S307
    assert ", ".join(shown) == last.partition("  # ")[2]


def test_the_readmes_recipe_is_one() -> None:
    (text,) = blocks("docs/tour.md", "toml")
    assert Recipe.from_toml(text).classes == ("3x12", "12x3")
