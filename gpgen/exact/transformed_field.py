"""A component whose values are turned into others, pixel by pixel, before they are added up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.arrays import Arrays, LibraryArray, round_samples
from gpgen.exact.axis import FACTOR_BITS, AxisFactor
from gpgen.exact.axis_product import apply_along, grid_below, loaded_matrix
from gpgen.exact.field import Contribution, Field, Grid
from gpgen.exact.marginals import MARGINALS, Marginal
from gpgen.exact.normal import LARGEST

__all__ = ["transformed"]

_MOST_ENLARGED: Final = 64
"""Standardizing enlarges a field by no more (`gpgen.exact.accuracy`)."""


@dataclass(frozen=True)
class TransformedField:
    """A `gpgen.exact.field.Field`: pixels alone, whatever the Gaussian field beneath is.

    What is proved is the covariance of the Gaussian field.

    Parameters
    ----------
    gaussian
        The field.
    marginal
        What its values become.
    """

    gaussian: Field
    marginal: Marginal
    last_factor: None = None

    @property
    def factors(self) -> tuple[AxisFactor, ...]:
        """What has to be built and proved before it can be drawn."""
        return self.gaussian.factors

    @property
    def torus_points(self) -> int:
        """Points of a torus whose transforms it keeps; 0 if there is none."""
        return self.gaussian.torus_points

    @property
    def grid(self) -> Grid:
        """Its own grid: that of the product along the last axis, if there is one."""
        if self.gaussian.grid is not None:
            return self.gaussian.grid
        enlarged = 1 / max(self.gaussian.relative_deviation, 1 / _MOST_ENLARGED)
        bound = self.gaussian.gain * enlarged * LARGEST
        bits = int(grid_below(bound))
        return Grid(math.log2(bound) + bits + FACTOR_BITS, 2.0**-bits)

    @property
    def covariance_error(self) -> float:
        """Bound of the absolute error of the Gaussian field's covariance."""
        return self.gaussian.covariance_error

    @property
    def gain(self) -> float:
        """The largest value that noise of at most one can become in the Gaussian field."""
        return self.gaussian.gain

    @property
    def relative_deviation(self) -> float:
        """Root of the Gaussian field's expected variance over the pixels of one image."""
        return self.gaussian.relative_deviation

    def draw(
        self,
        arrays: Arrays,
        seeds: npt.NDArray[np.uint64],
        stream: int,
        weights: npt.NDArray[np.float64],
        standardize: bool,
    ) -> Contribution:
        """Draw the component: all its pixels, transformed by NumPy."""
        pixels = arrays.to_numpy(self._pixels(arrays, seeds, stream, standardize))
        values = self.marginal.apply(pixels.astype(np.float64, copy=False))
        values *= weights.reshape(-1, *(1,) * (values.ndim - 1))
        none = np.zeros(len(seeds))
        return Contribution(None, none, none, pixels=arrays.load(values))

    def _pixels(
        self, arrays: Arrays, seeds: npt.NDArray[np.uint64], stream: int, standardize: bool
    ) -> LibraryArray:
        drawn = self.gaussian.draw(arrays, seeds, stream, np.ones(len(seeds)), standardize)
        factor = self.gaussian.last_factor
        if drawn.rows is None or factor is None:
            return drawn.scaled_pixels(arrays)
        rows, axis = drawn.rows, drawn.rows.ndim - 1
        round_samples(arrays, rows, grid_below(drawn.bound))
        pixels = apply_along(loaded_matrix(factor, arrays), rows, axis, arrays)
        pixels -= arrays.load(drawn.shift).reshape(-1, *(1,) * axis)
        if drawn.pixels is not None:
            pixels[drawn.samples] += drawn.scaled_pixels(arrays)
        return pixels


def transformed(field: Field, transform: str | None) -> Field:
    """Return the field with its values transformed; `transform` is a key of `MARGINALS` or None."""
    return field if transform is None else TransformedField(field, MARGINALS[transform])
