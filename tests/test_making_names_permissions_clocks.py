"""Making under odd names, tight permissions, and clocks and file times that jump."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from cli_making import Making, N, uninterrupted
from cli_support import command, run
from store_tools import ENVIRONMENT, OUTS, hashes, only_long, tiny, tiny_make

from gpgen.errors import UsageError
from gpgen.making.cluster import connect
from gpgen.making.run import plan

pytestmark = pytest.mark.kill

# To what each is converted.
COPIES = (OUTS[1], "d-{shard:03d}.tar", OUTS[0])
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp)


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


UMASKS = [0o077, *only_long([0o002])]


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
    ("out", "copy"), [(OUTS[0], COPIES[0]), *only_long(zip(OUTS[1:], COPIES[1:], strict=True))]
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

    monkeypatch.setattr("gpgen.making.dispatch._clock", lambda: next(offsets, -3600.5))
    monkeypatch.setattr("gpgen.making.run.connect", connecting)
    tiny_make(data / "d.zarr", N, shard_size=1, workers=2, processes=True).close()
    assert len(connected) == 2
    assert hashes(data) == expected("d.zarr")


@pytest.mark.long  # takes minutes
@pytest.mark.skipif(not FAKETIME, reason="takes libfaketime")
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
