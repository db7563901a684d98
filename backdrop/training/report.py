"""What the runs say together: means, intervals, files, a plot."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from backdrop.evaluation import LengthScaleScores, Scores
from backdrop.training.run import Run
from gpgen.figures import new_figure
from gpgen.io.user_paths import given
from gpgen.plots import check_picture, save

__all__ = [
    "Interval",
    "LengthScaleSummary",
    "MethodSummary",
    "interval",
    "plot",
    "summarize",
    "write",
]


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval (NaN for a single value)."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        if math.isnan(self.half_width):
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {self.half_width:.3f}"


@dataclass(frozen=True)
class MethodSummary:
    """One method over its seeds.

    Attributes
    ----------
    method
        Its name.
    n
        Number of seeds.
    accuracy, components
        On the test images: whole, and of each component.
    training_accuracy
        In the last epoch.
    gain
        Accuracy above that of the method ``none`` with the same seed; None
        where that was not run.
    """

    method: str
    n: int
    accuracy: Interval
    components: tuple[Interval, ...]
    training_accuracy: Interval
    gain: Interval | None


@dataclass(frozen=True)
class LengthScaleSummary:
    """One method that learned length-scales, over its seeds.

    Attributes
    ----------
    method
        Its name.
    n
        Number of seeds.
    relative_error, r2, components
        On the test images, as `backdrop.evaluation.LengthScaleScores` has them.
    training_error
        Relative error in the last epoch.
    gain
        Relative error below that of the method ``none`` with the same seed; None where that was
        not run.
    """

    method: str
    n: int
    relative_error: Interval
    r2: Interval
    components: tuple[Interval, ...]
    training_error: Interval
    gain: Interval | None


def interval(values: Sequence[float]) -> Interval:
    """Return the mean and Student's 95 % interval of independent values."""
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n < 2:
        return Interval(float(array.mean()), math.nan)
    error = float(array.std(ddof=1)) / math.sqrt(n)
    return Interval(float(array.mean()), float(stdtrit(n - 1, 0.975)) * error)


def summarize(runs: Sequence[Run]) -> tuple[MethodSummary | LengthScaleSummary, ...]:
    """Return a summary for each method, in the order in which they appear."""
    methods = dict.fromkeys(run.settings.method for run in runs)
    none = {run.seed: run.score for run in runs if run.settings.method == "none"}
    return tuple(
        _summary(method, [run for run in runs if run.settings.method == method], none)
        for method in methods
    )


def _summary(
    method: str, mine: list[Run], none: dict[int, float]
) -> MethodSummary | LengthScaleSummary:
    """Summarize the runs of a method; `none` has the scores without one, by seed."""
    score = interval([run.score for run in mine])
    tests = [run.test for run in mine]
    parts = tuple(map(interval, zip(*(test.components for test in tests), strict=True)))
    training = interval([run.epochs[-1].score for run in mine])
    gains = [run.score - none[run.seed] for run in mine if run.seed in none]
    compared = bool(gains) and method != "none"
    r2 = [test.r2 for test in tests if isinstance(test, LengthScaleScores)]
    if not r2:
        gain = interval(gains) if compared else None
        return MethodSummary(method, len(mine), score, parts, training, gain)
    gain = interval([-value for value in gains]) if compared else None
    return LengthScaleSummary(method, len(mine), score, interval(r2), parts, training, gain)


def write(runs: Sequence[Run], out: Path) -> dict[str, Any]:
    """Write ``epochs.csv`` (every epoch), ``runs.csv``, and ``results.json`` (all of it).

    Returns
    -------
    dict
        The summary as it stands in ``results.json``.
    """
    epochs = [
        {"method": run.settings.method, "seed": run.seed, **epoch.to_dict()}
        for run in runs
        for epoch in run.epochs
    ]
    tests = [
        {
            "method": run.settings.method,
            "seed": run.seed,
            **(
                {"accuracy": run.test.accuracy}
                if isinstance(run.test, Scores)
                else {"relative_error": run.test.relative_error, "r2": run.test.r2}
            ),
            **{f"component_{i}": value for i, value in enumerate(run.test.components, 1)},
            "loss": run.test.loss,
        }
        for run in runs
    ]
    out = given(out)
    for name, rows in (("epochs.csv", epochs), ("runs.csv", tests)):
        with (out / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    summary = [_plain(asdict(one)) for one in summarize(runs)]
    text = json.dumps({"summary": summary, "runs": [run.to_dict() for run in runs]}, indent=1)
    temporary = out / "results.json.new"
    temporary.write_text(text + "\n")
    os.replace(temporary, out / "results.json")  # noqa: PTH105
    return {"summary": summary}


def plot(runs: Sequence[Run], path: str | Path) -> None:
    """Draw each method's loss by epoch, and the test scores with lines between pairs.

    Raises
    ------
    MissingPackageError, UsageError, TargetError
        As `gpgen.plots.check_picture`, which tells before there are any runs.
    """
    check_picture(path)
    summaries = summarize(runs)
    figure = new_figure(9, 3.6, layout="constrained")
    left, right = figure.subplots(1, 2)
    by_method = {
        one.method: [r for r in runs if r.settings.method == one.method] for one in summaries
    }
    for method, mine in by_method.items():
        losses = np.array([[epoch.loss for epoch in run.epochs] for run in mine])
        left.plot(np.arange(1, losses.shape[1] + 1), losses.mean(0), label=method)
    left.set(xlabel="epoch", ylabel="training loss, mean over seeds", yscale="log")
    left.legend(frameon=False)
    seeds = sorted({run.seed for run in runs})
    for seed in seeds:
        pair = [run.score for mine in by_method.values() for run in mine if run.seed == seed]
        right.plot(range(len(pair)), pair, color="0.8", linewidth=1, marker="o", markersize=3)
    for position, one in enumerate(summaries):
        score = one.accuracy if isinstance(one, MethodSummary) else one.relative_error
        half = 0.0 if math.isnan(score.half_width) else score.half_width
        right.errorbar(position, score.mean, half, fmt="o", capsize=4)
    right.set_xticks(range(len(summaries)), [one.method for one in summaries])
    what = "accuracy" if isinstance(summaries[0], MethodSummary) else "relative error"
    right.set(ylabel=f"test {what}", xlim=(-0.5, len(summaries) - 0.5))
    save(figure, path, dpi=120)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Replace NaN, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
