"""``python -m benchmarks.soak``: a long run on a cluster whose workers keep dying.

Starts a scheduler and workers with the `dask` command and `gpgen make --scheduler`, kills
(SIGKILL) the oldest worker every minute and starts another, notes the memory of the driver and
of the scheduler every second, and verifies what was made. The answer is one line of JSON; then
comes a line for each figure that is to be reached, and the exit status is 1 if one was not.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import gpgen

__all__ = ["Figure", "figures", "main", "memory", "soak"]

RECIPE = "two-scale-mini"
DRIVER_MB = 500.0
# Python's allocator takes memory from the system, and gives it back, in arenas of this size: less
# growth than one of them can't be told from none.
ARENA_MB = 2**20 / 1e6


def rss_mb(pid: int) -> float | None:
    """Resident memory of a process in MB; ``None`` when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 / 1e6 if found else None


def memory(samples: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The peak of (second, MB) pairs, and how the last half went.

    Its quarters' medians are a quarter of the run apart: what grows steadily grows by twice their
    difference in half of it. A line of least squares would be bent by the last seconds, in which
    the small arrays are written, for which memory is taken once.
    """
    half = [mb for _, mb in samples[len(samples) // 2 :]]
    middle = len(half) // 2
    third, last = median(half[: middle or 1]), median(half[middle:])
    return {
        "peak_mb": max(mb for _, mb in samples),
        "third_quarter_median_mb": third,
        "last_quarter_median_mb": last,
        "growth_in_last_half_mb": 2 * (last - third),
    }


class _Cluster:
    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder, self._stack = folder, stack
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port))
        self.workers: list[subprocess.Popen[bytes]] = []

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
        with (self._folder / "cluster.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def start_worker(self) -> None:
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))
        self.workers.append(self._start("worker", self.address, *options))

    def replace_oldest(self) -> None:
        oldest = self.workers.pop(0)
        oldest.kill()
        oldest.wait()
        self.start_worker()


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="gpgen-soak-", dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def soak(
    n: int, side: int, shard_size: int, folder: Path, target: str, workers: int, every: float
) -> dict[str, Any]:
    """Make `n` samples while a worker is killed and replaced every so many seconds."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_scratch(folder))
        cluster = _Cluster(place, stack)
        for _ in range(workers):
            cluster.start_worker()
        out = str(place / target)
        words = ["--recipe", RECIPE, "--size", str(side), "--n", str(n), "--out", out]
        words += ["--shard-size", str(shard_size), "--scheduler", cluster.address, "--quiet"]
        begun = time.monotonic()
        driver = subprocess.Popen([sys.executable, "-m", "gpgen_cli", "make", *words])
        stack.callback(driver.wait)
        stack.callback(driver.kill)
        seen: dict[str, list[tuple[float, float]]] = {"driver": [], "scheduler": []}
        killed, due = 0, begun + every
        while driver.poll() is None:
            now = time.monotonic()
            for name, pid in (("driver", driver.pid), ("scheduler", cluster.scheduler.pid)):
                mb = rss_mb(pid)
                if mb is not None:
                    seen[name].append((now - begun, mb))
            if now >= due:
                cluster.replace_oldest()
                killed, due = killed + 1, due + every
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(1)
        seconds = time.monotonic() - begun
        if driver.returncode:
            raise SystemExit(f"gpgen make ended with status {driver.returncode}")
        begun = time.monotonic()
        report = gpgen.verify(out, regenerate=min(n, 1000))
        with gpgen.open_dataset(out) as dataset:
            different = len(set(dataset.seed[:].tolist()))
        return {
            "n": n,
            "side": side,
            "target": target,
            "shards": report.shards,
            "workers": workers,
            "workers_killed": killed,
            "seconds": seconds,
            "verified": report.ok,
            "samples_regenerated": report.samples_regenerated,
            "different_seeds": different,
            "verify_seconds": time.monotonic() - begun,
            "driver": memory(seen["driver"]),
            "scheduler": memory(seen["scheduler"]),
        }


@dataclasses.dataclass(frozen=True)
class Figure:
    """What is to be reached, in words, and whether it was."""

    what: str
    reached: bool


def tolerance_mb(n: int) -> float:
    """Return by how much the driver may grow in the last half of a run.

    The least that it could hold on to of a shard, having received it, are the shard's checksums,
    four bytes a sample: to grow by as much as those of half the samples is a leak. In a short run
    that would be less than an arena.
    """
    return max(ARENA_MB, 4 * (n / 2) / 1e6)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a run, whose result `soak` has returned."""
    n, driver = result["n"], result["driver"]
    peak, growth, most = driver["peak_mb"], driver["growth_in_last_half_mb"], tolerance_mb(n)
    whole = result["verified"] and result["different_seeds"] == n
    killed = result["workers_killed"]
    return [
        Figure(f"verified, {result['different_seeds']} different samples of {n}", whole),
        Figure(f"{killed} workers killed, at least 1", killed >= 1),
        Figure(f"driver {peak:.1f} MB at its peak, under {DRIVER_MB:.0f}", peak < DRIVER_MB),
        Figure(f"driver grew by {growth:.2f} MB in the last half, under {most:.2f}", growth < most),
    ]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Print what was measured, and what was to be reached; returns the former.

    Raises
    ------
    SystemExit
        If a figure was not reached.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000, help="samples (default a million)")
    parser.add_argument("--side", type=int, default=64, help="pixels of a side (default 64)")
    parser.add_argument("--shard-size", type=int, default=500, help="samples a shard")
    parser.add_argument("--workers", type=int, default=2, help="workers at a time (default 2)")
    parser.add_argument("--every", type=float, default=60, help="seconds between two kills")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to write")
    parser.add_argument("--target", default="data.zarr", help="name, and by it the format")
    options = parser.parse_args(arguments)
    result = soak(**vars(options))
    print(json.dumps(result))
    reached = figures(result)
    for figure in reached:
        print("reached:" if figure.reached else "MISSED: ", figure.what)
    if not all(figure.reached for figure in reached):
        sys.exit(1)
    return result


if __name__ == "__main__":
    main()
