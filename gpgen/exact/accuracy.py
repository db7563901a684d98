"""The proof that a texture is drawn exactly, computed from its factors."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gpgen.errors import RecipeError
from gpgen.exact.axis import FACTOR_BITS
from gpgen.exact.axis_product import grid_below
from gpgen.exact.field import Grid
from gpgen.exact.field_kinds import field_of
from gpgen.exact.normal import LARGEST
from gpgen.exact.texture import Choice, Texture, length_scale_name
from gpgen.exact.transformed_field import transformed

__all__ = ["Accuracy", "accuracy"]

_LARGEST_COVARIANCE_ERROR: Final = 1e-6

_MOST_ENTRIES: Final = 2**27
"""Of all factors together: 1 GB."""

_KEPT_A_POINT: Final = 3
"""Numbers that a convolution keeps for each point of its torus, roughly."""

_MOST_PAIRS: Final = 2**32
"""Pairs of pixels of an axis, of all factors together: about a minute."""

_SMALLEST_DEVIATION: Final = 1 / 64
"""Standardizing may enlarge a field, and the error of its factors, by no more than about 64."""


@dataclass(frozen=True)
class Accuracy:
    """How exactly textures are drawn, by computation.

    Parameters
    ----------
    covariance_error
        The largest absolute difference, over components, length-scales and pairs of pixels,
        between the covariance of what is drawn and the kernel.
    bits_used
        Bits that the largest possible partial sum takes; no more than 53 are exact.
    grid
        The spacing of the grid to which intermediate values are rounded.
    """

    covariance_error: float
    bits_used: float
    grid: float


@lru_cache(maxsize=64)
def accuracy(texture: Texture) -> Accuracy:
    """Compute how exactly a texture is drawn, and refuse one that can't be.

    Raises
    ------
    RecipeError
        If a length-scale doesn't fit on a periodic axis, or is so long that standardizing would
        turn the image into rounding noise.
    """
    _check_effort(texture)
    error = bound = 0.0
    grids = []
    for component in texture.components:
        gain = 0.0
        for choice in itertools.chain(*component.choices):
            field = transformed(field_of(texture, component.kernel, *choice), component.transform)
            deviation = 1.0
            if texture.standardize:
                deviation = field.relative_deviation
                if deviation < _SMALLEST_DEVIATION:
                    raise _too_smooth(texture, component.kernel, choice)
            error = max(error, field.covariance_error)
            if field.grid is None:
                gain = max(gain, field.gain / deviation)
            else:
                grids.append(field.grid)
        bound += component.all_weights[-1] * gain * LARGEST
    if error > _LARGEST_COVARIANCE_ERROR:
        raise RecipeError(
            f"the covariance would be wrong by {error:.1e}, more than 1e-6",
            "use other length-scales, and report this recipe as a bug",
        )
    if bound > 0:
        bits = int(grid_below(bound))
        grids.append(Grid(math.log2(bound) + bits + FACTOR_BITS, 2.0**-bits))
    return Accuracy(
        error, max(grid.bits_used for grid in grids), max(grid.spacing for grid in grids)
    )


def _check_effort(texture: Texture) -> None:
    """Refuse a recipe whose factors would fill the memory, or whose proof would take minutes.

    A recipe may come from a stranger, in a manifest of a few hundred bytes.
    """
    fields = {
        field_of(texture, component.kernel, *choice)
        for component in texture.components
        for choice in itertools.chain(*component.choices)
    }
    factors = {factor for field in fields for factor in field.factors}
    entries = sum(factor.entries_bound for factor in factors)
    entries += _KEPT_A_POINT * sum(field.torus_points for field in fields)
    pairs = sum(factor.pairs_to_prove for factor in factors)
    if entries > _MOST_ENTRIES or pairs > _MOST_PAIRS:
        raise RecipeError(
            f"its length-scales and axes are so many or so long that its factors would take "
            f"{8 * entries / 1e9:.1f} GB and their proof {pairs / 1e9:.1f} billion pairs of pixels",
            "use fewer length-scales or steps, none far longer than the image, or shorter axes",
        )


def _too_smooth(texture: Texture, kernel: str, choice: Choice) -> RecipeError:
    scale = choice.length_scale
    lengths = texture.per_axis(scale)
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        shorter = tuple(max(0.25, middle * x) for x in lengths)
        field = field_of(texture, kernel, *choice._replace(length_scale=shorter))
        if field.relative_deviation < _SMALLEST_DEVIATION:
            high = middle
        else:
            low = middle
    size = "x".join(map(str, texture.shape))
    return RecipeError(
        f"length-scale {length_scale_name(scale)} px is so long that an image of {size} px is "
        "almost constant, and standardizing would turn it into rounding noise",
        f"use at most {low * max(lengths):.3g} px, a larger size, or standardize = false",
    )
