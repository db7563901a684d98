"""Ctrl-C as an impatient user presses it, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_support import command

SIZE = ["--recipe", "two-scale-mini", "--size", "64", "--shard-size", "4"]


@pytest.mark.parametrize("how", [["--processes"], []])
@pytest.mark.parametrize("presses", [2, 3, 5])
def test_impatience_is_answered_at_once_and_ends_it(tmp_path: Path, how, presses) -> None:
    """With processes it stayed for ten seconds, and one more Ctrl-C printed a traceback."""
    arguments = ["make", *SIZE, "--n", "20000", "--workers", "2", *how, "--out", "d.zarr"]
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    journal = tmp_path / "d.zarr.making" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline() == "stopping; after 5 s, one more Ctrl-C breaks off\n"
    assert time.monotonic() - begun < 1  # the end may take two
    for _ in range(presses - 1):
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    # Dask takes ten seconds to give its workers up, which must not be waited for.
    assert time.monotonic() - begun < 9
    assert process.returncode == 130
    lines = err.splitlines()
    assert len(lines) <= 1
    assert all("interrupted" in line for line in lines)
    assert "Traceback" not in out + err
    deadline = time.monotonic() + 30
    while _alive(process.pid):
        assert time.monotonic() < deadline, "workers were left behind"
        time.sleep(0.1)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
