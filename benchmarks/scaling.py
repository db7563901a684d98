"""``python -m benchmarks.scaling``: what does not shrink when the pixels are somebody else's work.

The driver's own costs: the journal, the scheduler, the last step, a folder of many files, opening,
choosing a split. Each is measured
at growing sizes, in a process of its own, up to where a measurement takes seconds; beyond that
`docs/scaling.md` extrapolates. Then making on a store that answers late, with 1 to 8 workers:
every effect on the file system waits first, as it would on a far away one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import gpgen
from benchmarks.machine import describe_machine
from gpgen import cluster, dispatch, in_threads
from gpgen.format.job import Job, ShardRecord
from gpgen.format.layout import Layout, Target
from gpgen.format.manifest import checksum_arrays, derived_arrays, read_manifest, root_attributes
from gpgen.format.manifest import seal as sealed
from gpgen.format.zarr_content import members
from gpgen.format.zarr_metadata import block_names, image_document, root_document, small_document
from gpgen.io import files
from gpgen.making.worker_processes import worker_processes
from gpgen.recipe import Recipe
from gpgen.sampling import DrawnImages
from gpgen.workspace.journal import Journal

__all__ = ["main"]

RECIPE = Recipe.load("two-scale-mini").replace(shape=(64, 64))
WORKERS = (1, 2, 4, 8)


def small_job(folder: Path, shards: int, shard_size: int) -> Job:
    job = Job(
        Target.parse(folder / "d.zarr"),
        RECIPE,
        Layout(shards * shard_size, shard_size, 1),
        images=DrawnImages(RECIPE),
    )
    job.working.mkdir()
    return job


def records(job: Job) -> Iterator[ShardRecord]:
    crc32c = bytes(4 * job.layout.shard_size)
    for shard in range(job.layout.shards):
        yield ShardRecord(shard, bytes(32), 1, crc32c)


def journal(folder: Path, shards: int, shard_size: int) -> dict[str, float]:
    """Add shards, 64 at a time, each time safely on the disk; then open it as a resume does."""
    job = small_job(folder, shards, shard_size)
    begun = time.perf_counter()
    book, group = Journal(job), []
    for record in records(job):
        group.append(record)
        if len(group) == 64:
            book.add(group)
            group.clear()
    book.add(group)
    book.close()
    wrote = time.perf_counter()
    again = Journal(job)
    opened = time.perf_counter()
    assert again.finished == shards
    again.close()
    size = (job.working / "journal.jsonl").stat().st_size
    return {"write s": wrote - begun, "reopen s": opened - wrote, "MB": size / 1e6}


def sending(
    folder: Path, shards: int, shard_size: int, processes: bool = False
) -> dict[str, float]:
    """Have two workers make shards that cost nothing to make."""
    job = small_job(folder, shards, shard_size)
    record = next(records(job))

    def nothing(job: Job, shard: int, *_: object) -> ShardRecord:  # noqa: ARG001
        return ShardRecord(shard, record.sha256, 1, record.crc32c)

    in_threads._make_shard = dispatch._make_shard = nothing
    done = 0

    def finished(arrived: list[ShardRecord]) -> None:
        nonlocal done
        done += len(arrived)

    with contextlib.ExitStack() as stack:
        if processes:
            address = stack.enter_context(worker_processes(2))
            client = stack.enter_context(cluster.connect(address))
        begun, cpu = time.perf_counter(), time.process_time()
        if processes:
            dispatch.make_shards(client, job, iter(range(shards)), finished)
        else:
            in_threads.make_in_threads(job, 2, [in_threads.Lane(iter(range(shards)))], finished)
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    assert done == shards
    return {"s": took, "ms a shard": 1e3 * took / shards, "of CPU": 1e3 * cpu / shards}


def by_processes(folder: Path, shards: int, shard_size: int) -> dict[str, float]:
    """The same through a scheduler and sockets, to workers that are processes."""
    return sending(folder, shards, shard_size, processes=True)


def completing(folder: Path, shards: int, shard_size: int) -> dict[str, float]:
    """Make, hash and drop all that the last step of a run puts beside the shards."""
    job = small_job(folder, shards, shard_size)
    book, record = Journal(job), next(records(job))
    # One record stands for all: the journal is measured by itself.
    book.record = lambda _: record  # type: ignore[method-assign]
    begun, nbytes = time.perf_counter(), 0
    for _, data in members(job, book):
        nbytes += len(data)
    book.close()
    return {"s": time.perf_counter() - begun, "MB": nbytes / 1e6}


def folder_of(folder: Path, shards: int, shard_size: int) -> dict[str, float]:  # noqa: ARG001
    """Look at each of many files in one folder, as resuming and verifying do."""
    for shard in range(shards):
        (folder / f"c.{shard}.0.0").touch()
    begun = time.perf_counter()
    sizes = [entry.stat().st_size for entry in os.scandir(folder)]
    assert len(sizes) == shards
    return {"s": time.perf_counter() - begun}


def opening(folder: Path, shards: int, shard_size: int) -> dict[str, float]:
    """Read and check a root document of that size, which is all that opening does."""
    layout = Layout(shards * shard_size, shard_size, 1)
    arrays = (*derived_arrays(RECIPE, layout.n), *checksum_arrays(layout))
    documents = {array.name: small_document(array) for array in arrays}
    documents["image"] = image_document(RECIPE, layout)
    names = [name for array in arrays for name in block_names(array)]
    attributes = root_attributes(RECIPE, layout)
    attributes["files"] = dict.fromkeys([*names, *documents], "0" * 64)
    path = folder / "zarr.json"
    path.write_text(json.dumps(root_document(sealed(attributes), documents)))
    begun = time.perf_counter()
    read_manifest(json.loads(path.read_bytes())["attributes"], "here")
    return {"s": time.perf_counter() - begun, "MB": path.stat().st_size / 1e6}


def splitting(folder: Path, shards: int, shard_size: int) -> dict[str, float]:  # noqa: ARG001
    """Count a split's samples and find the first of a shuffled epoch, as training does."""
    from gpgen.torch import GeneratedTextures, ShardShuffle

    begun = time.perf_counter()
    textures = GeneratedTextures(RECIPE, shards * shard_size, split="train")
    textures.shard_size = shard_size
    count = len(textures)
    counted = time.perf_counter()
    textures.recipe.label_of(int(next(iter(ShardShuffle(textures)))))
    return {"count s": counted - begun, "first s": time.perf_counter() - counted, "samples": count}


def late_store(
    folder: Path, n: int, shard_size: int | None, workers: int, seconds: float
) -> dict[str, float]:
    """Make a dataset, each effect on the file system `seconds` late."""
    files.watch(lambda *_: time.sleep(seconds))
    begun = time.perf_counter()
    gpgen.make(RECIPE, n, folder / "d.zarr", workers=workers, shard_size=shard_size).close()
    return {"s": time.perf_counter() - begun}


PARTS: dict[str, tuple[Callable[..., dict[str, float]], list[tuple[int, int]]]] = {
    "journal": (journal, [(10**4, 1), (10**5, 1), (10**6, 1), (10**3, 1000), (10**4, 1000)]),
    "threads": (sending, [(10**3, 1), (10**4, 1)]),
    "processes": (by_processes, [(10**3, 1), (10**4, 1)]),
    "completing": (completing, [(10**3, 1000), (10**4, 1000)]),
    "folder": (folder_of, [(10**4, 1), (10**5, 1)]),
    "opening": (opening, [(10**3, 1000), (10**4, 1000), (10**6, 1000)]),
    "splitting": (splitting, [(10**4, 1000), (10**5, 1000), (10**6, 1000)]),
}


def apart(part: str, *arguments: float | None) -> dict[str, float]:
    """Measure in a process of its own, with what that adds to its memory."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--child", part, json.dumps(arguments)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return result


def child(part: str, arguments: list[Any]) -> dict[str, float]:
    before = peak()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        work = late_store if part == "late" else PARTS[part][0]
        result = work(Path(folder), *arguments)
    return {**result, "memory MB": (peak() - before) / 1e6}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parts = [*PARTS, "late", "growth"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.0, 0.01, 0.05])
    parser.add_argument("--most", type=int, default=10**6, help="samples of the last row of growth")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        part, values = arguments.child
        print(json.dumps(child(part, json.loads(values))))
        return
    console = Console(width=100)
    console.print(describe_machine())
    for part in arguments.only:
        if part == "late":
            console.print(late_table(arguments.latency))
        elif part == "growth":
            console.print(growth_table(arguments.most))
        else:
            console.print(part_table(part))


def part_table(part: str) -> Table:
    table = Table(title=part, title_justify="left")
    rows = [(size, apart(part, *size)) for size in PARTS[part][1]]
    for column in ("shards", "samples a shard", *rows[0][1]):
        table.add_column(column, justify="right")
    for (shards, shard_size), result in rows:
        cells = (f"{v:,}" if isinstance(v, int) else f"{v:,.3f}" for v in result.values())
        table.add_row(f"{shards:,}", f"{shard_size:,}", *cells)
    return table


def late_table(latencies: list[float]) -> Table:
    shards, shard_size = 64, 16
    title = f"making {shards} shards of {shard_size} on a store that answers late: seconds"
    table = _by_workers(title, "latency ms")
    for latency in latencies:
        took = [apart("late", shards * shard_size, shard_size, k, latency)["s"] for k in WORKERS]
        table.add_row(f"{1e3 * latency:.0f}", *(f"{s:.2f}" for s in took))
    return table


def growth_table(most: int) -> Table:
    title = "making in shards of the usual size, each effect 10 ms late: seconds, MB of memory"
    table, n = _by_workers(title, "samples"), 100
    while n <= most:
        found = [apart("late", n, None, k, 0.01) for k in WORKERS]
        cells = (f"{one['s']:.2f}, {one['memory MB']:.0f}" for one in found)
        table.add_row(f"{n:,}", *cells)
        n *= 10
    return table


def _by_workers(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in (first, *(f"{k} workers" for k in WORKERS)):
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    main()
