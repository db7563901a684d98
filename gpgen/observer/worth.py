"""Whether a recipe makes a benchmark: classes that can be told apart, and not by a trifle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from gpgen.exact.blas import one_blas_thread
from gpgen.observer.estimating import NOISE
from gpgen.observer.inverting import beneath
from gpgen.observer.judging import converged_observer, noise_variance
from gpgen.observer.known import TAKES_LONG, known_summary, reason_for_none, takes_long
from gpgen.observer.ridge import RadialPower, Ridge
from gpgen.observer.summary import DifficultySummary
from gpgen.progress import Follow, Progress, following
from gpgen.recipe import Component, Recipe
from gpgen.sampling import sampler_for

__all__ = ["Worth", "worth_of"]

Array = npt.NDArray[np.float64]

ALIKE: Final = 0.55
"""Two choices told apart more rarely than this are alike to everybody."""

TRAINED: Final = 20
"""Images by which a ridge regression learns a trivial benchmark."""

_FIRST, _SECOND = 400, 1000
"""Images simulated at first, and again where two choices may be alike."""

_DOUBTFUL: Final = 0.65

_TESTED: Final = (40, 200)
_TESTED_PIXELS: Final = 2**26
_BATCH: Final = 10


@dataclass(frozen=True)
class Worth:
    """What was found out in some seconds.

    Parameters
    ----------
    warnings
        What is wrong with the benchmark, each in one line.
    unknown
        Why it wasn't looked at, in one line; empty if it was.
    """

    warnings: tuple[str, ...] = ()
    unknown: str = ""


def worth_of(recipe: Recipe, *, progress: Follow = None) -> Worth:
    """Look for classes that can hardly be told apart, and for a benchmark that is trivial.

    Two choices of a component are compared by the ideal observer, the other components unknown:
    below 0.55 they are alike. Trivial is what a ridge regression on the logarithm of the radial
    power spectrum learns from 20 images, with no mistake in 40 to 200 others. It takes some
    seconds; recipes for which it would take longer are left alone.

    Parameters
    ----------
    recipe
        The recipe.
    progress
        As for `gpgen.difficulty`.
    """
    known = known_summary(recipe)
    if reason := reason_for_none(recipe):
        return Worth(unknown=reason)
    if takes_long(recipe):
        return Worth(unknown=TAKES_LONG)
    with following(progress) as tell, one_blas_thread():
        tell(Progress(0, 2, "estimate"))
        warnings = [] if known is not None and _all_differ(known) else list(_alike(beneath(recipe)))
        tell(Progress(1, 2, "estimate"))
        warnings += _trivial(recipe)
        tell(Progress(2, 2, "estimate"))
    return Worth(tuple(warnings))


def _all_differ(known: DifficultySummary) -> bool:
    """Return whether every component's accuracy is too high for any two choices to be alike."""
    return all(
        each.accuracy is None or each.accuracy > 1 - (1 - ALIKE) * 2 / len(each.choices)
        for each in known.components
    )


def _alike(recipe: Recipe) -> Iterator[str]:
    texture = recipe.texture
    observer, converged = converged_observer(
        texture, noise_variance(texture, NOISE), 0, pilot=_FIRST
    )
    pairs = _pairs(recipe, *observer.simulate(_FIRST, 0))
    if any(accuracy < _DOUBTFUL for *_, accuracy in pairs):
        pairs = _pairs(recipe, *observer.simulate(_SECOND, 0))
    for number, a, b, accuracy in pairs:
        if accuracy < ALIKE and converged:
            names = (
                f"{_name(texture.components[number], a)} and {_name(texture.components[number], b)}"
            )
            yield (
                f"component {number + 1}: {names} px can hardly be told apart: the ideal observer "
                f"is right in {accuracy:.2f} of such images"
            )


def _name(component: Component, choice: int) -> str:
    return component.name_of(component.choices[choice])


def _pairs(
    recipe: Recipe, log_likelihoods: Array, labels: npt.NDArray[np.int64]
) -> list[tuple[int, int, int, float]]:
    """Return each component's pairs of choices, and how often they are told apart."""
    texture = recipe.texture
    choices = np.array([texture.choices_of(label) for label in range(texture.class_count)])
    found = []
    for number, component in enumerate(texture.components):
        of_class = choices[:, number]
        truth = of_class[labels]
        scores = [
            logsumexp(log_likelihoods[of_class == k], axis=0) for k in range(component.choice_count)
        ]
        for a, b in itertools.combinations(range(component.choice_count), 2):
            says = np.where(scores[a] >= scores[b], a, b)
            mine = (truth == a) | (truth == b)
            found.append((number, a, b, float((says == truth)[mine].mean())))
    return found


def _trivial(recipe: Recipe) -> list[str]:
    classes, pixels = recipe.class_count, math.prod(recipe.shape)
    if classes > TRAINED:
        return []
    low, high = _TESTED
    tested = min(high, max(low, _TESTED_PIXELS // pixels))
    periodic = tuple(each == "periodic" for each in recipe.texture.boundaries)
    features = RadialPower(recipe.shape, periodic)
    sampler = sampler_for(recipe)

    def of(start: int, stop: int) -> tuple[Array, npt.NDArray[np.int64]]:
        numbers = range(start, min(stop, TRAINED + tested))
        rows = [features(sampler.images_at(np.array([k]))) for k in numbers]
        return np.concatenate(rows), np.array(numbers) % classes

    ridge = Ridge.fit(*of(0, TRAINED), classes)
    for start in range(TRAINED, TRAINED + tested, _BATCH):
        rows, labels = of(start, start + _BATCH)
        if (ridge.predict(rows) != labels).any():
            return []
    what = "a ridge regression on the log power spectrum"
    return [f"trivial: {what} of {TRAINED} images names the class of {tested} others right"]
