"""A component whose covariance is a product over the axes, drawn by a product along each axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gpgen.exact.arrays import NUMPY, Arrays
from gpgen.exact.axis import AxisFactor, axis_factor
from gpgen.exact.axis_product import AxisProduct, loaded_matrix
from gpgen.exact.field import Contribution
from gpgen.exact.kernels import SeparableKernel
from gpgen.exact.standardizing import standardize as standardized

__all__ = ["SeparableField"]


@dataclass(frozen=True)
class SeparableField(AxisProduct):
    """A `gpgen.exact.field.Field`: one component at one length-scale, on a pixel grid."""

    @classmethod
    def of(
        cls,
        kernels: tuple[SeparableKernel, ...],
        shape: tuple[int, ...],
        boundaries: tuple[str, ...],
    ) -> SeparableField:
        """Build the factors: of each axis the kernel, its pixels, and "open" or "periodic"."""
        axes = zip(kernels, shape, boundaries, strict=True)
        return cls(tuple(axis_factor(*axis) for axis in axes))

    @property
    def last_factor(self) -> AxisFactor:
        """The factor of the last axis."""
        return self.factors[-1]

    @property
    def torus_points(self) -> int:
        """0: it needs no torus."""
        return 0

    @property
    def grid(self) -> None:
        """None: components that separate are added up on one grid."""

    @cached_property
    def covariance_error(self) -> float:
        """Bound of the absolute error of the covariance of any two pixels.

        The covariance is the product of the axes' covariances, none of which exceeds one.
        """
        return math.prod(1 + factor.covariance_error for factor in self.factors) - 1

    @cached_property
    def relative_deviation(self) -> float:
        """Root of the expected variance over the pixels of one image; at most about 1."""
        mean_covariance = math.prod(self.mean_deviations) ** 2
        return math.sqrt(max(0.0, 1 - mean_covariance))

    def draw(
        self,
        arrays: Arrays,
        seeds: npt.NDArray[np.uint64],
        stream: int,
        weights: npt.NDArray[np.float64],
        standardize: bool,
    ) -> Contribution:
        """Draw the component: the products along all axes but the last."""
        exact = arrays if arrays.exact else NUMPY
        noise = self.noise(seeds, stream, exact)
        scale, shift = weights, np.zeros(len(seeds))
        samples, pixels = np.empty(0, dtype=np.int64), None
        if standardize:
            scale, shift, samples, pixels = standardized(self, noise, weights, exact)
        if not arrays.exact:
            noise = arrays.load(noise)
        matrices = [loaded_matrix(factor, arrays) for factor in self.factors[:-1]]
        rows, bound = self.along_leading_axes(noise, scale, arrays, matrices)
        bound = bound * self.last_factor.matrix.row_sum
        added = arrays.load(pixels) if pixels is not None else None
        return Contribution(rows, bound, shift, samples, added)
