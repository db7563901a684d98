"""Calling the command line: in this process, or where that matters in one of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from gpgen_cli.main import main

from gpgen import Recipe

SMALL = """
name = "small"
shape = [32, 32]
seed = 11

[[components]]
kernel = "rbf"
length_scales = [2.0, 2.5]
weight = 0.75

[[components]]
kernel = "rbf"
length_scales = [8.0, 12.0]
weight = 1.25
"""


@dataclass(frozen=True)
class Result:
    """What a call gave: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


class Caller:
    """Calls ``gpgen`` in this process, in a folder that holds ``small.toml``."""

    def __init__(self, capfd: pytest.CaptureFixture[str], folder: Path) -> None:
        self.capfd, self.folder = capfd, folder
        self.recipe = Recipe.from_toml(SMALL)

    def __call__(self, *arguments: str | Path) -> Result:
        self.capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = self.capfd.readouterr()
        return Result(status, captured.out, captured.err)

    def make(self, *arguments: str | Path, n: int = 8, out: str = "data.zarr") -> Result:
        """Make a small dataset."""
        return self("make", "--recipe", "small.toml", "--n", str(n), "--out", out, *arguments)


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of a process of its own."""
    return [sys.executable, "-m", "gpgen_cli", *map(str, arguments)]


def unprivileged() -> tuple[str, ...]:
    """Return the words before a command that make permissions bind root too; skip without them."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may read and write anything, and there is no setpriv")
    return ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


def run(*arguments: str | Path, cwd: Path, before: Sequence[str] = ()) -> Result:
    """Call ``gpgen`` in a process of its own, without a terminal."""
    done = subprocess.run(
        [*before, *command(*arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Result(done.returncode, done.stdout, done.stderr)
