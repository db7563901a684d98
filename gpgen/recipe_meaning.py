"""Textures that can't be meant: two classes that are one, a component lost in rounding.

This is asked of recipes that something is to be made from. A dataset that exists is read
whatever its recipe means (`gpgen.format.stored_recipe`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.exact.kernels import KERNELS
from gpgen.exact.texture import LengthScale, Texture, length_scale_name

__all__ = ["UnclearRecipeError", "check_grid", "check_meaning"]

_SAME: Final = 1e-6
"""Covariances are drawn to within this, so a smaller difference is none."""

_DISTANCES: Final = 64
"""At which covariances are compared, each a factor from the next; kernels are smooth."""

Part = tuple[str, tuple[int, ...]]


class UnclearRecipeError(RecipeError):
    """A recipe that could be drawn, but doesn't mean what it says."""


def check_meaning(texture: Texture) -> None:
    """Refuse weights that the dtype swallows, and two classes that are one distribution."""
    total = sum(component.weight for component in texture.components)
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
        if component.weight < least:
            raise UnclearRecipeError(
                f"component {number}: weight {component.weight:g} is lost in the rounding of "
                f"{where}, which swallows weights below {least:.1e} here",
                "use a larger weight, smaller ones beside it, or leave the component out",
            )


def _contents(texture: Texture) -> Iterator[frozenset[Any]]:
    """Yield what determines the distribution of each class, by label.

    Components are drawn independently, so it is their covariances and weights, in any order. If
    they are not standardized their sum is Gaussian, and equal covariances add up to one.
    """
    parts_of = _parts(texture)
    classes: list[list[tuple[Part, float]]] = []
    for label in range(texture.class_count):
        scales = texture.length_scales_of(label)
        parts = [
            (parts_of[component.kernel, scale], component.weight**2)
            for component, scale in zip(texture.components, scales, strict=True)
        ]
        if not texture.standardize:
            sums: dict[Part, float] = {}
            for part, variance in parts:
                sums[part] = sums.get(part, 0.0) + variance
            parts = list(sums.items())
        classes.append(parts)
    variances = np.unique([variance for parts in classes for _, variance in parts])
    number = _numbered(variances, np.log(variances)[:, None])
    for parts in classes:
        yield frozenset(Counter((part, number[variance]) for part, variance in parts).items())


def _parts(texture: Texture) -> dict[tuple[str, LengthScale], Part]:
    """Return each kernel and length-scale with what is equal where their covariances are."""
    scales = {(c.kernel, scale) for c in texture.components for scale in c.length_scales}
    numbers: dict[tuple[str, int], dict[float, int]] = {}
    for axis, pixels in enumerate(texture.shape):
        distances = np.unique(np.rint(np.geomspace(1, pixels - 1, _DISTANCES)))
        for kernel in {kernel for kernel, _ in scales}:
            lengths = np.unique([texture.per_axis(s)[axis] for k, s in scales if k == kernel])
            covariances = np.array([KERNELS[kernel](x).covariance(distances) for x in lengths])
            numbers[kernel, axis] = _numbered(lengths, covariances)
    return {
        (kernel, scale): (
            kernel,
            tuple(numbers[kernel, axis][x] for axis, x in enumerate(texture.per_axis(scale))),
        )
        for kernel, scale in scales
    }


def _numbered(values: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]) -> dict[float, int]:
    """Number ascending values, and those alike whose rows differ by no more than `_SAME`."""
    steps = np.abs(np.diff(rows, axis=0)).max(axis=1) > _SAME
    return dict(zip(values.tolist(), [0, *np.cumsum(steps).tolist()], strict=True))


def _one_distribution(texture: Texture, first: int, second: int) -> UnclearRecipeError:
    """Say which two labels are one class, and why."""
    choices = zip(texture.choices_of(first), texture.choices_of(second), strict=True)
    exchanged = [number for number, (ours, theirs) in enumerate(choices, start=1) if ours != theirs]
    if len(exchanged) == 1:
        where = exchanged[0] - 1
        ours, theirs = (
            length_scale_name(texture.length_scales_of(label)[where]) for label in (first, second)
        )
        what = f"length-scale {ours} px appears twice"
        if ours != theirs:
            what = f"length-scales {ours} and {theirs} px are one and the same to within {_SAME:g}"
        return UnclearRecipeError(
            f"component {where + 1}: {what}", "remove one: two classes would be the same"
        )
    names = texture.classes
    return UnclearRecipeError(
        f"labels {first} and {second}, classes {names[first]!r} and {names[second]!r}, are one "
        f"distribution: components {', '.join(map(str, exchanged))} can't be told apart in the sum",
        "give them different weights or length-scales",
    )
