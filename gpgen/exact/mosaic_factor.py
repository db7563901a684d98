"""Axis factors of the 2018 generator, and products with them that are exact.

A realization on a grid is ``A Z A^T`` with Z standard normal, where A takes a
factor of the one-dimensional covariance through the spline and the envelope.
All three are computed elementwise in a fixed order, then rounded to a grid of
powers of two on which the products have no rounding error (`gpgen.exact.fixed_point`),
so that neither the processor nor the BLAS shows in the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError
from gpgen.exact.fixed_point import exp, fraction_bits, round_to_grid

__all__ = ["GridMatrix", "covariance_factor", "sandwich", "squared_exponential"]

Array = npt.NDArray[np.float64]

FACTOR_BITS: Final = 25
"""Factors are multiples of 2**-25, which moves a covariance by 3e-8 times a row's sum."""

RESIDUAL: Final = 1e-8
"""The largest variance that the factor of a covariance leaves out."""

_LEAST_BITS: Final = 12
"""Bits after the binary point that the first product keeps at least; fewer would show in pixels."""


def squared_exponential(size: int, length_scale: float) -> Array:
    """Return the covariance matrix of `size` equally spaced points on [0, 1].

    The kernel is ``exp(-r^2 / (2 s^2))`` with ``s = length_scale / size``, and the
    points are ``size`` from 0 to 1 inclusive, as in the 2018 program: the length-scale
    between them is ``length_scale (size - 1) / size`` spacings.

    Parameters
    ----------
    size
        Points.
    length_scale
        In units of 1/size.

    Returns
    -------
    ndarray of float64, shape (size, size)
    """
    steps = np.arange(size, dtype=np.float64)
    distance = (steps[:, None] - steps) * (size / ((size - 1) * length_scale))
    return exp(np.maximum(-0.5 * distance * distance, -700.0))


def covariance_factor(size: int, length_scale: float) -> Array:
    """Factor `squared_exponential` as F F^T.

    F is the Cholesky factor with complete pivoting, ended when no point's variance is
    wanting by more than `RESIDUAL`; what is left out being positive semi-definite, no
    covariance is off by more either.

    Parameters
    ----------
    size, length_scale
        As for `squared_exponential`.

    Returns
    -------
    ndarray of float64, shape (size, rank)
    """
    rest = squared_exponential(size, length_scale)
    columns: list[Array] = []
    while len(columns) < size:
        variances = rest.diagonal()
        pivot = int(np.argmax(variances))
        if variances[pivot] <= RESIDUAL:
            break
        column = rest[:, pivot] / np.sqrt(variances[pivot])
        columns.append(column)
        rest = rest - column[:, None] * column
    return np.stack(columns, axis=1)


@dataclass(frozen=True, eq=False)
class GridMatrix:
    """A matrix on a grid of powers of two.

    Attributes
    ----------
    matrix
        float64 of shape (points, rank), multiples of ``2**-bits``.
    bits
        Bits after the binary point.
    row_sum
        The largest sum of absolute values in a row.
    """

    matrix: Array
    bits: int
    row_sum: float

    @classmethod
    def rounded(cls, matrix: Array) -> GridMatrix:
        """Round a matrix to multiples of ``2**-FACTOR_BITS``."""
        matrix = np.ascontiguousarray(round_to_grid(matrix, FACTOR_BITS))
        matrix.setflags(write=False)
        # Multiples of 2**-25 of this size: summed exactly, in any order.
        return cls(matrix, FACTOR_BITS, float(np.abs(matrix).sum(axis=1).max()))


def sandwich(factor: GridMatrix, inner: Array, *, bound: float, bits: int) -> Array:
    """Return ``A Z A^T`` for a stack of matrices Z, without any rounding in the products.

    Parameters
    ----------
    factor
        A, of shape (points, rank).
    inner
        Z: float64 of shape (count, rank, rank), multiples of ``2**-bits``.
    bound
        An upper bound of the absolute values in `inner`.
    bits
        The grid of `inner`.

    Returns
    -------
    ndarray of float64, shape (count, points, points)

    Raises
    ------
    UsageError
        If the numbers are too large for exact products.
    """
    count, rank, _ = inner.shape
    half_bound = bound * factor.row_sum
    half_bits = fraction_bits(half_bound * factor.row_sum) - factor.bits
    if factor.bits + bits > fraction_bits(half_bound) or half_bits < _LEAST_BITS:
        raise UsageError(
            f"products with {rank} modes can't be kept exact (row sums {factor.row_sum:.3g})",
            "use a longer length-scale or fewer points",
        )
    half = inner.reshape(count * rank, rank) @ factor.matrix.T
    # The first product may already lie on a coarser grid than the second can bear.
    if factor.bits + bits > half_bits:
        round_to_grid(half, half_bits, out=half)
    result: Array = np.matmul(factor.matrix, half.reshape(count, rank, -1))
    return result
