"""Ctrl-C as an impatient user presses it, in a process of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_making import Making, uninterrupted
from cli_support import command, run
from store_tools import hashes, only_long

pytestmark = pytest.mark.kill

SIZE = ["--recipe", "two-scale-mini", "--size", "64", "--shard-size", "4"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp)


@pytest.mark.parametrize("gap", [0.3, *only_long([0, 0.02, 0.1, 0.6])])
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


@pytest.mark.parametrize("how", [["--processes"], []])
@pytest.mark.parametrize("presses", [2, 3, 5])
def test_impatience_is_answered_at_once_and_ends_it(tmp_path: Path, how, presses) -> None:
    """With processes it stayed for ten seconds, and one more Ctrl-C printed a traceback."""
    arguments = ["make", *SIZE, "--n", "20000", "--workers", "2", *how, "--out", "d.zarr"]
    started = time.monotonic()
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    journal = tmp_path / "d.zarr.making" / "journal.jsonl"
    deadline = time.monotonic() + 3000
    while not (journal.exists() and journal.stat().st_size):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begun = time.monotonic()
    # What starting took tells how busy the machine is: about 2 s on one that isn't.
    starting = begun - started
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline() == "stopping; after 5 s, one more Ctrl-C breaks off\n"
    assert time.monotonic() - begun < max(1, starting)  # the end may take two
    for _ in range(presses - 1):
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    # Dask takes ten seconds to give its workers up, which must not be waited for.
    assert time.monotonic() - begun < max(9, 4 * starting)
    assert process.returncode == 130
    lines = err.splitlines()
    assert len(lines) <= 1
    assert all("interrupted" in line for line in lines)
    assert "Traceback" not in out + err
    deadline = time.monotonic() + 300
    while _alive(process.pid):
        assert time.monotonic() < deadline, "workers were left behind"
        time.sleep(0.1)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
