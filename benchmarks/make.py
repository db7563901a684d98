"""``python -m benchmarks.make``: what making a dataset costs against what it could cost.

Three tables. Making against the disk (the same bytes, written in files as large
as a shard and fsynced) and against drawing on one core, divided by the cores:
in interleaved rounds, since a shared disk's speed changes from minute to minute.
Then how the cost grows with the number of small samples, with the memory of the
driver; and how it falls with workers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import gpgen
from benchmarks.machine import describe_machine
from gpgen.recipe import Recipe
from gpgen.sampling import Sampler

__all__ = ["draw_seconds", "main", "make_apart", "make_seconds", "write_seconds"]

# Run apart, so that peak memory is of one run alone.
_CHILD = """
import json, resource, sys, time
import gpgen
recipe, n, out, workers = json.loads(sys.argv[1])
begun = time.perf_counter()
gpgen.make(gpgen.Recipe.from_dict(recipe), n, out, **workers).close()
seconds = time.perf_counter() - begun
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(json.dumps({"seconds": seconds, "peak_bytes": peak}))
"""


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give a folder on the disk that is measured, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="gpgen-benchmark-", dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def write_seconds(folder: Path, nbytes: int, file_bytes: int) -> float:
    """Seconds to write and fsync `nbytes` in files of `file_bytes`: the disk's raw speed."""
    block = np.random.default_rng(0).bytes(min(2**22, file_bytes))
    with scratch(folder) as place:
        begun = time.perf_counter()
        for number in range(-(-nbytes // file_bytes)):
            left = min(file_bytes, nbytes - number * file_bytes)
            descriptor = os.open(place / str(number), os.O_WRONLY | os.O_CREAT, 0o644)
            while left > 0:
                left -= os.write(descriptor, block[:left])
            os.fsync(descriptor)
            os.close(descriptor)
        return time.perf_counter() - begun


def draw_seconds(recipe: Recipe, n: int) -> float:
    """Seconds that one core takes to draw the first `n` images, factors included."""
    sampler = Sampler(recipe)
    batch = max(1, 2**20 // recipe.image_nbytes)
    out = np.empty((batch, *recipe.shape), recipe.numpy_dtype)
    with threadpool_limits(1):
        begun = time.perf_counter()
        for start in range(0, n, batch):
            stop = min(start + batch, n)
            sampler.images(start, stop, out[: stop - start])
        return time.perf_counter() - begun


def make_seconds(recipe: Recipe, n: int, folder: Path, target: str, **options: object) -> float:
    """Seconds of `gpgen.make`, from the call to the finished dataset."""
    with scratch(folder) as place:
        begun = time.perf_counter()
        gpgen.make(recipe, n, place / target, **options).close()
        return time.perf_counter() - begun


def make_apart(
    recipe: Recipe, n: int, folder: Path, target: str, **options: object
) -> dict[str, Any]:
    """Seconds and peak memory of `gpgen.make` in a process of its own, imports left out."""
    with scratch(folder) as place:
        arguments = json.dumps([recipe.to_dict(), n, str(place / target), options])
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, arguments], capture_output=True, check=True, text=True
        )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def disk_table(
    n: int, folder: Path, target: str, workers: int, rounds: int
) -> tuple[Table, dict[str, Any]]:
    """Time making, writing the same bytes and drawing, round by round."""
    recipe = Recipe.load("two-scale")
    planned = gpgen.plan(recipe, n, folder / target, workers=workers)
    drawn = min(n, 200)
    write, draw, make = [], [], []
    for _ in range(rounds):
        write.append(
            write_seconds(folder, planned.nbytes, planned.shard_size * recipe.image_nbytes)
        )
        draw.append(draw_seconds(recipe, drawn) * n / drawn / workers)
        make.append(make_seconds(recipe, n, folder, target, workers=workers))
    ratios = [m / max(w, d) for m, w, d in zip(make, write, draw, strict=True)]
    table = Table(
        title=f"{n:,} samples 1024 x 1024 ({planned.nbytes / 1e9:.2f} GB), {target}, "
        f"{workers} workers, {rounds} rounds"
    )
    table.add_column("what")
    for heading in ("median s", "each round", "samples/s", "MB/s"):
        table.add_column(heading, justify="right")
    for what, seconds in (
        ("raw write of the same bytes, fsynced", write),
        (f"drawing on one core / {workers}", draw),
        ("gpgen.make", make),
    ):
        middle = median(seconds)
        each = " ".join(f"{s:.1f}" for s in seconds)
        speed = f"{planned.nbytes / middle / 1e6:,.0f}"
        table.add_row(what, f"{middle:.2f}", each, f"{n / middle:,.1f}", speed)
    table.add_row(
        "make / the slower of the two",
        f"{median(ratios):.2f}",
        " ".join(f"{ratio:.2f}" for ratio in ratios),
        style="bold",
    )
    result = {"n": n, "write_s": write, "draw_s": draw, "make_s": make, "ratios": ratios}
    return table, result


def growth_table(
    counts: Sequence[int], side: int, folder: Path, target: str, workers: int
) -> tuple[Table, list[dict[str, Any]]]:
    """Time making many small samples, each run in a process of its own."""
    recipe = Recipe.load("two-scale-mini").replace(shape=[side, side])
    table = Table(title=f"n samples {side} x {side}, {target}, {workers} workers")
    for heading in (
        "n",
        "s",
        "µs a sample",
        "÷ drawing on\none core / workers",
        "driver's\npeak MB",
    ):
        table.add_column(heading, justify="right")
    drawn = draw_seconds(recipe, 2000) / 2000 / workers
    rows = []
    for n in counts:
        row = {"n": n, "draw_s": drawn} | make_apart(recipe, n, folder, target, workers=workers)
        rows.append(row)
        table.add_row(
            f"{n:,}",
            f"{row['seconds']:.2f}",
            f"{1e6 * row['seconds'] / n:,.0f}",
            f"{row['seconds'] / n / drawn:,.2f}",
            f"{row['peak_bytes'] / 1e6:,.0f}",
        )
    return table, rows


def workers_table(
    n: int, counts: Sequence[int], folder: Path, target: str
) -> tuple[Table, list[dict[str, Any]]]:
    """Time making with more and more workers, as threads and as processes."""
    recipe = Recipe.load("two-scale")
    # Enough shards that no worker waits for the last one.
    shard_size = max(1, n // (8 * max(counts)))
    table = Table(title=f"{n:,} samples 1024 x 1024, {target}, shards of {shard_size}, by workers")
    for heading in ("workers", "threads, s", "processes, s"):
        table.add_column(heading, justify="right")
    rows = []
    for workers in counts:
        row: dict[str, Any] = {"workers": workers}
        for name, processes in (("threads", False), ("processes", True)):
            options = {"workers": workers, "processes": processes, "shard_size": shard_size}
            row[name] = make_seconds(recipe, n, folder, target, **options)
        rows.append(row)
        table.add_row(str(workers), f"{row['threads']:.2f}", f"{row['processes']:.2f}")
    return table, rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Print the tables; returns what they show."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.make", description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="large samples (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--workers", type=int, default=cores, help="default: all cores")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to write")
    parser.add_argument("--target", default="data.zarr", help="name, and by it the format")
    parser.add_argument("--counts", type=int, nargs="*", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--side", type=int, default=64, help="pixels of the small samples")
    parser.add_argument("--worker-counts", type=int, nargs="*", default=[1, cores])
    parser.add_argument("--full", action="store_true", help="2,000 large, a million small samples")
    options = parser.parse_args(arguments)
    if options.full:
        options.n = max(options.n, 2000)
        options.counts = [*options.counts, 1_000_000]
    console = Console(width=None if Console().is_terminal else 120)
    console.print(describe_machine())
    result: dict[str, Any] = {}
    where = (options.folder, options.target)
    if options.n:
        table, result["disk"] = disk_table(options.n, *where, options.workers, options.rounds)
        console.print(table)
    if options.counts:
        table, result["growth"] = growth_table(
            options.counts, options.side, *where, options.workers
        )
        console.print(table)
    if options.worker_counts:
        counts = sorted(set(options.worker_counts))
        table, result["workers"] = workers_table(max(options.n, 16), counts, *where)
        console.print(table)
    return result


if __name__ == "__main__":
    main()
