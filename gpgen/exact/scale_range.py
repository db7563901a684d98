"""Length-scales drawn for each sample from a range: the numbers that can be drawn, and which.

A range stands for `steps` numbers, so that whatever can be drawn is proved when a recipe is
loaded (`gpgen.exact.accuracy`), and its factors are built once. Each is as likely as the others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.exact.fixed_point import exp, log
from gpgen.exact.normal import random_words

__all__ = ["DRAWS", "ScaleRange", "drawn_positions"]

DRAWS: Final = ("log-uniform", "uniform")

_DECIMALS: Final = 4
"""Length-scales between the ends are multiples of 0.0001 px, so that tables show them whole."""

_STREAM: Final = 2**32
"""Added to a component's position: the stream of a sample's words that its length-scale comes
from. No noise uses streams as high."""


class ScaleRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range that each sample's length-scale is drawn from.

    Parameters
    ----------
    low, high
        The ends, in pixels; both can be drawn.
    draw
        "log-uniform" (steps of equal ratio) or "uniform" (steps of equal size).
    steps
        How many different numbers can be drawn.
    """

    low: float
    high: float
    draw: str = "log-uniform"
    steps: int = 64

    @property
    def values(self) -> tuple[float, ...]:
        """All numbers that can be drawn, ascending, in pixels; the same on every machine."""
        return _values(self)


@lru_cache(maxsize=256)
def _values(scales: ScaleRange) -> tuple[float, ...]:
    low, high = scales.low, scales.high
    places = np.arange(scales.steps) / (scales.steps - 1)
    if scales.draw == "uniform":
        between = low + (high - low) * places
    else:
        between = low * exp(places * log(high / low))
    inner = [round(value, _DECIMALS) for value in between[1:-1].tolist()]
    return (low, *inner, high)


def drawn_positions(
    seeds: npt.NDArray[np.uint64], component: int, count: int
) -> npt.NDArray[np.int64]:
    """Return which of `count` numbers each sample has drawn.

    Parameters
    ----------
    seeds
        The samples' seeds, shape (samples,).
    component
        The component's position in the recipe.
    count
        How many there are, below 2**16.

    Returns
    -------
    ndarray of int64, shape (samples,)
        From 0 to count - 1, each with equal probability to within 2**-32.
    """
    words = [random_words(int(seed), _STREAM + component, 1)[0] for seed in seeds]
    upper = np.array(words, dtype=np.uint64) >> np.uint64(32)
    return np.asarray((upper * np.uint64(count)) >> np.uint64(32)).astype(np.int64)
