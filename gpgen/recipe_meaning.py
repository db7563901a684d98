"""Textures that can't be meant: two classes that are one, a component lost in rounding.

This is asked of recipes that something is to be made from. A dataset that exists is read
whatever its recipe means (`gpgen.format.stored_recipe`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.exact.drawn_range import DrawnRange
from gpgen.exact.field_kinds import scaled_kernel
from gpgen.exact.kernels import KERNELS, RBF
from gpgen.exact.stationary import SpectralKernel
from gpgen.exact.texture import Choice, Texture

__all__ = ["UnclearRecipeError", "check_grid", "check_meaning"]

_SAME: Final = 1e-6
"""Covariances are drawn to within this, so a smaller difference is none."""

_DISTANCES: Final = 64
"""At which covariances are compared, each a factor from the next; kernels are smooth."""

Array = npt.NDArray[np.float64]
Part = tuple[str, tuple[int, ...]]
Parts = tuple[str | Part | None, ...]
"""The transform, and the covariance; with drawn length-scales all of them, as likely each."""


class UnclearRecipeError(RecipeError):
    """A recipe that could be drawn, but doesn't mean what it says."""


def check_meaning(texture: Texture) -> None:
    """Refuse weights that the dtype swallows, and two classes that are one distribution."""
    total = sum(component.all_weights[-1] for component in texture.components)
    limits = np.finfo(texture.dtype)
    least = max(float(limits.eps) * total, float(limits.smallest_normal))
    _refuse_weights_below(least, texture, f"{texture.dtype} pixels")
    first: dict[frozenset[Any], int] = {}
    for label, content in enumerate(_contents(texture)):
        if first.setdefault(content, label) != label:
            raise _one_distribution(texture, first[content], label)


def check_grid(texture: Texture, grid: float) -> None:
    """Refuse weights that are lost where values are rounded to multiples of `grid`."""
    if texture.algorithm == "exact":
        _refuse_weights_below(grid, texture, "intermediate values")


def _refuse_weights_below(least: float, texture: Texture, where: str) -> None:
    for number, component in enumerate(texture.components, start=1):
        weight = component.all_weights[0]
        if weight < least:
            raise UnclearRecipeError(
                f"component {number}: weight {weight:g} is lost in the rounding of "
                f"{where}, which swallows weights below {least:.1e} here",
                "use a larger weight, smaller ones beside it, or leave the component out",
            )


def _contents(texture: Texture) -> Iterator[frozenset[Any]]:
    """Yield what determines the distribution of each class, by label.

    Components are drawn independently, so it is their covariances and weights, in any order. If
    they are not standardized their sum is Gaussian, and equal covariances add up to one.
    """
    parts_of = _parts(texture)
    classes: list[list[tuple[Parts, float | DrawnRange]]] = []
    for label in range(texture.class_count):
        parts = [
            (
                (component.transform, *(parts_of[component.kernel, c] for c in alternatives)),
                component.weight if component.draws_weight else component.rms_weight**2,
            )
            for component, alternatives in zip(
                texture.components, texture.chosen(label), strict=True
            )
        ]
        if not texture.standardize:
            sums: dict[Parts, float] = {}
            others: list[tuple[Parts, float | DrawnRange]] = []
            for part, variance in parts:
                if _is_gaussian(part) and isinstance(variance, float):
                    sums[part] = sums.get(part, 0.0) + variance
                else:
                    others.append((part, variance))
            parts = [*sums.items(), *others]
        classes.append(parts)
    found = {variance for parts in classes for _, variance in parts}
    variances = np.array(sorted(v for v in found if isinstance(v, float)))
    number = _numbered(variances, np.log(variances)[:, None])
    for parts in classes:
        yield frozenset(
            Counter(
                (part, number[variance] if isinstance(variance, float) else variance)
                for part, variance in parts
            ).items()
        )


def _is_gaussian(part: Parts) -> bool:
    return part[0] is None and len(part) == 2


def _parts(texture: Texture) -> dict[tuple[str, Choice], Part]:
    """Return each kernel and choice with what is equal where their covariances are."""
    choices = {
        (c.kernel, choice)
        for c in texture.components
        for choice in itertools.chain.from_iterable(c.choices)
    }
    kernels = {c: scaled_kernel(texture, c[0], *c[1]) for c in choices}
    separate = [c for c in choices if c[0] in KERNELS and not kernels[c].is_rotated]
    parts: dict[tuple[str, Choice], Part] = {}
    numbers = []
    for axis, pixels in enumerate(texture.shape):
        distances = np.unique(np.rint(np.geomspace(1, pixels - 1, _DISTANCES)))
        lengths = np.unique([kernels[c].lengths[axis] for c in separate])
        covariances = np.array([RBF(x).covariance(distances) for x in lengths])
        numbers.append(_numbered(lengths, covariances))
    for c in separate:
        parts[c] = ("rbf", tuple(numbers[axis][x] for axis, x in enumerate(kernels[c].lengths)))
    places = _places(texture.shape)
    found: list[Array] = []
    for c in sorted(choices - set(separate)):
        family = kernels[c].family
        if isinstance(family, SpectralKernel):  # its covariance is known on a torus only
            parts[c] = (repr(kernels[c]), ())
            continue
        row = family.covariance(kernels[c].norm(places))
        same = [k for k, other in enumerate(found) if np.abs(row - other).max() <= _SAME]
        parts[c] = ("convolved", (same[0] if same else len(found),))
        if not same:
            found.append(row)
    return parts


def _places(shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Return points whose distances from 0 tell covariances apart: along axes and between."""
    rng = np.random.default_rng(1)
    directions = np.array(list(itertools.product((-1, 0, 1), repeat=len(shape))))
    along = np.geomspace(1, max(shape) - 1, _DISTANCES)[:, None, None] * directions
    between = rng.uniform(-1, 1, (_DISTANCES, len(shape))) * (np.array(shape) - 1)
    points = np.concatenate([along.reshape(-1, len(shape)), between])
    return tuple(np.rint(points).T)


def _numbered(values: Array, rows: Array) -> dict[float, int]:
    """Number ascending values, and those alike whose rows differ by no more than `_SAME`."""
    if not len(values):
        return {}
    steps = np.abs(np.diff(rows, axis=0)).max(axis=1) > _SAME
    return dict(zip(values.tolist(), [0, *np.cumsum(steps).tolist()], strict=True))


def _one_distribution(texture: Texture, first: int, second: int) -> UnclearRecipeError:
    """Say which two labels are one class, and why."""
    choices = zip(texture.choices_of(first), texture.choices_of(second), strict=True)
    exchanged = [number for number, (ours, theirs) in enumerate(choices, start=1) if ours != theirs]
    if len(exchanged) == 1:
        where = exchanged[0] - 1
        component = texture.components[where]
        ours, theirs = (
            component.name_of(texture.chosen(label)[where]) for label in (first, second)
        )
        what = f"length-scale {ours} px appears twice"
        if ours != theirs:
            what = f"length-scales {ours} and {theirs} px are one and the same to within {_SAME:g}"
        if component.offers:
            what = f"choices {ours} and {theirs} are one and the same to within {_SAME:g}"
        return UnclearRecipeError(
            f"component {where + 1}: {what}", "remove one: two classes would be the same"
        )
    names = texture.classes
    return UnclearRecipeError(
        f"labels {first} and {second}, classes {names[first]!r} and {names[second]!r}, are one "
        f"distribution: components {', '.join(map(str, exchanged))} can't be told apart in the sum",
        "give them different weights or length-scales",
    )
