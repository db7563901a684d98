"""``python -m benchmarks.package``: packaging against reading and writing the same bytes.

Interleaved rounds, since a shared disk's speed changes from minute to minute. Before each turn
the dataset is dropped from the page cache and the disk is left with nothing to write, so that
both read it from the disk and both end with fsync. Packaging is the whole of `package`: every
byte checked against the manifest, SHA-256 and MD5 of what is written, and all metadata made and
validated.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

import gpgen
from benchmarks.machine import describe_machine
from gpgen.description.publication import Creator, Publication
from gpgen.publish.packaging import package
from gpgen.recipe import Recipe

__all__ = ["copy_files", "main"]

_BLOCK = 2**22
_PUBLICATION = Publication(
    "A benchmark", "CC-BY-4.0", (Creator("Carberry, Josiah"),), date=datetime.date(2026, 1, 31)
)


def data_files(dataset: Path) -> list[Path]:
    """Return all files of a dataset: a folder's, or the file itself."""
    if dataset.is_file():
        return [dataset]
    return sorted(path for path in dataset.rglob("*") if path.is_file())


def copy_files(dataset: Path, out: Path) -> int:
    """Read a dataset's files and write them into one, safely on the disk; return the bytes."""
    total, buffer = 0, memoryview(bytearray(_BLOCK))
    with out.open("xb", buffering=0) as target:
        for path in data_files(dataset):
            with path.open("rb", buffering=0) as source:
                while count := source.readinto(buffer):
                    left = buffer[:count]
                    while left:
                        left = left[target.write(left) :]
                    total += count
        os.fsync(target.fileno())
    return total


def turn(dataset: Path, out: Path, call: Callable[[], object]) -> float:
    """Seconds of a call that makes `out`, from a cold cache and with an idle disk."""
    os.sync()
    for path in data_files(dataset):
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun = time.perf_counter()
    call()
    seconds = time.perf_counter() - begun
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return seconds


def compare(dataset: Path, out: Path, rounds: int) -> dict[str, Any]:
    """Time copying and packaging a dataset, in turn."""
    # Once before, for the validators' imports.
    package(dataset, _PUBLICATION, out, recipe_only=True)
    shutil.rmtree(out)
    copied, packaged = [], []
    for _ in range(rounds):
        copied.append(turn(dataset, out, lambda: copy_files(dataset, out)))
        packaged.append(turn(dataset, out, lambda: package(dataset, _PUBLICATION, out)))
    ratios = [copy / pack for copy, pack in zip(copied, packaged, strict=True)]
    nbytes = sum(path.stat().st_size for path in data_files(dataset))
    return {"nbytes": nbytes, "copy_s": copied, "package_s": packaged, "ratios": ratios}


def hash_speeds() -> dict[str, float]:
    """Bytes a second of one core, for each sum that a deposit needs."""
    data = bytes(2**26)
    sums: dict[str, Callable[[bytes], object]] = {
        "SHA-256": hashlib.sha256,
        "MD5": lambda block: hashlib.md5(block, usedforsecurity=False),
        "CRC-32": zlib.crc32,
    }
    speeds = {}
    for name, call in sums.items():
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            call(data)
            times.append(time.perf_counter() - begun)
        speeds[name] = len(data) / median(times)
    return speeds


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the table, and return what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.package")
    parser.add_argument("--n", type=int, default=400, help="samples (400: 1.7 GB)")
    parser.add_argument("--recipe", default="two-scale")
    parser.add_argument("--targets", nargs="*", default=["data.zarr", "data.h5"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to be measured")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args(arguments)
    table = Table("dataset", "GB", "read and write, s", "package, s", "speed, of the former")
    result: dict[str, Any] = {"hashes": hash_speeds()}
    with tempfile.TemporaryDirectory(prefix="gpgen-benchmark-", dir=options.folder) as scratch:
        for target in options.targets:
            dataset = Path(scratch) / target
            gpgen.make(Recipe.load(options.recipe), options.n, dataset).close()
            measured = compare(dataset, Path(scratch) / "out", options.rounds)
            result[target] = measured
            table.add_row(
                target,
                f"{measured['nbytes'] / 1e9:.2f}",
                *(f"{median(measured[key]):.2f}" for key in ("copy_s", "package_s", "ratios")),
            )
            shutil.rmtree(dataset) if dataset.is_dir() else dataset.unlink()
    console = Console()
    console.print(describe_machine())
    speeds = ", ".join(f"{name} {speed / 1e9:.2f}" for name, speed in result["hashes"].items())
    console.print(f"One core, GB/s: {speeds}")
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
