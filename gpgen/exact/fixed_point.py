"""Arithmetic whose result can't depend on the machine.

Floating-point addition depends on its order, so two BLAS libraries, or two
CPUs with one, disagree in the last bits. Where every number is a multiple of
one power of two and every partial sum stays below 2**53 of them, each addition
is exact and no order can matter. `round_to_grid` puts numbers on such a grid,
and `fraction_bits` tells how fine the grid may be.

Elementwise ``+ - * /`` and ``sqrt`` are correctly rounded by IEEE 754 wherever
NumPy runs; `exp` and `log` are not, so they are built here from the former.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNIFICAND_BITS", "exp", "fraction_bits", "log", "round_to_grid"]

SIGNIFICAND_BITS: Final = 53

Array = npt.NDArray[np.float64]

# ln 2 in two parts; the first has 32 significant bits, so that its product with
# an exponent (at most 11 bits) is exact.
_LN2_HIGH: Final = float.fromhex("0x1.62e42feep-1")
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")


def fraction_bits(bound: float) -> int:
    """Bits after the binary point of the finest grid on which sums below `bound` are exact.

    Parameters
    ----------
    bound
        An upper bound of the absolute value of every partial sum.

    Returns
    -------
    int
        The largest ``b`` such that every multiple of ``2**-b`` up to `bound` is a float64.
    """
    return SIGNIFICAND_BITS - math.frexp(bound)[1]


def round_to_grid(x: Array, bits: int | npt.NDArray[np.int64], out: Array | None = None) -> Array:
    """Round to the nearest multiple of ``2**-bits``, ties to even.

    Parameters
    ----------
    x
        float64 values, each below ``2**(51 - bits)`` in absolute value: NumPy's or, unless `out`
        is given, another library's.
    bits
        The grid; an array broadcasts against `x`.
    out
        Where to write; may be `x` itself.

    Returns
    -------
    array
        float64, the shape of `x`.
    """
    # Adding a number whose unit in the last place is the grid's spacing rounds to the grid.
    shifter = np.ldexp(1.5, 52 - np.asarray(bits))
    shifted: Array = x + shifter if out is None else np.add(x, shifter, out=out)
    shifted -= shifter
    return shifted


def exp(x: npt.ArrayLike) -> Array:
    """Return e**x to 2 units in the last place, bit for bit the same everywhere.

    Parameters
    ----------
    x
        float64 values in [-700, 700].
    """
    x = np.asarray(x, dtype=np.float64)
    exponent = np.rint(x / (_LN2_HIGH + _LN2_LOW))
    r = (x - exponent * _LN2_HIGH) - exponent * _LN2_LOW
    # |r| <= ln(2)/2, where thirteen terms of the Taylor series leave 2e-17.
    series = np.full_like(r, 1 / math.factorial(13))
    for n in range(12, -1, -1):
        series = series * r + 1 / math.factorial(n)
    value: Array = np.ldexp(series, exponent.astype(np.int64))
    return value


def log(x: npt.ArrayLike) -> Array:
    """Return the natural logarithm to 2 units in the last place, the same everywhere.

    Parameters
    ----------
    x
        Positive float64 values.
    """
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    low = mantissa < math.sqrt(0.5)
    mantissa = np.where(low, 2 * mantissa, mantissa)
    exponent = exponent - low
    # log m = 2 artanh(s), with |s| <= 3 - 2 sqrt(2): the terms beyond s**21 are below 1e-17.
    s = (mantissa - 1) / (mantissa + 1)
    s2 = s * s
    series = np.full_like(s, 1 / 21)
    for n in range(19, 0, -2):
        series = series * s2 + 1 / n
    value: Array = exponent * _LN2_HIGH + (2 * s * series + exponent * _LN2_LOW)
    return value
