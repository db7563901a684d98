"""``python -m benchmarks.shuffle``: how far `ShardShuffle` is from a full permutation.

Three numbers, each over a few epochs, next to what a uniform permutation has:

moved
    how far a sample lands from its place on the disk, in parts of the dataset (1/3);
same shard
    how often the sample that follows comes from the same shard;
met again
    how often two samples of one batch are in one batch in the next epoch too.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gpgen import Recipe
from gpgen.torch import GeneratedTextures, ShardShuffle

__all__ = ["main", "measure"]


def measure(
    orders: list[NDArray[np.int64]], shard_size: int, batch_size: int
) -> tuple[float, float, float]:
    """Moved, same shard, met again: means over epochs, of which each is an order."""
    n = len(orders[0])
    places = [np.argsort(order) for order in orders]
    moved = np.mean([np.abs(place - np.arange(n)).mean() / n for place in places])
    shards = [order // shard_size for order in orders]
    same = np.mean([(shard[1:] == shard[:-1]).mean() for shard in shards])
    again = np.mean(
        [met_again(a, b, batch_size) for a, b in zip(orders[:-1], places[1:], strict=True)]
    )
    return float(moved), float(same), float(again)


def met_again(order: NDArray[np.int64], place: NDArray[np.int64], batch_size: int) -> float:
    whole = len(order) // batch_size * batch_size
    batches = np.sort(place[order[:whole]].reshape(-1, batch_size) // batch_size, axis=1)
    pairs = 0
    for later in batches:
        _, counts = np.unique(later, return_counts=True)
        pairs += int((counts * (counts - 1) // 2).sum())
    return pairs / (len(batches) * batch_size * (batch_size - 1) / 2)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shuffle", description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    epochs = parser.parse_args().epochs
    table = Table(title="ShardShuffle; in brackets a uniform permutation", title_justify="left")
    for column in ("dataset", "window", "moved", "same shard", "met again"):
        table.add_column(column, justify="left" if column == "dataset" else "right")
    for side, n, shard_size, batch_size in ((1024, 10_000, 64, 32), (64, 1_000_000, 16_384, 256)):
        dataset = GeneratedTextures(Recipe.load("two-scale-mini").replace(shape=[side, side]), n)
        dataset.shard_size = shard_size
        default = ShardShuffle(dataset).window
        for window in (default // 16, default // 4, default, n):
            sampler = ShardShuffle(dataset, window=window)
            orders = []
            for epoch in range(epochs):
                sampler.set_epoch(epoch)
                orders.append(sampler.order())
            moved, same, again = measure(orders, shard_size, batch_size)
            ideal = (shard_size - 1) / (n - 1), (batch_size - 1) / (n - 1)
            table.add_row(
                f"{n:,} of {side} x {side}, shards of {shard_size:,}",
                f"{window:,}" + (" (default)" if window == default else ""),
                f"{moved:.3f} (0.333)",
                f"{same:.4f} ({ideal[0]:.4f})",
                f"{again:.2e} ({ideal[1]:.2e})",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
