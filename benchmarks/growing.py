"""``python -m benchmarks.growing``: extending a dataset against making the larger one at once.

Interleaved rounds, since a shared machine's speed changes from minute to minute. In each a dataset
of half the samples is made, which isn't timed, then reused for another, and extended; the larger
one is made with the same sizes of chunks and shards; and all files are compared byte by byte.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

import gpgen
from benchmarks.machine import describe_machine

__all__ = ["main"]


def seconds_of(call: Callable[[], gpgen.Dataset]) -> tuple[float, float]:
    """Seconds of a call that makes a dataset, the disk left with nothing else to write.

    Returns
    -------
    float, float
        By the clock, and of processor time, which what else the machine does leaves alone.
    """
    os.sync()
    begun, worked = time.perf_counter(), time.process_time()
    call().close()
    return time.perf_counter() - begun, time.process_time() - worked


def same_files(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same files, byte for byte."""
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        for folder in (one, other)
    ]
    return names[0] == names[1] and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names[0]
    )


def one_round(
    recipe: gpgen.Recipe, n: int, target: str, folder: Path
) -> tuple[tuple[float, float], ...]:
    """Return the seconds of extending to n samples, of reusing half of them, and of making all."""
    with tempfile.TemporaryDirectory(prefix="gpgen-benchmark-", dir=folder) as name:
        grown, other, once = (Path(name) / part for part in ("grown", "other", "once"))
        for part in (grown, other, once):
            part.mkdir()
        with gpgen.make(recipe, n // 2, grown / target) as dataset:
            layout = dataset.manifest.layout
        sizes = {"chunk_size": layout.chunk_size, "shard_size": layout.shard_size}
        half = grown / target
        reused = seconds_of(lambda: gpgen.make(recipe, n, other / target, reuse=half))
        extended = seconds_of(lambda: gpgen.make(recipe, n, grown / target, extend=True))
        made = seconds_of(lambda: gpgen.make(recipe, n, once / target, **sizes))
        if not (same_files(grown, once) and same_files(other, once)):
            raise SystemExit(f"{target}: what has grown differs from what was made at once")
    return extended, reused, made


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Print the table; returns what it shows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growing", description=__doc__)
    parser.add_argument("--n", type=int, default=2000, help="samples (default 2000)")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side (default 256)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to write")
    parser.add_argument("--targets", nargs="*", default=["data.zarr", "data.h5"])
    options = parser.parse_args(arguments)
    recipe = gpgen.Recipe.load("two-scale").replace(shape=[options.size, options.size])
    table = Table(title=f"{options.n // 2:,} to {options.n:,} samples of {options.size} pixels")
    for heading in ("target", "seconds", "extend", "reuse", "make", "extend / make, each round"):
        table.add_column(heading, justify="right")
    result: dict[str, Any] = {}
    for target in options.targets:
        turns = [
            one_round(recipe, options.n, target, options.folder) for _ in range(options.rounds)
        ]
        result[target] = turns
        for clock, name in enumerate(("by the clock", "of the processor")):
            extended, reused, made = zip(
                *[[seconds[clock] for seconds in turn] for turn in turns], strict=True
            )
            ratios = [one / other for one, other in zip(extended, made, strict=True)]
            row = [f"{median(each):.1f}" for each in (extended, reused, made)]
            each = " ".join(f"{ratio:.2f}" for ratio in ratios)
            table.add_row(target, name, *row, f"{each}, median {median(ratios):.2f}")
    console = Console(width=None if Console().is_terminal else 120)
    console.print(describe_machine())
    console.print(table)
    return result


if __name__ == "__main__":
    main()
