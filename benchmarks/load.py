"""``python -m benchmarks.load``: how fast training gets its batches, ours and others'.

Every measurement runs in a fresh process, the contenders in turn, so that a slow minute hits
them all; the table shows medians over the rounds. All read the same pixels in shuffled order.
"Warm" means that the files have just been read; before "cold" ones the system is told to
forget them, and what counts is the first epoch, behind its first batch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.loaders import CONTENDERS, Pixels, installed, prepare
from benchmarks.machine import describe_machine

__all__ = ["main"]

BATCHES = {1024: 32, 64: 256}
GIB = 2**30


def measure(
    pixels: Pixels, name: str, workers: int, seconds: float, cold: bool
) -> dict[str, float]:
    """Load epochs for some seconds, or a single one: images/s, time to the first batch, PSS."""
    import torch

    torch.set_num_threads(1)
    begun = time.perf_counter()
    loader = CONTENDERS[name].load(pixels, workers)
    batches = endless(loader)
    next(batches)
    first = time.perf_counter() - begun
    # What the workers have fetched ahead by now is no measure of their speed, nor is what they
    # do once: open files, build factors, ask for memory.
    for _ in range(0 if cold else 4 * workers):
        next(batches)
    images = 0
    started = time.perf_counter()
    while (took := time.perf_counter() - started) < seconds or not images:
        if cold and images + 2 * pixels.batch_size > pixels.n:
            break
        next(batches)
        images += pixels.batch_size
    memory = 0
    for _ in range(6):
        next(batches)
        memory = max(memory, pss())
    batches.close()
    return {"rate": images / took, "first": first, "pss": memory}


def endless(loader: Any) -> Any:
    epoch = 0
    while True:
        set_epoch = getattr(getattr(loader, "sampler", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        yield from loader
        epoch += 1


def pss() -> int:
    """Memory of this process and its children, pages that several share counted once."""
    me = psutil.Process()
    total = 0
    for process in (me, *me.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def files_of(pixels: Pixels) -> list[Path]:
    return [path for path in pixels.folder.rglob("*") if path.is_file()]


def forget(pixels: Pixels) -> None:
    """Take the files out of the system's cache; what is written already can be dropped."""
    for path in files_of(pixels):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def child(
    arguments: argparse.Namespace, pixels: Pixels, name: str, workers: int, cache: str
) -> dict[str, Any]:
    """Measure in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.load", "--child", name]
    command += ["--folder", str(pixels.folder), "--sides", str(pixels.side)]
    command += ["--samples", str(pixels.n), "--workers", str(workers)]
    command += ["--seconds", str(arguments.seconds), "--cache", cache]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if run.returncode:
        lines = run.stderr.strip().splitlines() or ["no message"]
        return {"error": lines[-1]}
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def table(pixels: Pixels, workers: int, cache: str, results: dict[str, list[Any]]) -> Table:
    shape = f"{pixels.side} x {pixels.side}, batches of {pixels.batch_size}"
    out = Table(title=f"{shape}, {workers} workers, {cache} cache", title_justify="left")
    for column in ("", "images/s", "of memmap", "first batch s", "PSS MB"):
        out.add_column(column, justify="left" if not column else "right")
    for name, runs in results.items():
        label = CONTENDERS[name].name
        good = [run for run in runs if "error" not in run]
        if not good:
            out.add_row(label, runs[0]["error"][:60], "", "", "")
            continue
        rate = median(run["rate"] for run in good)
        # Both of a ratio from the same round.
        bounds = [run.get("rate") for run in results.get("memmap", [])]
        ratios = [r["rate"] / b for r, b in zip(runs, bounds, strict=False) if "rate" in r and b]
        out.add_row(
            label,
            f"{rate:,.0f}",
            f"{median(ratios):.2f}" if ratios else "",
            f"{median(run['first'] for run in good):.2f}",
            f"{median(run['pss'] for run in good) / 1e6:,.0f}",
        )
    return out


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 64], help="pixels")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, help="by default 1 GiB of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--cache", nargs="+", choices=["warm", "cold"], default=["warm", "cold"])
    parser.add_argument("--folder", type=Path, help="where the data is kept for another run")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        pixels = pixels_of(arguments.folder, arguments.sides[0], arguments.samples)
        cold = arguments.cache == ["cold"]
        result = measure(pixels, arguments.child, arguments.workers[0], arguments.seconds, cold)
        sys.stdout.write("\n" + json.dumps(result) + "\n")
        sys.stdout.flush()
        return
    console = Console(width=110)
    console.print(describe_machine())
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        for side in arguments.sides:
            n = arguments.samples or GIB // (4 * side * side)
            compare(console, arguments, pixels_of(root / str(side), side, n))


def pixels_of(folder: Path, side: int, n: int) -> Pixels:
    return Pixels(folder, side, n, BATCHES.get(side, 32))


def compare(console: Console, arguments: argparse.Namespace, pixels: Pixels) -> None:
    names = [name for name in arguments.only if installed(CONTENDERS[name])]
    for name in set(arguments.only) - set(names):
        console.print(f"[dim]{CONTENDERS[name].package} is not installed[/dim]")
    prepare(pixels, names)
    for workers in arguments.workers:
        for cache in arguments.cache:
            results: dict[str, list[Any]] = {name: [] for name in names}
            for _ in range(arguments.rounds):
                for name in names:
                    if cache == "cold":
                        forget(pixels)
                    else:
                        for path in files_of(pixels):
                            read_through(path)
                    results[name].append(child(arguments, pixels, name, workers, cache))
            console.print(table(pixels, workers, cache, results))


def read_through(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(2**24):
            pass


if __name__ == "__main__":
    main()
