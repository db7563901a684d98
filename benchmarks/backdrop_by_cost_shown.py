"""Tables and the picture of what `benchmarks.backdrop_by_cost` measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backdrop.training.report import Interval, interval
from gpgen.figures import new_figure
from gpgen.plots import check_picture, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["accuracies", "plot", "put", "tables"]

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
    "sparse, keep = 3, tile = 2048": ("X", "tab:red"),
    "sparse, keep = 48, tile = 2048": ("P", "tab:purple"),
}

Rows = list[dict[str, Any]]


def accuracies(
    rows: Rows, contender: str, of: Callable[[dict[str, Any]], float]
) -> dict[int, float]:
    """Return something of each run of a contender, by seed."""
    return {row["seed"]: of(row) for row in rows if row["contender"] == contender}


def _interval(rows: Rows, contender: str, of: Callable[[dict[str, Any]], float]) -> Interval:
    return interval(list(accuracies(rows, contender, of).values()))


def tables(found: dict[str, Any]) -> str:
    """Return costs, rates and accuracies with 95 % intervals, a Markdown table for each regime."""
    return "\n".join(
        _trained(name, regime) if regime.get("test") else _costs(name, regime)
        for name, regime in found["regimes"].items()
        if "costs" in regime
    )


def _trained(name: str, regime: dict[str, Any]) -> str:
    rows = regime["test"]
    title = f"{_side(name)}, {regime['train_size']} training images, {regime['seconds']:g} s"
    columns = (
        "method", "batch", "ms a step", "memory, MB", "steps", "rate", "test accuracy",
        "small blobs", "large blobs", f"above {REFERENCE}", "seeds",
    )  # fmt: skip
    lines = [
        f"{title}; ideal observer {regime.get('ideal', '?')}:\n",
        _line(columns),
        "|" + " --- |" * len(columns),
    ]
    before = accuracies(rows, REFERENCE, lambda row: row["accuracy"])
    for contender, cost in regime["costs"].items():
        mine = accuracies(rows, contender, lambda row: row["accuracy"])
        shown = [*_cost(contender, cost), *[""] * 7]
        if mine:
            rate = next(row["rate"] for row in rows if row["contender"] == contender)
            shared = [mine[seed] - before[seed] for seed in mine if seed in before]
            above = _signed(interval(shared)) if shared and contender != REFERENCE else ""
            parts = [
                _interval(rows, contender, lambda row, k=k: row["components"][k]) for k in (0, 1)
            ]
            accuracy = interval(list(mine.values()))
            shown[4:] = [cost["steps"], rate, accuracy, *parts, above, len(mine)]
        lines.append(_line(shown))
    return "\n".join(lines) + "\n"


def _costs(name: str, regime: dict[str, Any]) -> str:
    lines = [
        f"{_side(name)}, costs alone:\n",
        "| method | batch | ms a step | memory, MB |",
        "|" + " --- |" * 4,
    ]
    lines += [_line(_cost(contender, cost)) for contender, cost in regime["costs"].items()]
    return "\n".join(lines) + "\n"


def _side(name: str) -> str:
    side = name.rpartition("-")[2]
    return f"{side} x {side} pixels" if side.isdigit() else name


def _cost(contender: str, cost: dict[str, Any]) -> list[Any]:
    """Return a contender's name, batch, time and memory; or that it failed, and how."""
    if "seconds" not in cost:
        why = cost.get("failed", "")
        return [contender, cost["batch"], "out of memory" if "OutOfMemory" in why else why, ""]
    megabytes = cost["megabytes"]
    shown = f"{megabytes:.1f}" if megabytes < 1000 else f"{megabytes:,.0f}"
    return [contender, cost["batch"], f"{1e3 * cost['seconds']:.1f}", shown]


def _signed(one: Interval) -> str:
    return f"{'+' if one.mean > 0 else ''}{one}"


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def put(text: str, page: Path, mark: str) -> None:
    """Replace what stands in a page between ``<!-- MARK -->`` and ``<!-- end of MARK -->``."""
    start, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, found, rest = page.read_text().partition(start)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"{page} has no {start} followed by {end}: put them where {mark} belongs")
    page.write_text(f"{before}{start}\n{text}{end}{after}")


def plot(found: dict[str, Any], name: str, path: Path) -> None:
    """Draw accuracy over time, and over memory, for one regime."""
    check_picture(path)
    regime = found["regimes"][name]
    figure = new_figure(9, 4.6, layout="constrained")
    over_time, over_memory = figure.subplots(1, 2, sharey=True)
    for contender, cost in regime["costs"].items():
        marker, color = _LOOKS[contender]
        rows = [row for row in regime["test"] if row["contender"] == contender]
        if not rows:
            continue
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
    clock = "GPU time" if found.get("device") == "cuda" else "CPU time"
    over_time.set(xlabel=f"{clock}, s", ylabel="test accuracy", ylim=(0, 1.08))
    over_memory.set(xlabel="most memory of a step, MB (log scale)", xscale="log")
    ticks = [digit * 10**k for k in range(6) for digit in (1, 2, 5)]
    low, high = over_memory.get_xlim()
    over_memory.set_xticks([one for one in ticks if low <= one <= high])
    over_memory.xaxis.set_major_formatter("{x:,.0f}")
    over_memory.minorticks_off()
    for letter, axes in zip("ab", (over_time, over_memory), strict=True):
        _levels(axes, regime.get("ideal"))
        axes.set_title(f"({letter})", loc="left")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, path, dpi=120)


def _levels(axes: Axes, ideal: float | None) -> None:
    right = axes.get_yaxis_transform()
    for height, what, side in ((ideal, "ideal observer", "bottom"), (_CHANCE, "chance", "top")):
        if height is None:
            continue
        axes.axhline(height, color="0.3", linestyle="--", linewidth=1)
        axes.text(0.98, height, what, transform=right, ha="right", va=side, fontsize=8)
