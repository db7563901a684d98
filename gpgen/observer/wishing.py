"""Which length-scale would give the accuracy that somebody wishes for."""

from __future__ import annotations

import math
from typing import Any, Final

from scipy.stats import norm

from gpgen.errors import RecipeError, UsageError
from gpgen.exact.texture import LengthScale, Texture, length_scale_name
from gpgen.observer.judging import converged_observer, noise_variance
from gpgen.observer.result import Wished
from gpgen.recipe import Recipe

__all__ = ["check_target", "wished_length_scale"]

_FURTHEST: Final = 64.0
_CLOSE: Final = 0.004
_TRIES: Final = 8
_NEAREST: Final = 1 / 64


def check_target(texture: Texture, target: float) -> None:
    """Refuse an accuracy that chance reaches, or that is none."""
    fewest = min((c.choice_count for c in texture.components if c.choice_count > 1), default=2)
    if not 1 / fewest < target < 1:
        raise UsageError(
            f"target {target} is out of range",
            f"use more than {1 / fewest:.3g}, which is chance, and less than 1",
        )


def wished_length_scale(
    recipe: Recipe, number: int, target: float, noise: float, samples: int, seed: int
) -> Wished:
    """Find a length-scale in the place of a component's last one.

    It lies on the way from the nearest of the component's other length-scales to the last and
    beyond: first the distance between them is doubled or halved until it is enclosed, then
    divided, by a straight line between the accuracies' normal quantiles.

    Parameters
    ----------
    recipe
        The recipe.
    number
        The component's position, from 0.
    target
        The component's accuracy.
    noise, samples, seed
        As in `gpgen.difficulty`.

    Raises
    ------
    UsageError
        If none gives that accuracy.
    """
    component = recipe.components[number]
    *others, last = component.length_scales
    ours = recipe.per_axis(last)
    from_ = min(
        (recipe.texture.per_axis(each) for each in others),
        key=lambda each: sum(abs(math.log(a / b)) for a, b in zip(each, ours, strict=True)),
    )
    is_tuple = isinstance(last, tuple)

    def at(t: float) -> LengthScale:
        along = tuple(a * (b / a) ** t for a, b in zip(from_, ours, strict=True))
        return along if is_tuple else along[0]

    def accuracy(t: float) -> float | None:
        components: list[dict[str, Any]] = recipe.to_dict()["components"]
        components[number] = {**components[number], "length_scales": [*others, at(t)]}
        try:
            texture = recipe.replace(components=components).texture
        except RecipeError:
            return None
        observer, _ = converged_observer(texture, noise_variance(texture, noise), seed)
        estimate = observer.accuracies(*observer.simulate(samples, seed)).components[number]
        assert estimate is not None  # noqa: S101 - narrows the type
        return estimate.accuracy

    low = high = 1.0
    below = above = accuracy(1.0)
    assert below is not None and above is not None  # noqa: S101, PT018 - narrows the types
    while above < target:
        low, below, high = high, above, high * 2
        found = accuracy(high) if high <= _FURTHEST else None
        if found is None:
            # As far as can be drawn, within a tenth.
            found, high = _furthest(accuracy, low)
            if found < target:
                raise _out_of_reach(number, target, at(high), last, found)
        above = found
    while below >= target and low > _NEAREST:
        high, above, low = low, below, low / 2
        below = accuracy(low) or 1 / component.choice_count
    if below >= target:
        raise _out_of_reach(number, target, at(low), last, below)
    for _ in range(_TRIES):
        span = _quantile(above) - _quantile(below)
        share = (_quantile(target) - _quantile(below)) / span
        t = low + (high - low) * min(0.9, max(0.1, share))
        found = accuracy(t)
        if found is None or abs(found - target) <= _CLOSE / 4:
            break
        if found < target:
            low, below = t, found
        else:
            high, above = t, found
        if above - below <= _CLOSE:
            break
    return Wished(target, _rounded(at(t)), last)


def _furthest(accuracy: Any, low: float) -> tuple[float, float]:  # noqa: ANN401
    """Return the accuracy at the furthest t that can be drawn, and t."""
    best, found = low, accuracy(low)
    step = low
    for _ in range(4):
        step /= 2
        further = accuracy(best + step)
        if further is not None:
            best, found = best + step, further
    return found, best


def _quantile(accuracy: float) -> float:
    return float(norm.ppf(min(max(accuracy, 1e-4), 1 - 1e-4)))


def _rounded(scale: LengthScale) -> LengthScale:
    if isinstance(scale, tuple):
        return tuple(float(f"{each:.3g}") for each in scale)
    return float(f"{scale:.3g}")


def _out_of_reach(
    number: int, target: float, tried: LengthScale, last: LengthScale, found: float
) -> UsageError:
    return UsageError(
        f"component {number + 1}: target {target:g} is out of reach: with "
        f"{length_scale_name(_rounded(tried))} px in the place of {length_scale_name(last)} px "
        f"the accuracy is {found:.3f}",
        "choose another target, image size or weight",
    )
