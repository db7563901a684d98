"""Standard normal noise, multiplied by a factor along each axis.

``X = F_y Z F_x^T`` with Z standard normal, and the same with one or three factors. Every
product is exact in float64: before it, its operand is rounded to the finest grid on which
the sums stay below 2**53 (`gpgen.exact.fixed_point`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.arrays import NUMPY, Arrays, LibraryArray, round_samples
from gpgen.exact.axis import FACTOR_BITS, AxisFactor, Banded
from gpgen.exact.fixed_point import fraction_bits, round_to_grid
from gpgen.exact.normal import LARGEST, NORMAL_BITS

__all__ = ["SUM_BITS", "AxisProduct", "apply_along", "grid_below", "loaded_gram", "loaded_matrix"]

Array = npt.NDArray[np.float64]

SUM_BITS: Final = 16
"""Column sums are rounded to multiples of ``2**-SUM_BITS`` (`gpgen.exact.standardizing`)."""


@dataclass(frozen=True)
class AxisProduct:
    """The random field ``F_y Z F_x^T`` on a pixel grid.

    Parameters
    ----------
    factors
        The factor of each axis, in the order of the image's axes.
    """

    factors: tuple[AxisFactor, ...]

    @property
    def points(self) -> tuple[int, ...]:
        """Noise points along each axis."""
        return tuple(factor.points for factor in self.factors)

    @property
    def pixels(self) -> int:
        """Pixels of the image."""
        return math.prod(factor.pixels for factor in self.factors)

    @cached_property
    def gain(self) -> float:
        """The largest value that noise of at most one in absolute value can become."""
        return math.prod(factor.matrix.row_sum for factor in self.factors)

    @cached_property
    def mean_deviations(self) -> tuple[float, ...]:
        """The standard deviation of the mean over each axis; their product is the image's."""
        deviations = []
        for factor in self.factors:
            sums = np.zeros(factor.points)
            np.add.at(sums, factor.noise_points, factor.column_sums)
            # fsum, since what depends on this must not depend on the order of adding.
            deviations.append(math.sqrt(math.fsum((sums * sums).tolist())) / factor.pixels)
        return tuple(deviations)

    def noise(
        self, seeds: npt.NDArray[np.uint64], stream: int, arrays: Arrays = NUMPY
    ) -> LibraryArray:
        """Draw a component's standard normal numbers.

        Parameters
        ----------
        seeds
            The samples' seeds, shape (samples,).
        stream
            The component's position in the recipe.
        arrays
            Where: a library that is exact.

        Returns
        -------
        The library's array of float64, shape (samples, columns of each axis)
        """
        noise = arrays.standard_normal(seeds, stream, math.prod(self.points))
        noise = noise.reshape(-1, *self.points)
        for axis, factor in enumerate(self.factors, start=1):
            noise = factor.wrap(noise, axis, arrays)
        return noise

    def moments(self, noise: LibraryArray, arrays: Arrays = NUMPY) -> tuple[Array, Array]:
        """Return mean and standard deviation over the pixels of each field, without its pixels.

        `gpgen.exact.standardizing` knows for which samples they are too rough.

        Parameters
        ----------
        noise, arrays
            What `noise` returned, and where.

        Returns
        -------
        mean, deviation
            float64, shape (samples,).
        """
        mean = arrays.to_numpy(self._total(noise, arrays)) / self.pixels
        variance = self._mean_square(noise, arrays) - mean * mean
        return mean, np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))

    def _total(self, noise: LibraryArray, arrays: Arrays) -> LibraryArray:
        total, bits, bound = noise, NORMAL_BITS, LARGEST
        for factor in reversed(self.factors):
            sums = round_to_grid(factor.column_sums, SUM_BITS)
            bound *= float(np.abs(sums).sum())
            finest = int(grid_below(bound, SUM_BITS))
            if bits > finest:
                total = round_to_grid(total, finest)
            total, bits = total @ arrays.load(sums), min(bits, finest) + SUM_BITS
        return total

    def _mean_square(self, noise: LibraryArray, arrays: Arrays) -> Array:
        product, bits, bound, scale = noise, NORMAL_BITS, LARGEST, 0
        for axis, factor in enumerate(self.factors, start=1):
            bound *= factor.gram.row_sum
            scale += factor.gram_scale
            finest = int(grid_below(bound))
            if bits > finest:
                product = round_to_grid(product, finest)
            gram = loaded_gram(factor, arrays)
            product = apply_along(gram, product, axis, arrays)
            bits = min(bits, finest) + FACTOR_BITS
        # Integers add up in any order, and hold ten bits more than float64 does.
        whole = arrays.row_products(noise * 2.0**NORMAL_BITS, product * 2.0**self.square_bits)
        total = arrays.to_numpy(whole).astype(np.float64)
        mean_square: Array = np.ldexp(total, scale - self.square_bits - NORMAL_BITS) / self.pixels
        return mean_square

    @cached_property
    def square_bits(self) -> int:
        """Bits after the binary point of what the mean square multiplies the noise by."""
        bound = LARGEST * math.prod(factor.gram.row_sum for factor in self.factors)
        columns = math.prod(factor.columns for factor in self.factors)
        return fraction_bits(columns * LARGEST * bound) + 9 - NORMAL_BITS

    def along_leading_axes(
        self,
        noise: LibraryArray,
        scale: Array,
        arrays: Arrays = NUMPY,
        matrices: Sequence[Banded] | None = None,
    ) -> tuple[LibraryArray, Array]:
        """Multiply scaled noise by the factors of all axes but the last.

        Parameters
        ----------
        noise
            What `noise` returned, as the library's array.
        scale
            A factor for each sample, shape (samples,).
        arrays, matrices
            Where to compute, and the factors' matrices there.

        Returns
        -------
        rows, bound
            The library's array, shape (samples, pixels of each leading axis, columns of the last
            axis), and the bound of the absolute value of each sample's entries, float64, shape
            (samples,).
        """
        if matrices is None:
            matrices = [factor.matrix for factor in self.factors[:-1]]
        rows = noise * arrays.load(scale).reshape(-1, *(1,) * (noise.ndim - 1))
        bound = LARGEST * scale
        for axis, matrix in enumerate(matrices, start=1):
            bound = bound * self.factors[axis - 1].matrix.row_sum
            round_samples(arrays, rows, grid_below(bound))
            rows = apply_along(matrix, rows, axis, arrays)
        return rows, bound


def grid_below(bound: float | Array, factor_bits: int = FACTOR_BITS) -> npt.NDArray[np.int64]:
    """Return the bits of the finest grid for the operand of a product with sums below `bound`."""
    return np.asarray(52 - np.frexp(bound)[1].astype(np.int64) - factor_bits)


@lru_cache(maxsize=256)
def loaded_matrix(factor: AxisFactor, arrays: Arrays) -> Banded:
    """Return a factor's matrix in a library's arrays: (pixels, columns)."""
    return _loaded(factor.matrix, arrays)


@lru_cache(maxsize=256)
def loaded_gram(factor: AxisFactor, arrays: Arrays) -> Banded:
    """Return a factor's `AxisFactor.gram` in a library's arrays: (columns, columns)."""
    return _loaded(factor.gram, arrays)


def _loaded(matrix: Banded, arrays: Arrays) -> Banded:
    return (matrix if arrays.banded else matrix.in_one_block()).loaded(arrays)


def apply_along(matrix: Banded, x: LibraryArray, axis: int, arrays: Arrays = NUMPY) -> LibraryArray:
    """Multiply one axis of x, shape (samples, ...), by a banded matrix."""
    before, after = tuple(x.shape[:axis]), tuple(x.shape[axis + 1 :])
    shape = (*before, matrix.shape[0], *after)
    if not after:
        return matrix.apply_last(x.reshape(-1, x.shape[axis]), arrays).reshape(shape)
    return matrix.apply(x.reshape(math.prod(before), x.shape[axis], -1), arrays).reshape(shape)
