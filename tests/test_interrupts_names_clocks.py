"""Ctrl-C twice, two runs on one target, odd names, tight permissions, a clock that jumps."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from cli_making import Making, N, uninterrupted
from cli_support import run
from store_tools import ENVIRONMENT, OUTS, hashes, tiny, tiny_make

from gpgen.cluster import connect
from gpgen.errors import UsageError
from gpgen.making import plan

LONG = bool(os.environ.get("GPGEN_LONG"))
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
def test_ctrl_c_twice_is_one_line_and_loses_nothing(data: Path, expected, kind, gap) -> None:
    making = Making(data / "d.h5", kind)
    making.wait_for(5)
    os.killpg(making.process.pid, signal.SIGINT)
    time.sleep(gap)
    if making.is_running:
        os.killpg(making.process.pid, signal.SIGINT)
    ended = making.end()
    # Python restores Ctrl-C's own meaning as it ends; a shell shows 130 for both.
    assert ended.status in (130, -signal.SIGINT)
    assert ended.err.count("\n") == 1, ended.err
    assert "of 100 samples are safe; resume with: gpgen make " in ended.err
    words = shlex.split(ended.err.partition("resume with: ")[2])
    told = run(*words[1:], cwd=data)
    assert (told.status, told.err) == (0, "")
    assert hashes(data) == expected("d.h5")


@pytest.mark.parametrize("out", OUTS)
def test_of_two_runs_on_one_target_each_ends_well_or_says_why_not(
    data: Path, expected, out
) -> None:
    ends = [making.end() for making in [Making(data / out, "--resume") for _ in range(2)]]
    assert 0 in {end.status for end in ends}
    for end in ends:
        if end.status:
            assert end.status == 1
            # The other has the lock, and may be about to write into it who it is.
            assert re.search(r"is being made by (another )?process", end.err)
            assert end.err.count("\n") == 1
        else:
            assert end.err == ""
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
    command = told.strip().partition("resume with: ")[2].replace("gpgen", '"$@"', 1)
    shell = ["sh", "-c", command, "sh", *_gpgen()]
    subprocess.run(shell, env=ENVIRONMENT, check=True, cwd=tmp_path, capture_output=True)
    assert run("verify", folder / out, cwd=tmp_path).status == 0
    converted = folder / "ç {x}-{shard}.tar".replace("{x}", "x")
    assert run("convert", folder / out, converted, cwd=tmp_path).status == 0
    assert run("verify", converted, cwd=tmp_path).out.startswith(str(converted))


def _gpgen() -> list[str]:
    from cli_support import command

    return command()


def test_a_target_whose_name_is_not_text_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.zarr")
    with pytest.raises(UsageError, match="is not UTF-8"):
        plan(tiny(), 4, tmp_path / name)
    # The folder's name enters nothing that is stored.
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    assert plan(tiny(), 4, folder / "d.zarr").shards == 1


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("umask", [0o077, 0o002] if LONG else [0o077])
def test_files_have_the_permissions_of_the_umask_and_the_same_bytes(
    data: Path, expected, out, umask
) -> None:
    Making(data / out, umask=umask).succeed()
    for path in data.rglob("*"):
        usual = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == usual & ~umask, path
    assert hashes(data) == expected(out)


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
    tiny_make(data / "d.zarr", N, shard_size=1, workers=2).close()
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
