"""How the methods of docs/results.md were tuned: ten settings for each, on validation images.

    python -m benchmarks.backdrop_tuning --out docs/results/tuning.csv

trains every setting with each tuning seed, one thread, about 8 s a run, and writes the accuracy on
the split ``validation`` as a row. Rows that are there are not run again, so it may be stopped and
started; ``--part 0/2`` and ``--part 1/2`` share the work between two processes. ``--show`` prints
the means, best first, without training.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from backdrop.training import Settings, Source, train

RECIPE = "two-scale-mini"
SEEDS = (102, 103)
TRIED = {
    "none": [
        {"learning_rate": 0.003},
        {"learning_rate": 0.01},
        {"learning_rate": 0.02},
        {"learning_rate": 0.03},
        {"learning_rate": 0.04},
        {"learning_rate": 0.01, "batch_size": 6},
        {"learning_rate": 0.02, "batch_size": 6},
        {"learning_rate": 0.02, "batch_size": 30},
        {"learning_rate": 0.04, "batch_size": 30},
        {"learning_rate": 0.03, "batch_size": 6},
    ],
    "backdrop": [
        {"learning_rate": 0.003, "masks": (0.0, 0.9)},
        {"learning_rate": 0.003, "masks": (0.0, 0.97)},
        {"learning_rate": 0.01, "masks": (0.0, 0.97)},
        {"learning_rate": 0.01, "masks": (0.0, 0.99)},
        {"learning_rate": 0.01, "masks": (0.0, 0.997)},
        {"learning_rate": 0.02, "masks": (0.0, 0.99)},
        {"learning_rate": 0.003, "masks": (0.9, 0.9)},
        {"learning_rate": 0.01, "masks": (0.75, 0.97)},
        {"learning_rate": 0.02, "masks": (0.75, 0.97)},
        {"learning_rate": 0.01, "masks": (0.0, 0.99), "batch_size": 6},
    ],
    "dropout": [
        {"learning_rate": 0.003, "dropout": 0.3},
        {"learning_rate": 0.01, "dropout": 0.3},
        {"learning_rate": 0.01, "dropout": 0.6},
        {"learning_rate": 0.01, "dropout": 0.8},
        {"learning_rate": 0.02, "dropout": 0.8},
        {"learning_rate": 0.02, "dropout": 0.6},
        {"learning_rate": 0.01, "dropout": 0.0, "channel_dropout": (0.0, 0.3)},
        {"learning_rate": 0.01, "dropout": 0.0, "channel_dropout": (0.0, 0.6)},
        {"learning_rate": 0.01, "dropout": 0.0, "channel_dropout": (0.3, 0.6)},
        {
            "learning_rate": 0.01,
            "dropout": 0.0,
            "channel_dropout": (0.0, 0.3),
            "batch_size": 6,
        },
    ],
    "crop": [
        {"learning_rate": 0.003, "crop": 0.5},
        {"learning_rate": 0.003, "crop": 0.75},
        {"learning_rate": 0.01, "crop": 0.5},
        {"learning_rate": 0.01, "crop": 0.75},
        {"learning_rate": 0.02, "crop": 0.75},
        {"learning_rate": 0.003, "crop": 0.9},
        {"learning_rate": 0.01, "crop": 0.9},
        {"learning_rate": 0.02, "crop": 0.9},
        {"learning_rate": 0.04, "crop": 0.9},
        {"learning_rate": 0.01, "crop": 0.9, "batch_size": 6},
    ],
}
COLUMNS = ("method", "setting", "seed", "accuracy", "component_1", "component_2", "training")


def describe(fields: dict[str, object]) -> str:
    """One line for a setting, which also names it in the file."""
    return ", ".join(f"{name} {value}" for name, value in fields.items())


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(out: Path, part: int, parts: int) -> None:
    torch.set_num_threads(1)
    threadpool_limits(1, "blas")
    source = Source(RECIPE)
    # Seeds outermost, and of every method one setting after the other: a half-finished file
    # favours nobody.
    tasks = [
        (method, TRIED[method][number], seed)
        for seed in SEEDS
        for number in range(max(map(len, TRIED.values())))
        for method in TRIED
    ]
    for method, fields, seed in tasks[part::parts]:
        name = describe(fields)
        done = {(row["method"], row["setting"], row["seed"]) for row in rows_of(out)}
        if (method, name, str(seed)) in done:
            continue
        settings = Settings(**{"method": method, "split": "validation", **fields})
        result = train(source, settings, seed)
        test = asdict(result.test)
        row = (method, name, seed, test["accuracy"], *test["components"])
        with out.open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(COLUMNS)
            writer.writerow((*row, result.epochs[-1].accuracy))


def show(out: Path) -> None:
    found = defaultdict(list)
    for row in rows_of(out):
        found[row["method"], row["setting"]].append(float(row["accuracy"]))
    for method in TRIED:
        mine = [(statistics.mean(v), len(v), s) for (m, s), v in found.items() if m == method]
        for mean, count, setting in sorted(mine, reverse=True):
            print(f"{method:9} {mean:.3f} ({count} seeds)  {setting}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/tuning.csv"))
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--show", action="store_true")
    arguments = parser.parse_args()
    if not arguments.show:
        run(arguments.out, *map(int, arguments.part.split("/")))
    show(arguments.out)


if __name__ == "__main__":
    main()
