from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dask_cluster import children, draws
from store_tools import ENVIRONMENT, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError, TargetError
from gpgen.verification import verify

pytestmark = pytest.mark.kill


def run(out: Path, *options: str) -> subprocess.Popen:
    """Start making 40 tiny samples in shards of one."""
    script = (
        "import sys, store_tools, pathlib\n"
        "if __name__ == '__main__':\n"
        "    options = {k: eval(v) for k, v in (a.split('=') for a in sys.argv[2:])}\n"
        "    store_tools.tiny_make(pathlib.Path(sys.argv[1]), **options)\n"
    )
    path = out.parent / "run.py"
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, path, out, *options],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_shards(out: Path, count: int) -> None:
    journal = out.with_name(out.name + ".making") / "journal.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was made in five minutes")


MANY = ("n=150", "shard_size=1")


@pytest.mark.parametrize("processes", ["False", "True"])
def test_killed_in_the_midst_of_real_work_it_resumes_to_equal_pixels(tmp_path, processes) -> None:
    out = tmp_path / "d.zarr"
    process = run(out, *MANY, "workers=2", f"processes={processes}")
    wait_for_shards(out, 5)
    process.kill()
    process.communicate()
    with pytest.raises(DatasetError, match=r"\d+ of 150 shards are done.*--resume"):
        open_dataset(out)
    with pytest.raises(TargetError, match="begun before"):
        tiny_make(out, 150, shard_size=1)
    with tiny_make(out, 150, shard_size=1, resume=True, workers=2) as dataset:
        found = hashlib.sha256(dataset.image[:].tobytes()).hexdigest()
    with tiny_make(tmp_path / "whole.zarr", 150, shard_size=50) as dataset:
        assert hashlib.sha256(dataset.image[:].tobytes()).hexdigest() == found
    assert verify(out).ok


def test_a_second_run_on_the_same_target_is_refused_while_one_runs(tmp_path: Path) -> None:
    out = tmp_path / "d.zarr"
    process = run(out, *MANY)
    wait_for_shards(out, 1)
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(TargetError, match=f"is being made by process {process.pid}"):
            tiny_make(out, 150, shard_size=1, **options)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors == ""
    assert verify(out).ok


def test_ctrl_c_stops_and_says_how_to_resume(tmp_path: Path) -> None:
    out = tmp_path / "d.zarr"
    process = run(out, *MANY)
    wait_for_shards(out, 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert "of 150 shards are done; continue with `gpgen make" in errors
    tiny_make(out, 150, shard_size=1, resume=True).close()
    assert verify(out).ok


def test_killed_workers_cost_nothing_but_time(tmp_path: Path) -> None:
    out = tmp_path / "d.zarr"
    process = run(out, *MANY, "workers=2", "processes=True")
    for count in (3, 30, 60):
        wait_for_shards(out, count)
        os.kill(_workers(process.pid)[0], signal.SIGKILL)
        assert process.poll() is None
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    report = verify(out, regenerate=20)
    assert report.ok
    assert report.shards == 150


def _workers(parent: int) -> list[int]:
    """Dask's worker processes that descend from a process, of which there must be some."""
    found = [pid for pid in children(parent) if draws(pid)]
    assert found
    return found
