"""What a component of a texture must be able to do, in whatever way it is drawn.

`gpgen.exact.field_kinds` chooses the kind; `gpgen.exact.drawing` adds the components up.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gpgen.exact.arrays import Arrays, LibraryArray
from gpgen.exact.axis import AxisFactor

__all__ = ["Contribution", "Field", "Grid"]


class Contribution(NamedTuple):
    """What a component adds to the images of some samples.

    Either or both of a product along the last axis and pixels: ``rows @ last.T - shift``, where
    `last` is the matrix of `Field.last_factor`, and to `samples` their `pixels` times `scale`.

    Parameters
    ----------
    rows
        The library's array, shape (samples, pixels of each leading axis, columns of the last
        axis); None for pixels alone.
    bound
        Of the absolute value of any partial sum of that product, float64, shape (samples,).
    shift
        float64, shape (samples,).
    samples, pixels
        Which samples, and the library's array, shape (how many, *shape); None for none.
    scale
        What these are still to be multiplied by: float64, shape (how many,); None for 1.
    """

    rows: LibraryArray | None
    bound: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    samples: npt.NDArray[np.int64] | slice = slice(None)
    pixels: LibraryArray | None = None
    scale: npt.NDArray[np.float64] | None = None

    def scaled_pixels(self, arrays: Arrays, where: tuple[Any, ...] = ()) -> LibraryArray:
        """Return the pixels at some place, times their scale."""
        assert self.pixels is not None  # noqa: S101 - narrows the type
        pixels = self.pixels[where]
        if self.scale is None:
            return pixels
        return pixels * arrays.load(self.scale).reshape(-1, *(1,) * (pixels.ndim - 1))


class Grid(NamedTuple):
    """On what grid sums are exact.

    Parameters
    ----------
    bits_used
        Bits that the largest possible partial sum takes; no more than 53 are exact.
    spacing
        The spacing of the grid to which intermediate values are rounded.
    """

    bits_used: float
    spacing: float


class Field(Protocol):
    """One component at one length-scale, on a pixel grid. Frozen and hashable."""

    @property
    def factors(self) -> tuple[AxisFactor, ...]:
        """What has to be built and proved before it can be drawn."""
        ...

    @property
    def torus_points(self) -> int:
        """Points of a torus whose transforms it keeps; 0 if there is none."""
        ...

    @property
    def last_factor(self) -> AxisFactor | None:
        """What a contribution's rows are multiplied by; None if it has pixels alone.

        All components that have one are multiplied and added up in one product, on one grid.
        """
        ...

    @property
    def grid(self) -> Grid | None:
        """Its own grid; None if it shares one with others."""
        ...

    @property
    def covariance_error(self) -> float:
        """Bound of the absolute error of the covariance of any two pixels."""
        ...

    @property
    def gain(self) -> float:
        """The largest value that noise of at most one in absolute value can become."""
        ...

    @property
    def relative_deviation(self) -> float:
        """Root of the expected variance over the pixels of one image; at most about 1."""
        ...

    def draw(
        self,
        arrays: Arrays,
        seeds: npt.NDArray[np.uint64],
        stream: int,
        weights: npt.NDArray[np.float64],
        standardize: bool,
    ) -> Contribution:
        """Draw the component for some samples.

        Parameters
        ----------
        arrays
            Where to compute the products.
        seeds
            The samples' seeds, shape (samples,).
        stream
            The component's position in the recipe.
        weights
            What each sample's field is multiplied by, shape (samples,).
        standardize
            Whether each sample gets mean 0 and its weight as deviation over its pixels.
        """
        ...
