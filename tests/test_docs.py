"""What the README and the docs tell people to type is typed here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gpgen
from gpgen import Recipe

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language; "" for commands."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for name, code in fenced if name == language]


def test_the_readmes_commands_run_in_their_order(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [line for block in blocks("README.md", "") for line in block.splitlines()]
    commands = [line.split("&& ")[-1] for line in lines if "gpgen " in line]
    assert len(commands) >= 6
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
    code = blocks("README.md", "python")
    assert code
    for block in code:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102


def test_the_recipe_of_the_page_of_kernels_has_the_classes_that_it_says() -> None:
    (text,) = blocks("docs/kernels.md", "toml")
    assert Recipe.from_toml(text).classes[0] == "2x6(smoothness=0.5,angle=0)-1"
    assert Recipe.from_toml(text).class_count == 4


def test_the_readmes_recipe_is_one() -> None:
    for text in blocks("README.md", "toml"):
        assert Recipe.from_toml(text).classes == ("3x12", "12x3")
