"""Recipes that don't mean what they say: refused where nobody can mean it, else warned about.

This is asked of recipes that something is to be made from. A dataset that exists is read
whatever its recipe means (`gpgen.format.stored_recipe`).
"""

from __future__ import annotations

import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError, RecipeWarning
from gpgen.exact.kernels import KERNELS
from gpgen.recipe_checks import length_scale_name

if TYPE_CHECKING:
    from gpgen.recipe import LengthScale, Recipe

__all__ = ["UnclearRecipeError", "check_grid", "check_meaning", "recipe_warnings", "warn_about"]

_SAME: Final = 1e-6
"""Covariances are drawn to within this, so a smaller difference is none."""

_DISTANCES: Final = 64
"""At which covariances are compared, each a factor from the next; kernels are smooth."""

_MANY: Final = 2**40
"""Samples, after which no split is empty."""

_MOST_NAMES: Final = 3

Part = tuple[str, tuple[int, ...]]


class UnclearRecipeError(RecipeError):
    """A recipe that could be drawn, but doesn't mean what it says."""


def check_meaning(recipe: Recipe) -> None:
    """Refuse weights that the dtype swallows, and two classes that are one distribution."""
    total = sum(component.weight for component in recipe.components)
    limits = np.finfo(recipe.dtype)
    least = max(float(limits.eps) * total, float(limits.smallest_normal))
    _refuse_weights_below(least, recipe, f"{recipe.dtype} pixels")
    first: dict[frozenset[Any], int] = {}
    for label, content in enumerate(_contents(recipe)):
        if first.setdefault(content, label) != label:
            raise _one_distribution(recipe, first[content], label)


def check_grid(recipe: Recipe, grid: float) -> None:
    """Refuse weights that are lost where values are rounded to multiples of `grid`."""
    if recipe.algorithm == "exact":
        _refuse_weights_below(grid, recipe, "intermediate values")


def _refuse_weights_below(least: float, recipe: Recipe, where: str) -> None:
    for number, component in enumerate(recipe.components, start=1):
        if component.weight < least:
            raise UnclearRecipeError(
                f"component {number}: weight {component.weight:g} is lost in the rounding of "
                f"{where}, which swallows weights below {least:.1e} here",
                "use a larger weight, smaller ones beside it, or leave the component out",
            )


def _contents(recipe: Recipe) -> Iterator[frozenset[Any]]:
    """Yield what determines the distribution of each class, by label.

    Components are drawn independently, so it is their covariances and weights, in any order. If
    they are not standardized their sum is Gaussian, and equal covariances add up to one.
    """
    parts_of = _parts(recipe)
    classes: list[list[tuple[Part, float]]] = []
    for label in range(recipe.class_count):
        scales = recipe.length_scales_of(label)
        parts = [
            (parts_of[component.kernel, scale], component.weight**2)
            for component, scale in zip(recipe.components, scales, strict=True)
        ]
        if not recipe.standardize:
            sums: dict[Part, float] = {}
            for part, variance in parts:
                sums[part] = sums.get(part, 0.0) + variance
            parts = list(sums.items())
        classes.append(parts)
    variances = np.unique([variance for parts in classes for _, variance in parts])
    number = _numbered(variances, np.log(variances)[:, None])
    for parts in classes:
        yield frozenset(Counter((part, number[variance]) for part, variance in parts).items())


def _parts(recipe: Recipe) -> dict[tuple[str, LengthScale], Part]:
    """Return each kernel and length-scale with what is equal where their covariances are."""
    scales = {(c.kernel, scale) for c in recipe.components for scale in c.length_scales}
    numbers: dict[tuple[str, int], dict[float, int]] = {}
    for axis, pixels in enumerate(recipe.shape):
        distances = np.unique(np.rint(np.geomspace(1, pixels - 1, _DISTANCES)))
        for kernel in {kernel for kernel, _ in scales}:
            lengths = np.unique([recipe.per_axis(s)[axis] for k, s in scales if k == kernel])
            covariances = np.array([KERNELS[kernel](x).covariance(distances) for x in lengths])
            numbers[kernel, axis] = _numbered(lengths, covariances)
    return {
        (kernel, scale): (
            kernel,
            tuple(numbers[kernel, axis][x] for axis, x in enumerate(recipe.per_axis(scale))),
        )
        for kernel, scale in scales
    }


def _numbered(values: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]) -> dict[float, int]:
    """Number ascending values, and those alike whose rows differ by no more than `_SAME`."""
    steps = np.abs(np.diff(rows, axis=0)).max(axis=1) > _SAME
    return dict(zip(values.tolist(), [0, *np.cumsum(steps).tolist()], strict=True))


def _one_distribution(recipe: Recipe, first: int, second: int) -> UnclearRecipeError:
    """Say which two labels are one class, and why."""
    choices = zip(recipe.choices_of(first), recipe.choices_of(second), strict=True)
    exchanged = [number for number, (ours, theirs) in enumerate(choices, start=1) if ours != theirs]
    if len(exchanged) == 1:
        where = exchanged[0] - 1
        ours, theirs = (
            length_scale_name(recipe.length_scales_of(label)[where]) for label in (first, second)
        )
        what = f"length-scale {ours} px appears twice"
        if ours != theirs:
            what = f"length-scales {ours} and {theirs} px are one and the same to within {_SAME:g}"
        return UnclearRecipeError(
            f"component {where + 1}: {what}", "remove one: two classes would be the same"
        )
    names = recipe.classes
    return UnclearRecipeError(
        f"labels {first} and {second}, classes {names[first]!r} and {names[second]!r}, are one "
        f"distribution: components {', '.join(map(str, exchanged))} can't be told apart in the sum",
        "give them different weights or length-scales",
    )


def recipe_warnings(recipe: Recipe, n: int | None = None) -> tuple[str, ...]:
    """Return what is allowed and yet seldom meant.

    Parameters
    ----------
    recipe
        The recipe.
    n
        Number of samples, if it is known: a split may get none of them.
    """
    found = []
    if recipe.class_count == 1:
        found.append(f"there is one class only, {recipe.classes[0]!r}: nothing to classify")
    elif recipe.standardize and math.prod(recipe.shape) == 2:
        found.append("a standardized image of 2 pixels looks alike in every class")
    for number, component in enumerate(recipe.components, start=1):
        names = [
            length_scale_name(scale)
            for scale in component.length_scales
            if any(x > n for x, n in zip(recipe.per_axis(scale), recipe.shape, strict=True))
        ]
        if names:
            size = "x".join(map(str, recipe.shape))
            found.append(
                f"component {number}: length-scale {_some(names)} px is longer than the image of "
                f"{size} px"
            )
    if n is not None:
        n = min(n, _MANY)  # an endless dataset's n overflows
        empty = [repr(name) for name in recipe.splits if len(recipe.split(name, n)) == 0]
        if empty:
            found.append(f"split {_some(empty)} gets none of the {n} samples")
    return tuple(found)


def warn_about(recipe: Recipe, n: int | None = None) -> None:
    """Warn the caller outside of gpgen of what `recipe_warnings` finds.

    Called where somebody asks for a dataset, not where a worker draws it, so that no worker
    says it again.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals):
        level, frame = level + 1, frame.f_back
    for text in recipe_warnings(recipe, n):
        warnings.warn(f"recipe {recipe.name!r}: {text}", RecipeWarning, stacklevel=level)


def _is_ours(module: dict[str, Any]) -> bool:
    return str(module.get("__name__")).partition(".")[0] in ("gpgen", "backdrop")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
