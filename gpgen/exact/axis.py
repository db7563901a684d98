"""The exact factor of one axis: a banded matrix F with F F^T the covariance of its pixels.

Column j holds the kernel's convolution root centred on the noise point u_j, so a realization
along the axis is F times standard normal numbers. The points need only be about half a
length-scale apart, and the root is short, so F has few columns and few non-zeros a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.exact.arrays import NUMPY, Arrays, LibraryArray
from gpgen.exact.fixed_point import fraction_bits, round_to_grid
from gpgen.exact.kernels import SeparableKernel

__all__ = ["BLOCK", "FACTOR_BITS", "AxisFactor", "Band", "Banded", "axis_factor"]

Array = npt.NDArray[np.float64]

FACTOR_BITS: Final = 24
"""Entries of a factor are multiples of ``2**-FACTOR_BITS``."""

BLOCK: Final = 64
"""Rows a block of a banded matrix: few multiplications by zero, and large enough for BLAS."""

# An open axis whose points repeat their position within a pixel every `period` pixels has rows
# that repeat too; a spacing of 16 or more parts of a power of two wastes at most 6 % of points.
_SPACING_PARTS: Final = 16


@dataclass(frozen=True)
class Band:
    """Rows ``start:stop`` of a matrix whose non-zeros lie in columns ``first:last``."""

    start: int
    stop: int
    first: int
    last: int
    matrix: LibraryArray
    """Shape (stop - start, last - first): float64, or an array of another library."""


@dataclass(frozen=True)
class Banded:
    """A banded matrix as dense blocks of rows.

    Parameters
    ----------
    shape
        Rows and columns.
    bands
        The blocks, from the first row to the last.
    """

    shape: tuple[int, int]
    bands: tuple[Band, ...]

    def apply(self, x: LibraryArray, arrays: Arrays = NUMPY) -> LibraryArray:
        """Multiply along the second axis of ``x``, shape (samples, columns, rest).

        Returns
        -------
        array of the library, shape (samples, rows, rest)
        """
        out = arrays.empty((x.shape[0], self.shape[0], x.shape[2]))
        for band in self.bands:
            arrays.matmul(band.matrix, x[:, band.first : band.last], out[:, band.start : band.stop])
        return out

    def apply_last(self, x: LibraryArray, arrays: Arrays = NUMPY) -> LibraryArray:
        """Multiply along the last axis of ``x``, shape (rest, columns).

        Returns
        -------
        array of the library, shape (rest, rows)
        """
        out = arrays.empty((x.shape[0], self.shape[0]))
        for band in self.bands:
            part = out[:, band.start : band.stop]
            arrays.matmul(x[:, band.first : band.last], band.matrix.T, part)
        return out

    def in_one_block(self) -> Banded:
        """Return the matrix as a single dense block."""
        dense = np.zeros(self.shape)
        for band in self.bands:
            dense[band.start : band.stop, band.first : band.last] = band.matrix
        return Banded(self.shape, (Band(0, self.shape[0], 0, self.shape[1], dense),))

    def loaded(self, arrays: Arrays) -> Banded:
        """Return the matrix with its blocks in a library's arrays."""
        bands = (replace(band, matrix=arrays.load(band.matrix)) for band in self.bands)
        return Banded(self.shape, tuple(bands))

    @cached_property
    def row_sum(self) -> float:
        """The largest sum of absolute values over a row."""
        return max(float(np.abs(band.matrix).sum(axis=1).max()) for band in self.bands)


@dataclass(frozen=True)
class AxisFactor:
    """The factor of one axis.

    Parameters
    ----------
    kernel
        The kernel along this axis.
    pixels
        Pixels of the axis.
    period
        Noise points around a periodic axis; None on an open one.
    spacing
        Pixels between noise points.
    """

    kernel: SeparableKernel
    pixels: int
    period: int | None
    spacing: float

    @cached_property
    def _overhang(self) -> int:
        """Noise points that reach the first pixel from before it."""
        return math.floor(self.kernel.reach * self.kernel.length_scale / self.spacing)

    @property
    def points(self) -> int:
        """Independent noise points."""
        return self.columns if self.period is None else self.period

    @property
    def noise_points(self) -> npt.NDArray[np.int64]:
        """The noise point of each column."""
        return (np.arange(self.columns) - self._overhang) % self.points

    @cached_property
    def columns(self) -> int:
        """Columns of the matrix: a periodic axis's points appear again beyond its ends."""
        reach = self.kernel.reach * self.kernel.length_scale
        return self._overhang + math.floor((self.pixels - 1 + reach) / self.spacing) + 1

    def wrap(self, noise: LibraryArray, axis: int, arrays: Arrays = NUMPY) -> LibraryArray:
        """Repeat a periodic axis's noise beyond its ends, from `points` to `columns`."""
        return noise if self.period is None else arrays.take(noise, self.noise_points, axis)

    def entries(self, rows: slice, columns: slice) -> Array:
        """Return a part of the matrix: float64, multiples of ``2**-FACTOR_BITS``."""
        x = np.arange(rows.start, rows.stop, dtype=np.float64)
        u = (
            np.arange(columns.start, columns.stop, dtype=np.float64) - self._overhang
        ) * self.spacing
        distance = x[:, None] - u
        root = self.kernel.root(distance, self.spacing)
        root[np.abs(distance) > self.kernel.reach * self.kernel.length_scale] = 0.0
        return round_to_grid(root, FACTOR_BITS)

    def _columns_of(self, first_pixel: int, last_pixel: int) -> slice:
        """Columns that reach any of the pixels first_pixel..last_pixel."""
        reach = self.kernel.reach * self.kernel.length_scale
        first = math.ceil((first_pixel - reach) / self.spacing) + self._overhang
        last = math.floor((last_pixel + reach) / self.spacing) + self._overhang
        return slice(max(first, 0), min(last + 1, self.columns))

    @cached_property
    def matrix(self) -> Banded:
        """F, shape (pixels, columns)."""
        bands = []
        for start in range(0, self.pixels, BLOCK):
            stop = min(start + BLOCK, self.pixels)
            columns = self._columns_of(start, stop - 1)
            entries = self.entries(slice(start, stop), columns)
            bands.append(Band(start, stop, columns.start, columns.stop, entries))
        return Banded((self.pixels, self.columns), tuple(bands))

    @cached_property
    def column_sums(self) -> Array:
        """F^T 1, shape (columns,): what each noise number adds to the sum over the pixels."""
        sums = np.zeros(self.columns)
        for band in self.matrix.bands:
            sums[band.first : band.last] += band.matrix.sum(axis=0)
        return sums

    @property
    def gram_scale(self) -> int:
        """The power of two by which `gram` is divided, so that its entries are near one."""
        return math.frexp(self.spacing)[1]

    @cached_property
    def gram(self) -> Banded:
        """F^T F / 2**gram_scale, shape (columns, columns), rounded to a grid of FACTOR_BITS."""
        # A column's sum of squares is at most the pixels within its reach; F is rounded so that
        # the products add up exactly.
        reach = self.kernel.reach * self.kernel.length_scale
        bits = min(fraction_bits(2 * reach + 2) // 2, FACTOR_BITS)
        bands = []
        for start in range(0, self.columns, BLOCK):
            stop = min(start + BLOCK, self.columns)
            low = (start - self._overhang) * self.spacing - reach
            high = (stop - 1 - self._overhang) * self.spacing + reach
            pixels = slice(max(math.ceil(low), 0), min(math.floor(high) + 1, self.pixels))
            columns = self._columns_of(pixels.start, pixels.stop - 1)
            left = round_to_grid(self.entries(pixels, slice(start, stop)), bits)
            right = round_to_grid(self.entries(pixels, columns), bits)
            product = np.ldexp(left.T @ right, -self.gram_scale)
            bands.append(
                Band(start, stop, columns.start, columns.stop, round_to_grid(product, FACTOR_BITS))
            )
        return Banded((self.columns, self.columns), tuple(bands))

    @cached_property
    def covariance_error(self) -> float:
        """The largest absolute difference between F F^T and the kernel, over all pairs of pixels.

        Computed from the rounded matrix. Rows repeat with the position of the noise points
        within a pixel, so only one period of them is looked at.
        """
        worst = 0.0
        pixels = np.arange(self.pixels)
        for band in self.matrix.bands:
            if band.start >= self._repeat:
                break
            rows = np.zeros((band.stop - band.start, self.columns))
            rows[:, band.first : band.last] = band.matrix
            covariance = self.matrix.apply_last(self._fold(rows))
            distance = np.abs(pixels[band.start : band.stop, None] - pixels).astype(np.float64)
            if self.period is not None:
                distance = np.minimum(distance, self.pixels - distance)
            worst = max(worst, float(np.abs(covariance - self.kernel.covariance(distance)).max()))
        return worst

    @property
    def pairs_to_prove(self) -> int:
        """Pairs of pixels that `covariance_error` looks at."""
        blocks = -(-min(self._repeat, self.pixels) // BLOCK)
        return min(blocks * BLOCK, self.pixels) * self.pixels

    @property
    def entries_bound(self) -> int:
        """Numbers that `matrix` holds, at most."""
        reach = self.kernel.reach * self.kernel.length_scale
        width = min(self.columns, math.ceil((BLOCK + 2 * reach) / self.spacing) + 1)
        return self.pixels * width

    @property
    def _repeat(self) -> int:
        """Pixels after which the rows of the matrix repeat, shifted."""
        if self.period is not None:
            return self.pixels // math.gcd(self.pixels, self.period)
        numerator, _ = self.spacing.as_integer_ratio()
        return numerator

    def _fold(self, rows: Array) -> Array:
        """Add up the columns that share a noise point, and spread the sums over them again."""
        if self.period is None:
            return rows
        folded = np.zeros((rows.shape[0], self.period))
        np.add.at(folded.T, self.noise_points, rows.T)
        return folded[:, self.noise_points]


@lru_cache(maxsize=256)
def axis_factor(kernel: SeparableKernel, pixels: int, boundary: str) -> AxisFactor:
    """Choose the noise points of an axis.

    Parameters
    ----------
    kernel
        The kernel along the axis.
    pixels
        Its length.
    boundary
        "open" or "periodic".

    Raises
    ------
    RecipeError
        If a periodic axis is too short: the covariance around it one way and the other would
        overlap.
    """
    if boundary == "periodic":
        if pixels < _PERIODIC_LENGTHS * kernel.length_scale:
            raise RecipeError(
                f"length_scale {kernel.length_scale:g} px does not fit on a periodic axis of "
                f"{pixels} px",
                f"use a length_scale of at most {pixels / _PERIODIC_LENGTHS:.4g} px, a size of at "
                f"least {math.ceil(_PERIODIC_LENGTHS * kernel.length_scale)} px, or "
                'boundary = "open"',
            )
        points = math.ceil(kernel.oversampling * pixels / kernel.length_scale)
        return AxisFactor(kernel, pixels, points, pixels / points)
    finest = kernel.length_scale / kernel.oversampling
    parts = max(0, math.ceil(math.log2(_SPACING_PARTS / finest)))
    spacing = math.floor(math.ldexp(finest, parts)) / 2**parts
    return AxisFactor(kernel, pixels, None, spacing)


_PERIODIC_LENGTHS: Final = 11.2
"""Length-scales that a periodic axis must hold: half of it away the RBF covariance is 1.5e-7."""
