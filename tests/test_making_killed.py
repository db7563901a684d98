from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from store_tools import OUTS, hashes, tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError, TargetError
from gpgen.verification import verify

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
# CI kills at some steps of each format; GPGEN_EVERY_STEP=1 kills at every one.
POINTS = 10**6 if os.environ.get("GPGEN_EVERY_STEP") else 5


class Killer:
    def __init__(self, counter: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "killing.py", counter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def make(self, out: Path, step: int = 0, **options) -> tuple[int, int]:
        request = {"out": str(out), "step": step, "options": options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["status"], answer["steps"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    killer = Killer(tmp_path_factory.mktemp("killer") / "steps")
    yield killer
    killer.close()


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
@pytest.mark.parametrize("out", OUTS)
def test_killed_at_any_step_it_resumes_to_equal_bytes(
    tmp_path: Path, killer: Killer, out, overwrite
) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    status, steps = killer.make(folder / out)
    assert status == 0
    expected = hashes(folder)
    old = None
    points = sorted({1 + k * (steps - 1) // (POINTS - 1) for k in range(min(POINTS, steps))})
    if steps <= POINTS:
        points = list(range(1, steps + 1))
    killed = 0
    for step in points:
        folder = tmp_path / f"killed-{step}"
        folder.mkdir()
        if overwrite:
            tiny_make(folder / out, recipe=tiny(seed=9), n=17).close()
            old = hashes(folder)
        # Shards that finish together share a step, so the last steps may not come.
        if killer.make(folder / out, step, overwrite=overwrite)[0] == 0:
            continue
        killed += 1
        _check_reader(folder / out, expected, old)
        if overwrite and _now(folder) == old and not list(folder.glob("*.making/job.json")):
            # Killed before the new run was on record: the old dataset stands, untouched.
            assert killer.make(folder / out, overwrite=True)[0] == 0
        else:
            assert killer.make(folder / out, resume=True)[0] == 0
        assert hashes(folder) == expected, step
    assert killed >= len(points) - 2


def _now(folder: Path) -> dict[str, str]:
    return {name: h for name, h in hashes(folder).items() if ".making" not in name}


def _check_reader(out: Path, expected: dict, old: dict | None) -> None:
    """Whatever the instant: no dataset, the old one whole, or the new one whole."""
    try:
        dataset = open_dataset(out)
    except DatasetError:
        return
    now = _now(out.parent)
    assert now in (expected, old)
    dataset.close()


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
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was made in a minute")


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
    _, errors = process.communicate(timeout=30)
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
        workers = _workers(process.pid)
        if workers:
            os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    report = verify(out, regenerate=20)
    assert report.ok
    assert report.shards == 150


def _workers(parent: int) -> list[int]:
    """Dask's worker processes among a process's children."""
    children = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == parent and b"resource_tracker" not in command:
                children.append(int(entry.name))
    return children
