"""Length-scales and weights drawn for each sample from a range: which numbers, and which of them.

A range stands for `steps` numbers, so that whatever can be drawn is proved when a recipe is
loaded (`gpgen.exact.accuracy`), and its factors are built once. Each is as likely as the others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.exact.field_types import convert_fields
from gpgen.exact.fixed_point import exp, log
from gpgen.exact.normal import random_words

__all__ = ["DRAWS", "LENGTH_SCALES", "WEIGHTS", "DrawnRange", "drawn_positions"]

DRAWS: Final = ("log-uniform", "uniform")

_DECIMALS: Final = 4
"""Numbers between the ends are multiples of 0.0001, so that tables show them whole."""

LENGTH_SCALES: Final = 2**32
WEIGHTS: Final = 2**33
"""Added to a component's position: the stream of a sample's words that its length-scale, or its
weight, comes from. No noise uses streams as high."""


class DrawnRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range that each sample's length-scale or weight is drawn from.

    Parameters
    ----------
    low, high
        The ends, of a length-scale in pixels; both can be drawn.
    draw
        "log-uniform" (steps of equal ratio) or "uniform" (steps of equal size).
    steps
        How many different numbers can be drawn.
    """

    low: float
    high: float
    draw: str = "log-uniform"
    steps: int = 64

    def __post_init__(self) -> None:
        convert_fields(self)

    @property
    def values(self) -> tuple[float, ...]:
        """All numbers that can be drawn, ascending; the same on every machine."""
        return _values(self)


@lru_cache(maxsize=256)
def _values(numbers: DrawnRange) -> tuple[float, ...]:
    low, high = numbers.low, numbers.high
    places = np.arange(numbers.steps) / (numbers.steps - 1)
    if numbers.draw == "uniform":
        between = low + (high - low) * places
    else:
        between = low * exp(places * log(high / low))
    inner = [round(value, _DECIMALS) for value in between[1:-1].tolist()]
    return (low, *inner, high)


def drawn_positions(
    seeds: npt.NDArray[np.uint64], stream: int, count: int
) -> npt.NDArray[np.int64]:
    """Return which of `count` numbers each sample has drawn.

    Parameters
    ----------
    seeds
        The samples' seeds, shape (samples,).
    stream
        `LENGTH_SCALES` or `WEIGHTS`, plus the component's position in the recipe.
    count
        How many there are, below 2**16.

    Returns
    -------
    ndarray of int64, shape (samples,)
        From 0 to count - 1, each with equal probability to within 2**-32.
    """
    words = [random_words(int(seed), stream, 1)[0] for seed in seeds]
    upper = np.array(words, dtype=np.uint64) >> np.uint64(32)
    return np.asarray((upper * np.uint64(count)) >> np.uint64(32)).astype(np.int64)
