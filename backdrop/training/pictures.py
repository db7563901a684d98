"""What the runs say, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backdrop.training.report import (
    IDEAL,
    Interval,
    MethodSummary,
    Summary,
    of_ideal,
    summarize,
)
from backdrop.training.run import Run
from gpgen.figures import new_figure
from gpgen.observer import Difficulty
from gpgen.plots import check_picture, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot"]

_MARKERS = "osD^v<>"


def plot(
    runs: Sequence[Run],
    path: str | Path,
    *,
    choices: Sequence[int] = (),
    ideal: Difficulty | None = None,
) -> None:
    """Draw the test accuracies with 95 % intervals, chance, and what is possible.

    Of one number of training images: each method's loss by epoch, and the accuracies with lines
    between pairs. Of several: accuracy over the number of images, whole and of each component, if
    several offer a choice.

    Parameters
    ----------
    runs
        All of them.
    path
        A .png, .pdf or .svg file.
    choices
        How many length-scales each component offers (`Source.sizes`); without them there is no
        line for chance.
    ideal
        The ideal observer, if it is known.

    Raises
    ------
    MissingPackageError, UsageError, TargetError
        As `gpgen.plots.check_picture`, which tells before there are any runs.
    """
    check_picture(path)
    summaries = summarize(runs)
    classes = isinstance(summaries[0], MethodSummary)
    ylabel = f"test {'accuracy' if classes else 'relative error'}"
    whole = None if ideal is None else of_ideal(ideal.estimate)
    if len({one.train_size for one in summaries}) == 1:
        figure = new_figure(9, 3.6, layout="constrained")
        axes = figure.subplots(1, 2)
        _losses(axes[0], runs, summaries)
        _pairs(axes[1], runs, summaries, ylabel)
        _limits(axes[1], math.prod(choices), whole)
        if axes[1].get_legend_handles_labels()[0]:
            axes[1].legend(frameon=False, fontsize="small", loc="lower right")
    else:
        count = len(summaries[0].components)
        shown = [k for k in range(count) if not choices or choices[k] > 1]
        if len(shown) == 1:
            shown = []  # its choices are the classes
        figure = new_figure(2 + 3.4 * (1 + len(shown)), 3.6, layout="constrained")
        axes = figure.subplots(1, 1 + len(shown), sharey=True, squeeze=False)[0]
        _by_images(axes[0], summaries, [one.score for one in summaries])
        _limits(axes[0], math.prod(choices), whole)
        axes[0].set(
            title="all classes" if classes else "all length-scales",
            ylabel=ylabel,
            ylim=(0, 1.03 if classes else None),
        )
        for panel, k in zip(axes[1:], shown, strict=True):
            _by_images(panel, summaries, [one.components[k] for one in summaries])
            possible = None if ideal is None else of_ideal(ideal.components[k].estimate)
            _limits(panel, choices[k] if choices else 1, possible)
            panel.set_title(f"component {k + 1}")
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False
        )
    for letter, panel in zip("abcdefgh", axes, strict=False):
        panel.set_title(letter, loc="left", fontweight="bold")
    save(figure, path, dpi=120)


def _by_images(panel: Axes, summaries: Sequence[Summary], accuracies: Sequence[Interval]) -> None:
    """Draw one line a method."""
    methods = list(dict.fromkeys(one.method for one in summaries))
    sizes = sorted({one.train_size for one in summaries})
    for number, method in enumerate(methods):
        points = sorted(
            (one.train_size, accuracy)
            for one, accuracy in zip(summaries, accuracies, strict=True)
            if one.method == method
        )
        # Beside each other, so that intervals don't hide one another.
        moved = 1.04 ** (number - (len(methods) - 1) / 2)
        panel.errorbar(
            [size * moved for size, _ in points],
            [accuracy.mean for _, accuracy in points],
            _bars([accuracy for _, accuracy in points]),
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            linewidth=1.2,
            capsize=2,
            label=method,
        )
    panel.set_xscale("log")
    panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
    panel.minorticks_off()
    panel.set_xlabel("training images")


def _losses(panel: Axes, runs: Sequence[Run], summaries: Sequence[Summary]) -> None:
    """Draw the loss by epoch of those methods that have steps."""
    for number, one in enumerate(summaries):
        mine = [run for run in runs if run.settings.method == one.method]
        losses = np.array([[epoch.loss for epoch in run.epochs] for run in mine])
        if mine[0].settings.fitted_at_once:
            continue
        panel.plot(
            np.arange(1, losses.shape[1] + 1),
            losses.mean(0),
            color=f"C{number}",
            marker=_MARKERS[number % len(_MARKERS)],
            markevery=max(1, losses.shape[1] // 8),
            markersize=4,
            label=one.method,
        )
    panel.set(xlabel="epoch", ylabel="training loss, mean over seeds", yscale="log")
    if panel.lines:
        panel.legend(frameon=False, fontsize="small")


def _pairs(panel: Axes, runs: Sequence[Run], summaries: Sequence[Summary], ylabel: str) -> None:
    """Draw each seed's scores as a line, and each method's mean and interval."""
    for seed in sorted({run.seed for run in runs}):
        scores = {str(run.settings.method): run.score for run in runs if run.seed == seed}
        values = [scores[one.method] for one in summaries]
        panel.plot(range(len(values)), values, color="0.8", linewidth=1, marker="o", markersize=3)
    for number, one in enumerate(summaries):
        panel.errorbar(
            number,
            one.score.mean,
            _bars([one.score]),
            marker=_MARKERS[number % len(_MARKERS)],
            color=f"C{number}",
            capsize=4,
        )
    names = [one.method for one in summaries]
    panel.set_xticks(range(len(names)), names, rotation=30 if len(names) > 4 else 0)
    panel.set(ylabel=ylabel, xlim=(-0.5, len(names) - 0.5))


def _limits(panel: Axes, choices: int, ideal: Interval | None) -> None:
    """Draw what guessing among some choices gives, and what is possible."""
    if ideal is not None:
        low, high = ideal.within_0_and_1
        panel.axhspan(low, high, color="black", alpha=0.15, linewidth=0)
        panel.axhline(ideal.mean, color="black", linestyle="--", linewidth=1.2, label=IDEAL)
    if choices > 1:
        panel.axhline(1 / choices, color="0.4", linestyle=":", linewidth=1.2, label="chance")


def _bars(accuracies: Sequence[Interval]) -> list[list[float]]:
    """Return how far intervals reach below and above their means, within 0 and 1.

    Relative errors may lie above 1: a mean that does is drawn without an upper half.
    """
    return [
        [one.mean - one.within_0_and_1[0] for one in accuracies],
        [max(0.0, one.within_0_and_1[1] - one.mean) for one in accuracies],
    ]
