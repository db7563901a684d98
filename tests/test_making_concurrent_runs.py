"""Two runs on one target at the same time: one of them is refused, the other changes nothing."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_making import Making, N, uninterrupted
from dask_cluster import wait_until
from store_tools import OUTS, hashes, only_long, tiny, tiny_make

from gpgen.errors import TargetError
from gpgen.format.layout import Target

pytestmark = pytest.mark.kill


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp)


# Starts the command with which it is called, and waits at its first step of each kind until told.
HOLDING = """
import os, sys, time
from pathlib import Path
from gpgen_cli.main import main
from gpgen.io import files

folder, holds = Path(sys.argv[1]), sys.argv[2].split(";")

def hold(action, path):
    path = Path(f"/proc/self/fd/{path}").readlink() if path.isdecimal() else Path(path)
    step = f"{action} {path.name}"
    if holds and step == holds[0]:
        holds.pop(0)
        (folder / f"{step} {os.getpid()}").touch()
        while not (folder / f"go on after {step}").exists():
            time.sleep(0.01)

files.watch(hold)
sys.exit(main(sys.argv[6:]))
"""


class Held(Making):
    """A run that waits before some steps, the first of their kind, until it is let go.

    Parameters
    ----------
    out, options
        As for `Making`.
    holds
        The steps: what is done and the file's name, in the order in which they come.
    """

    def __init__(self, out: Path, *options: str, holds: Sequence[str]) -> None:
        self._folder = out.parent.parent
        before = (sys.executable, "-c", HOLDING, str(self._folder), ";".join(holds))
        super().__init__(out, *options, before=before)

    def is_at(self, step: str) -> bool:
        return (self._folder / f"{step} {self.process.pid}").exists()

    def wait_at(self, step: str) -> None:
        wait_until(lambda: self.is_at(step) or not self.is_running, step)
        assert self.is_at(step), self.end()

    def let_go(self, step: str) -> None:
        """Let this run, and all others of this test, go on after a step."""
        (self._folder / f"go on after {step}").touch()


MODES = ("new", "--resume", "--overwrite")
SOME = [*zip(MODES, OUTS, strict=True)]
REST = [pair for pair in itertools.product(MODES, OUTS) if pair not in SOME]
MODES_AND_OUTS = [*SOME, *only_long(REST)]


def prepare(data: Path, mode: str, out: str) -> list[str]:
    """Put another dataset there if it is to be overwritten; return the options."""
    if mode == "--overwrite":
        tiny_make(data / out, 17, recipe=tiny(seed=9)).close()
    return [] if mode == "new" else [mode]


def check_refused(told: str) -> None:
    # The other has the lock, and may be about to write into it who it is.
    assert re.search(r"^error: .* is being made by (another )?process", told)
    assert told.count("\n") == 1


@pytest.mark.parametrize(("mode", "out"), MODES_AND_OUTS)
def test_of_two_runs_that_start_at_once_one_is_refused(data: Path, expected, mode, out) -> None:
    """Both wait before their first step, and who gets ahead for the other's end."""
    options, working = prepare(data, mode, out), Target.parse(data / out).working.name
    first, late = f"make folder {working}", "create journal.jsonl"
    runs = [Held(data / out, *options, holds=[first, late]) for _ in range(2)]
    for held in runs:
        held.wait_at(first)
    runs[0].let_go(first)
    wait_until(lambda: any(held.is_at(late) for held in runs), "one to get ahead")
    wait_until(lambda: not all(held.is_running for held in runs), "the other to end")
    (ahead,) = [held for held in runs if held.is_at(late)]
    (other,) = [held for held in runs if held is not ahead]
    check_refused(other.fail())
    assert ahead.is_running
    ahead.let_go(late)
    ahead.succeed()
    assert hashes(data) == expected(out)


@pytest.mark.parametrize(("mode", "out"), MODES_AND_OUTS)
def test_a_second_run_is_refused_while_the_first_is_at_any_step(
    data: Path, expected, mode, out
) -> None:
    """From the lock until the working folder is emptied."""
    options = prepare(data, mode, out)
    holds = ["truncate lock", "rename job.json", "create journal.jsonl", "remove journal.jsonl"]
    first = Held(data / out, *options, holds=holds)
    words = {option.removeprefix("--"): True for option in options}
    for step in holds:
        first.wait_at(step)
        with pytest.raises(TargetError, match=r"is being made by (another )?process"):
            tiny_make(data / out, N, shard_size=1, **words)
        first.let_go(step)
    first.succeed()
    assert hashes(data) == expected(out)
