"""A bar is drawn where somebody sees it, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from store_tools import tiny, tiny_make

import gpgen
from gpgen.errors import UsageError
from gpgen.progress import Progress, following

SCRIPT = """
import sys, gpgen
from gpgen.progress import Progress, following
with following(True) as tell:
    tell(Progress(2_000_000, 8_000_000, "byte", "[data].h5"))
    tell(Progress(3, 4, "sample"))
"""


def _in_terminal(script: str) -> str:
    """Run Python with standard error on a terminal; return what it shows there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # Linux's way of saying that the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_true_draws_a_bar_in_a_terminal() -> None:
    shown = _in_terminal(SCRIPT)
    assert "3 of 4 samples" in shown
    assert "━" in shown


def test_bytes_have_units_and_a_note_is_no_markup() -> None:
    shown = _in_terminal(SCRIPT.replace('    tell(Progress(3, 4, "sample"))\n', ""))
    assert "2.0 MB of 8.0 MB" in shown
    assert "[data].h5" in shown


@pytest.mark.parametrize("progress", [None, False, True])
def test_nothing_is_drawn_without_a_terminal(tmp_path: Path, capfd, progress) -> None:
    tiny_make(tmp_path / "d.zarr", 8, progress=progress).close()
    assert gpgen.verify(tmp_path / "d.zarr", progress=progress)
    gpgen.convert(tmp_path / "d.zarr", tmp_path / "d.h5", progress=progress).close()
    assert capfd.readouterr() == ("", "")


def test_what_is_no_progress_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for wrong in (1, "bar", []):
        with pytest.raises(UsageError, match="progress is"), following(wrong):  # type: ignore[arg-type]
            pass
        with pytest.raises(UsageError, match="progress is"):
            tiny_make(tmp_path / "d.zarr", 8, progress=wrong)
        assert not list(tmp_path.iterdir())


def test_a_bar_goes_when_the_work_fails(tmp_path: Path) -> None:
    shown = _in_terminal(
        "from gpgen.progress import Progress, following\n"
        "try:\n"
        "    with following(True) as tell:\n"
        "        tell(Progress(1, 4, 'sample'))\n"
        "        raise KeyError\n"
        "except KeyError:\n"
        "    print('gone')\n"
    )
    assert "gone" in shown.splitlines()[-1]


def test_one_function_is_told_of_bytes_then_samples(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.zarr", 8).close()
    seen: list[Progress] = []
    gpgen.verify(tmp_path / "d.zarr", regenerate="all", progress=seen.append)
    units = [progress.unit for progress in seen]
    assert units == sorted(units)  # "byte" before "sample"
    for unit in ("byte", "sample"):
        done = [progress.done for progress in seen if progress.unit == unit]
        assert done == sorted(done)
    assert (seen[-1].done, seen[-1].total) == (8, 8)
    assert tiny().image_nbytes * 8 == next(p.total for p in seen if p.unit == "byte")
