"""Standard normal numbers that are the same on every machine.

NumPy guarantees the stream of a bit generator, but not that of
``Generator.standard_normal``. Here the raw 64-bit words of a Philox generator
become uniform numbers, and those normal ones through the inverse of the normal
distribution function, in correctly rounded operations only.
"""

from __future__ import annotations

import math
import threading
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.fixed_point import log, round_to_grid

__all__ = [
    "EXPONENTS",
    "LARGEST",
    "NORMAL_BITS",
    "OUTERMOST",
    "PART_BITS",
    "TABLE_ERROR",
    "computed_normal",
    "computed_short",
    "normal_quantile",
    "quantile_table",
    "random_words",
    "short_normal",
    "standard_normal",
]

Array = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]

NORMAL_BITS: Final = 20
"""Normal numbers are rounded to multiples of ``2**-NORMAL_BITS``."""

LARGEST: Final = 8.5
"""Above every normal number: the smallest uniform one is 2**-55, whose quantile is -8.37."""

# Rational approximations of the normal quantile, 7th degree over 7th, good to 1e-16; numerator
# and denominator, highest power first. From M. J. Wichura, Algorithm AS 241, "The percentage
# points of the normal distribution", Applied Statistics 37, 1988, pages 477 to 484.
_CENTRE: Final = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080),
    (5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
     5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0),
)  # fmt: skip
_TAIL: Final = (
    (7.74545014278341407640e-4, 0.0227238449892691845833, 0.241780725177450611770,
     1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550,
     4.63033784615654529590, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.148103976427480074590, 0.68976733498510000455, 1.67638483018380384940,
     2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR_TAIL: Final = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.00124266094738807843860,
     0.0265321895265761230930, 0.296560571828504891230, 1.78482653991729133580,
     5.46378491116411436990, 6.65790464350110377720),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 0.0148753612908506148525, 0.136929880922735805310,
     0.599832206555887937690, 1.0),
)  # fmt: skip


def random_words(seed: int, stream: int, count: int, start: int = 0) -> Words:
    """Return `count` 64-bit words of one of a sample's streams.

    Parameters
    ----------
    seed
        The sample's seed, an unsigned 64-bit number.
    stream
        Which stream; a component's is its position in the recipe.
    count
        How many words.
    start
        How many of the stream's words to leave out.

    Returns
    -------
    ndarray of uint64, shape (count,)
    """
    # Each count of Philox's counter makes four words.
    counter, skip = divmod(start, 4)
    _philox.state["state"]["key"][:] = seed, stream
    _philox.state["state"]["counter"][0] = counter
    _philox.generator.state = _philox.state
    words: Words = _philox.generator.random_raw(skip + count)
    return words[skip:]


class _Philox(threading.local):
    """A thread's generator. A new key costs 1 microsecond, a new generator 10 to 30."""

    def __init__(self) -> None:
        self.generator = np.random.Philox(key=0)
        self.state: Any = self.generator.state


_philox = _Philox()


def standard_normal(words: Words, bits: int = NORMAL_BITS) -> Array:
    """Turn random words into standard normal numbers, multiples of ``2**-bits``.

    The number of a word is `normal_quantile` of the word's place in (0, 1), rounded. A table finds
    nearly all of them; the few that it leaves in doubt are computed.

    Parameters
    ----------
    words
        uint64, any shape. The upper 53 bits of each are used.
    bits
        Bits after the binary point, at most `NORMAL_BITS`.

    Returns
    -------
    ndarray of float64, the shape of `words`
    """
    if words.size < _FEWEST:
        return computed_normal(words, bits)
    flat = words.reshape(-1)
    z = np.empty(flat.size)
    doubtful = [
        start + _look_up(part.view(np.int64) >> 11, 0, bits, z[start : start + _BLOCK])
        for start in range(0, flat.size, _BLOCK)
        for part in (flat[start : start + _BLOCK],)
    ]
    if doubtful:
        where = np.concatenate(doubtful)
        z[where] = computed_normal(flat[where], bits)
    return z.reshape(words.shape)


def short_normal(seed: int, stream: int, count: int, bits: int) -> Array:
    """Return standard normal numbers of half a word each, multiples of ``2**-bits``.

    The number of a half word h is the quantile of ``(h + 1/2) / 2**32``, rounded. The 2,048
    outermost h of each tail, one number in a million, take 22 more bits from another word of the
    stream, so that the tails are as fine as those of `standard_normal`, and end at 8.4.

    Parameters
    ----------
    seed, stream
        As in `random_words`.
    count
        How many.
    bits
        Bits after the binary point, at most `NORMAL_BITS`.

    Returns
    -------
    ndarray of float64, shape (count,)
    """
    words = random_words(seed, stream, -(-count // 2)).astype("<u8", copy=False)
    halves = words.view("<i4")[:count]
    z = np.empty(count)
    where = np.concatenate(
        [
            start + _look_up(halves[start : start + _BLOCK], 21, bits, z[start : start + _BLOCK])
            for start in range(0, count, _BLOCK)
        ]
    )
    seeds = np.full(len(where), seed, np.uint64)
    z[where] = computed_short(seeds, stream, where, halves[where], bits)
    return z


def computed_short(
    seeds: Words,
    stream: int,
    where: npt.NDArray[np.intp],
    halves: npt.NDArray[np.int32],
    bits: int,
) -> Array:
    """Return single numbers of `short_normal` without the table: the definition of those numbers.

    Parameters
    ----------
    seeds, where, halves
        Of each number: its sample's seed, its place in the stream, and its half word there.
    stream, bits
        As in `short_normal`.
    """
    x = -0.5 - halves
    v = np.abs(x) * 2.0**21
    for i in np.flatnonzero(np.abs(x) < OUTERMOST):
        (more,) = random_words(int(seeds[i]), stream, 1, _FURTHER_BITS + int(where[i]))
        v[i] += (float(more >> np.uint64(42)) + 0.5) / 2 - 2.0**20
    return round_to_grid(np.copysign(_lower_quantile(v), x), bits)


OUTERMOST: Final = 2048
"""Half words of each tail that take more bits."""

_FURTHER_BITS: Final = 2**62
"""Where in a stream those begin."""


def computed_normal(words: Words, bits: int = NORMAL_BITS) -> Array:
    """Return what `standard_normal` does, without its table: the definition of those numbers."""
    # The middle of one of 2**53 equal parts of (-1/2, 1/2): exact, symmetric, never at an end.
    q = (words >> np.uint64(11)).astype(np.float64)
    q -= 2.0**52
    q += 0.5
    q *= 2.0**-53
    z = normal_quantile(q)
    return round_to_grid(z, bits, out=z)


def normal_quantile(q: Array) -> Array:
    """Return the normal quantile of 1/2 + q.

    Parameters
    ----------
    q
        float64 in (-1/2, 1/2), any shape.

    Returns
    -------
    ndarray of float64, the shape of `q`
        To 1e-15, relative.
    """
    flat = q.reshape(-1)
    z = np.empty_like(flat)
    for start in range(0, flat.size, _RATIO_BLOCK):
        part = flat[start : start + _RATIO_BLOCK]
        centre = _ratio(_CENTRE, 0.180625 - part * part)
        np.multiply(part, centre, out=z[start : start + _RATIO_BLOCK])
    outer = np.flatnonzero(np.abs(flat) > 0.425)
    z[outer] = np.copysign(_tail_quantile(0.5 - np.abs(flat[outer])), flat[outer])
    return z.reshape(q.shape)


_RATIO_BLOCK: Final = 4096
"""Numbers at a time: three arrays of them stay in a core's first two caches."""


def _tail_quantile(tail: Array) -> Array:
    """Return the number that a normal one exceeds with a probability below 0.075."""
    r = np.sqrt(-log(tail))
    z = _ratio(_TAIL, r - 1.6)
    far = np.flatnonzero(r > 5.0)
    if len(far):
        z[far] = _ratio(_FAR_TAIL, r[far] - 5.0)
    return z


# The table: the lower tail's probability v / 2**53, v from 1/2 to 2**52, is divided at the powers
# of two, and between two of them into 2**PART_BITS equal parts: the upper bits of the float64 v
# are the number of its part. There the quantile is a parabola through three of its points.

PART_BITS: Final = 7
EXPONENTS: Final = range(-1, 52)

TABLE_ERROR: Final = 4e-9
"""Above the largest error of a parabola, 2.6e-9 (tests/test_normal.py). Where the quantile is
nearer than this to the middle between two neighbouring results, it is computed."""

_FEWEST: Final = 2500
"""Numbers from which on the table is faster: the few in doubt cost as much as thousands."""

_BLOCK: Final = 16384
"""Numbers at a time: the table and four arrays of them stay in a core's second cache."""


@cache
def quantile_table(shift: int = 0) -> tuple[Array, Array, Array]:
    """Return the coefficients of 1, v and v**2 in each part, for ``v / 2**(53 - shift)``."""
    exponent = np.repeat(np.array(EXPONENTS), 2**PART_BITS)
    part = np.tile(np.arange(2.0**PART_BITS), len(EXPONENTS))
    # The points at which the error of a parabola is smallest, as places in the part.
    low, middle, high = (
        np.ldexp(1 + (part + place) * 2.0**-PART_BITS, exponent)
        for place in (0.5 - math.sqrt(0.1875), 0.5, 0.5 + math.sqrt(0.1875))
    )
    z_low, z_middle, z_high = (_lower_quantile(v) for v in (low, middle, high))
    slope = (z_middle - z_low) / (middle - low)
    bend = ((z_high - z_middle) / (high - middle) - slope) / (high - low)
    return (
        z_low - low * (slope - bend * middle),
        (slope - bend * (low + middle)) * 2.0**shift,
        bend * 2.0 ** (2 * shift),
    )


def _lower_quantile(v: Array) -> Array:
    """Return the quantile of ``v / 2**53``, at most 1/2."""
    tail = v * 2.0**-53
    z = normal_quantile(np.maximum(tail, 0.075) - 0.5)
    outer = np.flatnonzero(tail < 0.075)
    z[outer] = -_tail_quantile(tail[outer])
    return z


def _look_up(
    whole: npt.NDArray[np.signedinteger[Any]], shift: int, bits: int, out: Array
) -> npt.NDArray[np.intp]:
    """Write normal numbers to out, and return which are to be computed.

    Parameters
    ----------
    whole
        Random integers of ``53 - shift`` bits: -1 - k stands for k counted from the upper end.
    shift, bits
        As for `quantile_table` and `standard_normal`.
    out
        float64, the shape of `whole`.
    """
    x = np.subtract(-0.5, whole)
    v = np.abs(x)
    part = v.view(np.int64) >> (52 - PART_BITS)
    part -= (1023 + EXPONENTS[0] - shift) << PART_BITS
    constant, linear, square = quantile_table(shift)
    # mode="clip", since NumPy otherwise copies what it writes to `out`. No index is clipped.
    z, term = square.take(part), np.empty_like(v)
    z *= v
    z += linear.take(part, out=term, mode="clip")
    z *= v
    z += constant.take(part, out=term, mode="clip")
    np.copysign(z, x, out=z)
    round_to_grid(z, bits, out=out)
    z -= out
    np.abs(z, out=z)
    doubtful = np.flatnonzero(z > 2.0 ** -(bits + 1) - TABLE_ERROR)
    if shift and v.min() < OUTERMOST:
        return np.concatenate([doubtful, np.flatnonzero(v < OUTERMOST)])
    return doubtful


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    numerator, denominator = (_polynomial(c, x) for c in coefficients)
    return np.divide(numerator, denominator, out=numerator)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    value = x * coefficients[0]
    value += coefficients[1]
    for c in coefficients[2:]:
        value *= x
        value += c
    return value
