"""The texture generator of 2018: Gaussian patches, strewn over an image.

S. Golkar and K. Cranmer, "Backdrop: Stochastic Backpropagation", arXiv 1806.01337,
section 4; the numbers are those of the program that made Zenodo record 1252464.

The distribution is kept, its quirks included: patches overlap about once, so the
local variance fluctuates and fine textures have heavy tails. The program drew each
patch from the covariance matrix of all its points; here a patch is a product of
three small matrices, which has the same distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError
from gpgen.exact.axis import Band, Banded
from gpgen.exact.fixed_point import exp, fraction_bits, round_to_grid
from gpgen.exact.mosaic_factor import (
    GridMatrix,
    covariance_factor,
    sandwich,
    squared_exponential,
)
from gpgen.exact.mosaic_spline import cubic_spline
from gpgen.exact.mosaic_standardizing import standardized
from gpgen.exact.normal import LARGEST, NORMAL_BITS, random_words, standard_normal
from gpgen.exact.standardizing import centred_pixels

__all__ = ["Mosaic", "Patch", "standardized", "texture", "uniform_integers"]

Array = npt.NDArray[np.float64]

ENVELOPE: Final = 23.0
"""Patches are multiplied by exp(-23 ((x - 1/2)^2 + (y - 1/2)^2)), x and y from 0 to 1."""

_POSITIONS: Final = 1 << 32
"""Added to a stream's number, gives the stream that places the patches."""

_ENLARGED: Final = 16
"""Pixels are rounded to about 2e-7 of a factor's row sums: where all lie within a sixteenth of
those, standardizing would show it, and they are computed exactly."""

_LONGEST: Final = 25
"""The longest length-scale, in sides of the image: at 26 the expected deviation is 1/64."""

_BATCH: Final = 1 << 19
"""Pixels of patches drawn at a time: 4 MB."""


@dataclass(frozen=True)
class Patch:
    """A Gaussian process on a square grid, upsampled by a cubic spline.

    Parameters
    ----------
    size
        Points an axis on which the process is drawn.
    length_scale
        Of the kernel ``exp(-r^2 / (2 l^2))``, in units of 1/size of the side.
    upscale
        By how much the spline lengthens an axis, to ``int(size * upscale)`` pixels.
    envelope
        Whether to multiply by a Gaussian that vanishes at the edges.

    Raises
    ------
    UsageError
        For sizes and lengths that can't be drawn.
    """

    size: int
    length_scale: float
    upscale: float = 1.0
    envelope: bool = True

    def __post_init__(self) -> None:
        if not 4 <= self.size <= 4096 or not self.length_scale > 0 or not 1 <= self.upscale <= 1024:
            raise UsageError(
                f"a patch of {self.size} points, length-scale {self.length_scale}, upscaled by "
                f"{self.upscale} can't be drawn",
                "use 4 to 4096 points, a positive length-scale and a factor from 1 to 1024",
            )

    @property
    def pixels(self) -> int:
        """Pixels along each side."""
        return int(self.size * self.upscale)

    @property
    def boundary(self) -> float:
        """Points at each edge that the envelope takes away."""
        return self.size / 5

    @property
    def visible_pixels(self) -> int:
        """Pixels along each side that the envelope leaves."""
        return int((self.size - 2 * self.boundary) * self.upscale)

    @property
    def axis_factor(self) -> GridMatrix:
        """The factor A of one axis: a realization is ``A Z A^T`` with normal Z."""
        return _axis_factor(self)

    @property
    def covariance_error(self) -> float:
        """The largest error of any covariance of two pixels, computed from dense matrices."""
        exact = self._shaped(self._shaped(squared_exponential(self.size, self.length_scale)).T)
        drawn = self.axis_factor.matrix @ self.axis_factor.matrix.T
        error, largest = float(np.abs(drawn - exact).max()), float(np.abs(exact).max())
        # Of two axes: (a + e)(b + f) - a b.
        return error * (2 * largest + error)

    def _shaped(self, columns: Array) -> Array:
        """Take columns over the points through the spline and the envelope."""
        if self.upscale > 1:
            columns = cubic_spline(columns, self.pixels)
        if self.envelope:
            x = np.arange(len(columns)) / (len(columns) - 1) - 0.5
            columns = exp(-ENVELOPE * (x * x))[:, None] * columns
        return columns

    def draw(self, normals: Array) -> Array:
        """Turn normal numbers, shape (count, rank, rank), into patches (count, pixels, pixels)."""
        return sandwich(self.axis_factor, normals, bound=LARGEST, bits=NORMAL_BITS)

    def realization(self, seed: int, stream: int = 0) -> Array:
        """Draw one image; `seed` and `stream` name the random numbers.

        Returns
        -------
        ndarray of float64, shape (pixels, pixels)
        """
        image: Array = self.draw(self._normals(seed, stream))[0]
        return image

    def standardized(self, seed: int, stream: int = 0) -> Array:
        """Draw one image with mean 0 and deviation 1 over its pixels.

        Returns
        -------
        ndarray of float64, shape (pixels, pixels)
        """
        image = self.realization(seed, stream)
        factor = self.axis_factor
        if np.ptp(image) < factor.row_sum**2 / _ENLARGED:
            band = Band(0, self.pixels, 0, factor.matrix.shape[1], factor.matrix)
            axis = Banded(factor.matrix.shape, (band,))
            image, _, _ = centred_pixels([axis, axis], self._normals(seed, stream), factor.bits)
        return standardized(image.reshape(self.pixels, self.pixels))

    def _normals(self, seed: int, stream: int) -> Array:
        rank = self.axis_factor.matrix.shape[1]
        words = random_words(seed, stream, rank * rank)
        return standard_normal(words).reshape(1, rank, rank)


@dataclass(frozen=True)
class Mosaic:
    """An image filled with patches at random places, each a new draw, and wrapped.

    Parameters
    ----------
    size
        Pixels along each side before `upscale`.
    patch
        What the image is filled with.
    wrap
        Whether to add the last rows to the first and copy the sum back, then the
        same for columns.
    wrap_factor
        How many rows: ``int(wrap_factor * 4 * patch.boundary * patch.upscale + 0.5)``.
    upscale
        By how much a cubic spline lengthens the axes at the end, to
        ``int(size * upscale + 0.55)`` pixels.

    Raises
    ------
    UsageError
        If the patch doesn't fit into the image, or the wrap is too wide.
    """

    size: int
    patch: Patch
    wrap: bool = True
    wrap_factor: float = 1.0
    upscale: float = 1.0

    def __post_init__(self) -> None:
        if self.size <= self.patch.pixels:
            raise UsageError(
                f"an image of {self.size} pixels has no room for patches of {self.patch.pixels}",
                "use a larger image or a shorter length-scale",
            )
        if self.patch.visible_pixels < 1 or not 1 <= self.upscale <= 1024:
            raise UsageError(
                f"the mosaic of {self.patch} upscaled by {self.upscale} can't be made",
                "use larger patches and a factor from 1 to 1024",
            )
        if self.wrap and not 1 <= self.wrapped_rows <= self.size:
            raise UsageError(
                f"{self.wrapped_rows} rows can't be wrapped in an image of {self.size}",
                "use another wrap factor",
            )

    @property
    def pixels(self) -> int:
        """Pixels along each side."""
        return int(self.size * self.upscale + 0.55) if self.upscale > 1 else self.size

    @property
    def count(self) -> int:
        """How many patches are laid down."""
        ratio = self.size / self.patch.visible_pixels
        return int(6 * (ratio * ratio))

    @property
    def wrapped_rows(self) -> int:
        """How many rows (and columns) at the two edges are identified."""
        return int(self.wrap_factor * (self.patch.boundary * 4 * self.patch.upscale) + 0.5)

    def realization(self, seed: int, stream: int = 0) -> Array:
        """Draw one image; `seed` and `stream` name the random numbers.

        Returns
        -------
        ndarray of float64, shape (pixels, pixels)
        """
        image = np.zeros((self.size, self.size))
        self._lay_patches(image, seed, stream)
        if self.wrap:
            _wrap(image, self.wrapped_rows)
            _wrap(image.T, self.wrapped_rows)
        if self.upscale > 1:
            image = self._upscaled(image)
        return image

    def standardized(self, seed: int, stream: int = 0) -> Array:
        """Draw one image with mean 0 and deviation 1 over its pixels.

        Returns
        -------
        ndarray of float64, shape (pixels, pixels)
        """
        return standardized(self.realization(seed, stream))

    def _lay_patches(self, image: Array, seed: int, stream: int) -> None:
        count, side = self.count, self.patch.pixels
        rank = self.patch.axis_factor.matrix.shape[1]
        corners = uniform_integers(seed, _POSITIONS + stream, 2 * count, self.size - side)
        words = random_words(seed, stream, count * rank * rank).reshape(count, rank, rank)
        batch = max(1, _BATCH // (side * side))
        for start in range(0, count, batch):
            patches = self.patch.draw(standard_normal(words[start : start + batch]))
            places = corners[2 * start : 2 * (start + len(patches))].reshape(-1, 2).tolist()
            # One after the other: pixels where patches overlap are summed in this order.
            for patch, (row, column) in zip(patches, places, strict=True):
                image[row : row + side, column : column + side] += patch

    def _upscaled(self, image: Array) -> Array:
        factor = GridMatrix.rounded(cubic_spline(np.eye(self.size), self.pixels))
        bound = float(np.abs(image).max())
        bits = fraction_bits(bound * factor.row_sum) - factor.bits
        rounded = round_to_grid(image, bits)[None]
        upscaled: Array = sandwich(factor, rounded, bound=bound, bits=bits)[0]
        return upscaled


def texture(length_scale: float, size: int = 1024) -> Patch | Mosaic:
    """Choose how to draw a texture, as the 2018 program does for 1024 x 1024 pixels.

    Parameters
    ----------
    length_scale
        Of the kernel, in pixels of the image. From 50 on the image is one Gaussian
        process on an eighth of the points an axis; below it is a mosaic of patches.
    size
        Pixels along each side: a multiple of 8 for length-scales from 50 on, and for
        smaller ones more than a patch has.

    Returns
    -------
    Patch or Mosaic
        With `realization(seed, stream)`.

    Raises
    ------
    UsageError
        For a combination that can't be drawn.
    """
    if not 0 < length_scale < float("inf"):
        raise UsageError(f"length-scale {length_scale} isn't a positive number of pixels")
    if length_scale > _LONGEST * size:
        raise UsageError(
            f"length-scale {length_scale:g} px is so long that an image of {size} pixels is almost "
            "constant, and standardizing would turn it into rounding noise",
            f"use at most {_LONGEST * size:g} px, or a larger size",
        )
    if length_scale >= 50:
        if size % 8 or size < 32:
            raise UsageError(
                f"an image of {size} pixels can't be upscaled 8 times from a grid",
                "use a multiple of 8 from 32 on",
            )
        return Patch(size // 8, length_scale / 8, upscale=8, envelope=False)
    in_patch = min(8.0, length_scale)
    patch = Patch(50, in_patch, upscale=length_scale / in_patch)
    return Mosaic(size, patch, wrap=True, wrap_factor=1.246)


def uniform_integers(seed: int, stream: int, count: int, below: int) -> npt.NDArray[np.int64]:
    """Draw integers uniformly from [0, below), without bias and the same everywhere.

    Parameters
    ----------
    seed, stream
        Which random words to use (`gpgen.exact.normal.random_words`).
    count
        How many integers.
    below
        From 1 to 2**32.
    """
    # A word in the incomplete last run of `below` would favour small numbers: it is skipped.
    limit = np.uint64((1 << 64) // below * below - 1)
    wanted = count
    while True:
        words = random_words(seed, stream, wanted)
        fair = words[words <= limit]
        if len(fair) >= count:
            return (fair[:count] % np.uint64(below)).astype(np.int64)
        wanted += 8 + wanted // 2


def _wrap(image: Array, rows: int) -> None:
    image[:rows] += image[-rows:]
    image[-rows:] = image[:rows]


@lru_cache(maxsize=64)
def _axis_factor(patch: Patch) -> GridMatrix:
    return GridMatrix.rounded(patch._shaped(covariance_factor(patch.size, patch.length_scale)))
