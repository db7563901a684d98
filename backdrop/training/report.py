"""What the runs say together: means, intervals, files."""

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
from gpgen.io.user_paths import given
from gpgen.observer import Difficulty, Estimate

__all__ = [
    "IDEAL",
    "Interval",
    "LengthScaleSummary",
    "MethodSummary",
    "Summary",
    "interval",
    "of_ideal",
    "summarize",
    "write",
]

_NORMAL = 1.96
IDEAL = "ideal observer"
"""What tables and pictures call it."""


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval (NaN for a single value)."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        if math.isnan(self.half_width):
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {self.half_width:.3f}"

    @property
    def within_0_and_1(self) -> tuple[float, float]:
        """The ends of an interval of a share; the mean itself for a single value."""
        half = 0.0 if math.isnan(self.half_width) else self.half_width
        return max(0.0, self.mean - half), min(1.0, self.mean + half)


@dataclass(frozen=True)
class MethodSummary:
    """One method with one number of training images, over its seeds.

    Attributes
    ----------
    method
        Its name.
    train_size
        Training images.
    n
        Number of seeds.
    accuracy, components
        On the test images: whole, and of each component.
    training_accuracy
        In the last epoch.
    gain
        Accuracy above that of the method ``none`` with the same seed; None
        where that was not run.
    seconds
        The processor's time for the training of one run, mean; NaN where it isn't known.
    """

    method: str
    train_size: int
    n: int
    accuracy: Interval
    components: tuple[Interval, ...]
    training_accuracy: Interval
    gain: Interval | None
    seconds: float

    @property
    def score(self) -> Interval:
        """The accuracy."""
        return self.accuracy


@dataclass(frozen=True)
class LengthScaleSummary:
    """One method that learned length-scales, over its seeds.

    Attributes
    ----------
    method
        Its name.
    train_size
        Training images.
    n
        Number of seeds.
    relative_error, r2, components
        On the test images, as `backdrop.evaluation.LengthScaleScores` has them.
    training_error
        Relative error in the last epoch.
    gain
        Relative error below that of the method ``none`` with the same seed; None where that was
        not run.
    seconds
        As for `MethodSummary`.
    """

    method: str
    train_size: int
    n: int
    relative_error: Interval
    r2: Interval
    components: tuple[Interval, ...]
    training_error: Interval
    gain: Interval | None
    seconds: float

    @property
    def score(self) -> Interval:
        """The relative error."""
        return self.relative_error


Summary = MethodSummary | LengthScaleSummary


def interval(values: Sequence[float]) -> Interval:
    """Return the mean and Student's 95 % interval of independent values."""
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n < 2:
        return Interval(float(array.mean()), math.nan)
    error = float(array.std(ddof=1)) / math.sqrt(n)
    return Interval(float(array.mean()), float(stdtrit(n - 1, 0.975)) * error)


def of_ideal(estimate: Estimate | None) -> Interval:
    """Return the ideal observer's accuracy and its 95 % interval; 1 where there is no choice."""
    if estimate is None:
        return Interval(1.0, 0.0)
    return Interval(estimate.accuracy, _NORMAL * estimate.error)


def summarize(runs: Sequence[Run]) -> tuple[Summary, ...]:
    """Return a summary for each method and number of images, in the order in which they appear."""
    found: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        found.setdefault((run.settings.method, run.settings.train_size), []).append(run)
    return tuple(
        _summary(mine, {} if method == "none" else _scores_by_seed(found.get(("none", size), ())))
        for (method, size), mine in found.items()
    )


def _scores_by_seed(runs: Sequence[Run]) -> dict[int, float]:
    return {run.seed: run.score for run in runs}


def _summary(mine: list[Run], none: dict[int, float]) -> Summary:
    """Summarize the runs of a method; `none` has the scores without one, by seed."""
    tests, settings = [run.test for run in mine], mine[0].settings
    r2 = [test.r2 for test in tests if isinstance(test, LengthScaleScores)]
    better = -1.0 if r2 else 1.0  # errors are better if they are smaller
    gains = [better * (run.score - none[run.seed]) for run in mine if run.seed in none]
    common: dict[str, Any] = {
        "method": settings.method,
        "train_size": settings.train_size,
        "n": len(mine),
        "components": tuple(map(interval, zip(*(test.components for test in tests), strict=True))),
        "gain": interval(gains) if gains else None,
        "seconds": float(np.mean([run.seconds for run in mine])),
    }
    score = interval([run.score for run in mine])
    training = interval([run.epochs[-1].score for run in mine])
    if r2:
        return LengthScaleSummary(
            relative_error=score, r2=interval(r2), training_error=training, **common
        )
    return MethodSummary(accuracy=score, training_accuracy=training, **common)


def write(runs: Sequence[Run], out: Path, ideal: Difficulty | None = None) -> dict[str, Any]:
    """Write what came out, as files.

    ``epochs.csv`` has every epoch, ``runs.csv`` every run, ``table.md`` a line for each method and
    number of training images, and ``results.json`` all of it.

    Parameters
    ----------
    runs
        All of them.
    out
        The folder.
    ideal
        What is possible, if that is known: the table's last line.

    Returns
    -------
    dict
        The summary, and the ideal observer, as they stand in ``results.json``.
    """
    epochs = [
        {
            "method": run.settings.method,
            "train_size": run.settings.train_size,
            "seed": run.seed,
            **epoch.to_dict(),
        }
        for run in runs
        for epoch in run.epochs
    ]
    tests = [
        {
            "method": run.settings.method,
            "train_size": run.settings.train_size,
            "seed": run.seed,
            **(
                {"accuracy": run.test.accuracy}
                if isinstance(run.test, Scores)
                else {"relative_error": run.test.relative_error, "r2": run.test.r2}
            ),
            **{f"component_{i}": value for i, value in enumerate(run.test.components, 1)},
            "loss": run.test.loss,
            "seconds": run.seconds,
        }
        for run in runs
    ]
    out = given(out)
    for name, rows in (("epochs.csv", epochs), ("runs.csv", tests)):
        with (out / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    summaries = summarize(runs)
    (out / "table.md").write_text(_markdown(summaries, ideal), encoding="utf-8")
    written: dict[str, Any] = {
        "summary": [_plain(asdict(one)) for one in summaries],
        "ideal": None if ideal is None else ideal.to_dict(),
    }
    text = json.dumps({**written, "runs": [run.to_dict() for run in runs]}, indent=1)
    temporary = out / "results.json.new"
    temporary.write_text(text + "\n")
    os.replace(temporary, out / "results.json")  # noqa: PTH105
    return written


def _markdown(summaries: Sequence[Summary], ideal: Difficulty | None) -> str:
    count = len(summaries[0].components)
    parts = [f"component {number}" for number in range(1, count + 1)]
    score = "accuracy" if isinstance(summaries[0], MethodSummary) else "relative error"
    rows = [["images", "method", score, *parts, "training, s", "seeds"], ["---"] * (count + 5)]
    for one in summaries:
        time = "" if math.isnan(one.seconds) else f"{one.seconds:.2g}"
        results = map(str, (one.score, *one.components))
        rows.append([f"{one.train_size:,}", one.method, *results, time, str(one.n)])
    if ideal is not None:
        estimates = (ideal.estimate, *(each.estimate for each in ideal.components))
        rows.append(["", IDEAL, *map(str, map(of_ideal, estimates)), "", ""])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Replace NaN, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
