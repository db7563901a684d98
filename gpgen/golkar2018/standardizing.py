"""Mean 0 and deviation 1 over an image's pixels, the same bytes on every machine."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError

__all__ = ["standardized"]

Array = npt.NDArray[np.float64]

_NEARLY_EQUAL: Final = 2.0**-20
"""Differences between pixels, as a part of the pixels, that rounding of their mean would touch."""


def standardized(image: Array) -> Array:
    """Shift and scale an image, in place, to mean 0 and standard deviation 1 over its pixels.

    Parameters
    ----------
    image
        float64, any shape; overwritten.

    Returns
    -------
    ndarray
        `image` itself.

    Raises
    ------
    UsageError
        If its pixels are all equal, or not all finite.
    """
    lowest, highest = float(image.min()), float(image.max())
    if not -math.inf < lowest < highest < math.inf:
        raise UsageError(
            f"an image of pixels from {lowest:g} to {highest:g} can't be standardized",
            "give one whose pixels are finite and not all equal",
        )
    if highest - lowest < _NEARLY_EQUAL * abs(lowest):
        image -= lowest  # exact, where the mean of large numbers would not be
    image -= _sum_in_order(image) / image.size
    deviation = np.sqrt(_sum_in_order(image * image) / image.size)
    image /= deviation
    return image


def _sum_in_order(values: Array) -> float:
    """Sum by folding in halves, in an order that depends on the number of values alone."""
    values = values.reshape(-1)
    while values.size > 1:
        half = values.size // 2
        folded = values[:half] + values[half : 2 * half]
        if values.size % 2:
            folded[0] += values[-1]
        values = folded
    return float(values[0])
