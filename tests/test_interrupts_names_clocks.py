"""Ctrl-C twice, two runs on one target, odd names, tight permissions, a clock that jumps."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_making import Making, N, uninterrupted
from cli_support import command, run
from dask_cluster import wait_until
from store_tools import ENVIRONMENT, OUTS, hashes, tiny, tiny_make

from gpgen.cluster import connect
from gpgen.errors import TargetError, UsageError
from gpgen.making import plan
from gpgen.store.layout import Target

LONG = bool(os.environ.get("GPGEN_LONG"))
# To what each is converted.
COPIES = (OUTS[1], "d-{shard:03d}.tar", OUTS[0])
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder for nothing but the dataset."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("gap", [0, 0.02, 0.1, 0.3, 0.6] if LONG else [0.3])
@pytest.mark.parametrize("kind", ["--threads", "--processes"])
def test_ctrl_c_twice_is_told_once_and_loses_nothing(tmp_path: Path, expected, kind, gap) -> None:
    for attempt in range(5):
        data = tmp_path / f"{attempt}" / "data"
        data.mkdir(parents=True)
        making = Making(data / "d.h5", kind)
        making.wait_for(5)
        os.killpg(making.process.pid, signal.SIGINT)
        time.sleep(gap / 2**attempt)
        # What had ended by then has seen one Ctrl-C only, and another run is tried.
        twice = making.is_running
        if twice:
            os.killpg(making.process.pid, signal.SIGINT)
        ended = making.end()
        # Python restores Ctrl-C's own meaning as it ends; a shell shows 130 for both.
        assert ended.status in (130, -signal.SIGINT)
        assert ended.err.startswith("stopping"), ended.err
        assert ended.err.count("\n") == 2, ended.err
        assert "of 100 samples are safe; resume with: gpgen make " in ended.err
        words = shlex.split(ended.err.partition("resume with: ")[2])
        told = run(*words[1:], cwd=data)
        assert (told.status, told.err) == (0, "")
        assert hashes(data) == expected("d.h5")
        if twice:
            print(f"the second one came at attempt {attempt + 1}")  # noqa: T201 - seen with -rP
            return
    raise AssertionError("no run lived to see the second Ctrl-C")


# Starts the command with which it is called, and waits at its first step of each kind until told.
HOLDING = """
import os, sys, time
from pathlib import Path
from gpgen_cli.main import main
from gpgen.store import files

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
# All formats with GPGEN_LONG=1.
MODES_AND_OUTS = [
    (mode, out) for k, mode in enumerate(MODES) for out in (OUTS if LONG else OUTS[k : k + 1])
]


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


NAMES = ("Übung mit 'Leerzeichen' und 数据", 'd "ö" $HOME 🎲')


@pytest.mark.parametrize("out", OUTS)
def test_spaces_and_foreign_letters_in_names_change_nothing(tmp_path: Path, out) -> None:
    folder = tmp_path / NAMES[0] / NAMES[1]
    folder.mkdir(parents=True)
    out = out.replace("d", NAMES[1], 1)
    making = Making(folder / out)
    making.wait_for(3)
    os.killpg(making.process.pid, signal.SIGINT)
    told = making.end().err
    # The command that is told is one that a shell takes.
    words = told.strip().partition("resume with: ")[2].replace("gpgen", '"$@"', 1)
    shell = ["sh", "-c", words, "sh", *command()]
    subprocess.run(shell, env=ENVIRONMENT, check=True, cwd=tmp_path, capture_output=True)
    assert run("verify", folder / out, cwd=tmp_path).status == 0
    converted = folder / "ç {x}-{shard}.tar".replace("{x}", "x")
    assert run("convert", folder / out, converted, cwd=tmp_path).status == 0
    assert run("verify", converted, cwd=tmp_path).out.startswith(str(converted))


def test_a_target_whose_name_is_not_text_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.zarr")
    with pytest.raises(UsageError, match="is not UTF-8"):
        plan(tiny(), 4, tmp_path / name)
    # The folder's name enters nothing that is stored.
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    assert plan(tiny(), 4, folder / "d.zarr").shards == 1


UMASKS = [0o077, 0o002] if LONG else [0o077]


def check_permissions(folder: Path, umask: int) -> None:
    for path in folder.rglob("*"):
        usual = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == usual & ~umask, path


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("umask", UMASKS)
def test_files_have_the_permissions_of_the_umask_and_the_same_bytes(
    data: Path, expected, out, umask
) -> None:
    Making(data / out, umask=umask).succeed()
    check_permissions(data, umask)
    assert hashes(data) == expected(out)


@pytest.mark.parametrize(
    ("out", "copy"), [*zip(OUTS, COPIES, strict=True)] if LONG else [(OUTS[0], COPIES[0])]
)
@pytest.mark.parametrize("umask", UMASKS)
def test_under_an_umask_processes_make_resume_verify_and_convert(
    tmp_path: Path, data: Path, expected, out, copy, umask
) -> None:
    making = Making(data / out, "--processes", umask=umask)
    with making.paused(5):
        check_permissions(data, umask)
        os.killpg(making.process.pid, signal.SIGKILL)
    assert making.end().status == -signal.SIGKILL
    Making(data / out, "--processes", "--resume", umask=umask).succeed()
    check_permissions(data, umask)
    assert hashes(data) == expected(out)
    words = command("verify", data / out)
    verified = subprocess.run(words, umask=umask, env=ENVIRONMENT, check=False, capture_output=True)
    assert (verified.returncode, verified.stderr) == (0, b"")
    check_permissions(data, umask)
    assert hashes(data) == expected(out)
    copies = tmp_path / "copies"
    copies.mkdir()
    Making(copies / copy, source=data / out, umask=umask).succeed()
    check_permissions(copies, umask)
    assert hashes(copies) == expected(copy)


@pytest.mark.parametrize("out", OUTS)
def test_no_decision_is_made_by_the_times_of_files(data: Path, expected, out) -> None:
    making = Making(data / out)
    making.wait_for(10)
    making.process.kill()
    making.end()
    generator = random.Random(7)
    for path in data.rglob("*"):
        when = generator.choice([0, 1, time.time() + 1e9, generator.uniform(0, 4e9)])
        os.utime(path, (when, when))
    Making(data / out, "--resume").succeed()
    assert hashes(data) == expected(out)


def test_a_clock_that_is_set_back_makes_the_driver_connect_anew(data: Path, expected, monkeypatch):
    """Dask's messages wait for a time of day; here the driver only believes that it went back."""
    connected, offsets = [], iter([0.0, 0.0, 50.0, -3600.0, -3600.0, -3600.5])

    def connecting(*arguments):
        connected.append(arguments)
        return connect(*arguments)

    monkeypatch.setattr("gpgen.dispatch._clock", lambda: next(offsets, -3600.5))
    monkeypatch.setattr("gpgen.making.connect", connecting)
    tiny_make(data / "d.zarr", N, shard_size=1, workers=2, processes=True).close()
    assert len(connected) == 2
    assert hashes(data) == expected("d.zarr")


@pytest.mark.skipif(not FAKETIME or not LONG, reason="takes libfaketime, minutes and GPGEN_LONG=1")
@pytest.mark.parametrize("kind", ["--threads", "--processes"])
def test_a_clock_that_jumps_in_mid_run_changes_nothing(data: Path, expected, kind) -> None:
    """Years forth and back: all that asks for the time gets it from libfaketime."""
    clock = data.with_name("clock")
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        # As the kernel has it: a clock that is set does not move the monotonic one.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    making = Making(data / "d.zarr", kind, env=environment)
    for shards, jump in ((5, "+400d"), (20, "-4000d"), (35, "+3600"), (50, "-1"), (65, "+9000d")):
        making.wait_for(shards)
        assert making.is_running
        replacement = clock.with_name("next")
        replacement.write_text(jump)
        replacement.replace(clock)
    making.succeed()
    assert hashes(data) == expected("d.zarr")
