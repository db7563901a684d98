"""Tables and the picture of what `benchmarks.backdrop_by_cost` measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backdrop.training.report import Interval, interval
from gpgen.figures import new_figure
from gpgen.plots import check_picture, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["accuracies", "plot", "print_tables"]

REFERENCE = "small batches"
"""What the others are compared with seed by seed, and whose memory is the limit."""

_CHANCE = 0.25
_LOOKS = {
    "no mask": ("o", "black"),
    "small batches": ("s", "tab:gray"),
    "checkpoint": ("D", "tab:brown"),
    "dropout": ("^", "tab:green"),
    "crops": ("v", "tab:blue"),
    "sparse, p = 0.95": ("P", "tab:purple"),
    "sparse, keep = 3": ("X", "tab:red"),
    "sparse, keep = 3, small batches": ("*", "tab:orange"),
}

Rows = list[dict[str, Any]]


def accuracies(
    rows: Rows, contender: str, of: Callable[[dict[str, Any]], float]
) -> dict[int, float]:
    """Return something of each run of a contender, by seed."""
    return {row["seed"]: of(row) for row in rows if row["contender"] == contender}


def _interval(rows: Rows, contender: str, of: Callable[[dict[str, Any]], float]) -> Interval:
    return interval(list(accuracies(rows, contender, of).values()))


def print_tables(found: dict[str, Any]) -> None:
    """Print costs, rates and accuracies with 95 % intervals, as Markdown."""
    print(found["machine"])
    for name, regime in found["regimes"].items():
        rows, costs = regime.get("test", []), regime["costs"]
        limit = costs[REFERENCE]["megabytes"]
        print(f"\n{name}: {regime['train_size']} training images, {regime['seconds']:g} s; "
              f"ideal observer {regime.get('ideal', '?')}\n")  # fmt: skip
        print(f"| method | batch | ms a step | steps | MB | within {limit:g} MB | rate | accuracy "
              f"| small blobs | large blobs | above {REFERENCE} | seeds |")  # fmt: skip
        print("|" + " --- |" * 12)
        before = accuracies(rows, REFERENCE, lambda row: row["accuracy"])
        for contender, cost in costs.items():
            mine = accuracies(rows, contender, lambda row: row["accuracy"])
            shared = [mine[seed] - before[seed] for seed in mine if seed in before]
            shown = [
                contender,
                cost["batch"],
                f"{1e3 * cost['seconds']:.1f}",
                cost["steps"],
                f"{cost['megabytes']:.1f}",
                "yes" if cost["megabytes"] <= limit else "no",
            ]
            if mine:
                rate = next(row["rate"] for row in rows if row["contender"] == contender)
                shown += [rate, interval(list(mine.values()))]
                shown += [
                    _interval(rows, contender, lambda row, k=k: row["components"][k])
                    for k in (0, 1)
                ]
                shown += ["" if contender == REFERENCE else interval(shared), len(mine)]
            print("| " + " | ".join(map(str, shown)) + " |")


def plot(found: dict[str, Any], name: str, path: Path) -> None:
    """Draw accuracy over the CPU's time, and over memory, for one regime."""
    check_picture(path)
    regime = found["regimes"][name]
    figure = new_figure(9, 4.6, layout="constrained")
    over_time, over_memory = figure.subplots(1, 2, sharey=True)
    for contender, cost in regime["costs"].items():
        marker, color = _LOOKS[contender]
        rows = [row for row in regime["test"] if row["contender"] == contender]
        way = [[*row["on_the_way"], row["accuracy"]] for row in rows]
        means = [interval(column) for column in zip(*way, strict=True)]
        parts = (*regime["on_the_way_at"], 1)
        seconds = [0, *(part * regime["seconds"] for part in parts)]
        heights = [_CHANCE, *(one.mean for one in means)]
        over_time.plot(seconds, heights, color=color, marker=marker, label=contender)
        over_memory.errorbar(
            cost["megabytes"],
            means[-1].mean,
            means[-1].half_width,
            color=color,
            marker=marker,
            capsize=3,
        )
    limit = regime["costs"][REFERENCE]["megabytes"]
    over_memory.axvline(limit, color="0.6", linestyle=":", zorder=0)
    over_memory.text(1.03 * limit, 0.06, "the limit", fontsize=8)
    over_time.set(xlabel="CPU time, s", ylabel="test accuracy", ylim=(0, 1.08))
    over_memory.set(xlabel="most memory of a step, MB (log scale)", xscale="log", xlim=(3, 120))
    over_memory.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    for letter, axes in zip("ab", (over_time, over_memory), strict=True):
        _levels(axes, regime["ideal"])
        axes.set_title(f"({letter})", loc="left")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, path, dpi=120)


def _levels(axes: Axes, ideal: float) -> None:
    right = axes.get_yaxis_transform()
    for height, what, side in ((ideal, "ideal observer", "bottom"), (_CHANCE, "chance", "top")):
        axes.axhline(height, color="0.3", linestyle="--", linewidth=1)
        axes.text(0.98, height, what, transform=right, ha="right", va=side, fontsize=8)
