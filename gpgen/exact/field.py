"""A component's field, from the factors of its axes.

``X = F_y Z F_x^T`` with Z standard normal, and the same with one or three factors. Every
product is exact in float64: before it, its operand is rounded to the finest grid on which
the sums stay below 2**53 (`gpgen.exact.fixed_point`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from gpgen.exact.axis import FACTOR_BITS, AxisFactor, Banded, axis_factor
from gpgen.exact.fixed_point import fraction_bits, round_to_grid
from gpgen.exact.kernels import SeparableKernel
from gpgen.exact.normal import LARGEST, NORMAL_BITS, random_words, standard_normal

__all__ = ["SUM_BITS", "Field", "apply_along", "grid_below"]

Array = npt.NDArray[np.float64]
T = TypeVar("T", bound=np.generic)

SUM_BITS: Final = 16
"""Column sums are rounded to multiples of ``2**-SUM_BITS`` (`gpgen.exact.standardizing`)."""


@dataclass(frozen=True)
class Field:
    """One component at one length-scale, on a pixel grid.

    Parameters
    ----------
    factors
        The factor of each axis, in the order of the image's axes.
    """

    factors: tuple[AxisFactor, ...]

    @classmethod
    def of(
        cls, kernels: tuple[SeparableKernel, ...], shape: tuple[int, ...], boundary: str
    ) -> Field:
        """Build the factors: one kernel an axis, the shape in pixels, "open" or "periodic"."""
        return cls(tuple(axis_factor(k, n, boundary) for k, n in zip(kernels, shape, strict=True)))

    @property
    def points(self) -> tuple[int, ...]:
        """Noise points along each axis."""
        return tuple(factor.points for factor in self.factors)

    @property
    def pixels(self) -> int:
        """Pixels of the image."""
        return math.prod(factor.pixels for factor in self.factors)

    @cached_property
    def covariance_error(self) -> float:
        """Bound of the absolute error of the covariance of any two pixels.

        The covariance is the product of the axes' covariances, none of which exceeds one.
        """
        return math.prod(1 + factor.covariance_error for factor in self.factors) - 1

    @cached_property
    def gain(self) -> float:
        """The largest value that noise of at most one in absolute value can become."""
        return math.prod(factor.matrix.row_sum for factor in self.factors)

    @cached_property
    def relative_deviation(self) -> float:
        """Root of the expected variance over the pixels of one image; at most about 1."""
        mean_covariance = math.prod(self.mean_deviations) ** 2
        return math.sqrt(max(0.0, 1 - mean_covariance))

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

    def noise(self, seeds: npt.NDArray[np.uint64], stream: int) -> Array:
        """Draw a component's standard normal numbers.

        Parameters
        ----------
        seeds
            The samples' seeds, shape (samples,).
        stream
            The component's position in the recipe.

        Returns
        -------
        ndarray of float64, shape (samples, columns of each axis)
        """
        count = math.prod(self.points)
        words = np.empty((len(seeds), count), dtype=np.uint64)
        for row, seed in zip(words, seeds, strict=True):
            row[:] = random_words(int(seed), stream, count)
        noise = standard_normal(words).reshape(-1, *self.points)
        for axis, factor in enumerate(self.factors, start=1):
            noise = factor.wrap(noise, axis)
        return noise

    def moments(self, noise: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation over the pixels of each field, without its pixels.

        `gpgen.exact.standardizing` knows for which samples they are too rough.

        Parameters
        ----------
        noise
            What `noise` returned.

        Returns
        -------
        mean, deviation
            float64, shape (samples,).
        """
        mean = self._mean(noise)
        variance = self._mean_square(noise) - mean * mean
        return mean, np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))

    def _mean(self, noise: Array) -> Array:
        total, bits, bound = noise, NORMAL_BITS, LARGEST
        for factor in reversed(self.factors):
            sums = round_to_grid(factor.column_sums, SUM_BITS)
            bound *= float(np.abs(sums).sum())
            finest = int(grid_below(bound, SUM_BITS))
            if bits > finest:
                total = round_to_grid(total, finest)
            total, bits = total @ sums, min(bits, finest) + SUM_BITS
        return total / self.pixels

    def _mean_square(self, noise: Array) -> Array:
        product, bits, bound, scale = noise, NORMAL_BITS, LARGEST, 0
        for axis, factor in enumerate(self.factors, start=1):
            bound *= factor.gram.row_sum
            scale += factor.gram_scale
            finest = int(grid_below(bound))
            if bits > finest:
                product = round_to_grid(product, finest)
            product, bits = apply_along(factor.gram, product, axis), min(bits, finest) + FACTOR_BITS
        # Integers add up in any order, and hold ten bits more than float64 does.
        left = (noise * 2.0**NORMAL_BITS).astype(np.int64)
        right = np.rint(product * 2.0**self.square_bits).astype(np.int64)
        total = np.sum((left * right).reshape(len(noise), -1), axis=1).astype(np.float64)
        mean_square: Array = np.ldexp(total, scale - self.square_bits - NORMAL_BITS) / self.pixels
        return mean_square

    @cached_property
    def square_bits(self) -> int:
        """Bits after the binary point of what the mean square multiplies the noise by."""
        bound = LARGEST * math.prod(factor.gram.row_sum for factor in self.factors)
        columns = math.prod(factor.columns for factor in self.factors)
        return fraction_bits(columns * LARGEST * bound) + 9 - NORMAL_BITS

    def along_leading_axes(self, noise: Array, scale: Array) -> tuple[Array, Array]:
        """Multiply scaled noise by the factors of all axes but the last.

        Parameters
        ----------
        noise
            What `noise` returned.
        scale
            A factor for each sample, shape (samples,).

        Returns
        -------
        rows, bound
            float64: shape (samples, pixels of each leading axis, columns of the last axis),
            and the bound of the absolute value of each sample's entries, shape (samples,).
        """
        rows = noise * _each(scale, noise)
        bound = LARGEST * scale
        for axis, factor in enumerate(self.factors[:-1], start=1):
            bound = bound * factor.matrix.row_sum
            round_to_grid(rows, _each(grid_below(bound), rows), out=rows)
            rows = apply_along(factor.matrix, rows, axis)
        return rows, bound


def grid_below(bound: float | Array, factor_bits: int = FACTOR_BITS) -> npt.NDArray[np.int64]:
    """Return the bits of the finest grid for the operand of a product with sums below `bound`."""
    return np.asarray(52 - np.frexp(bound)[1].astype(np.int64) - factor_bits)


def _each(values: npt.NDArray[T], like: Array) -> npt.NDArray[T]:
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def apply_along(matrix: Banded, x: Array, axis: int) -> Array:
    """Multiply one axis of x, shape (samples, ...), by a banded matrix."""
    shape = (*x.shape[:axis], matrix.shape[0], *x.shape[axis + 1 :])
    if axis == x.ndim - 1:
        return matrix.apply_last(x.reshape(-1, x.shape[axis])).reshape(shape)
    return matrix.apply(x.reshape(math.prod(x.shape[:axis]), x.shape[axis], -1)).reshape(shape)
