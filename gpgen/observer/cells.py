"""The power of an image's modes, averaged over cells of neighbouring modes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.fft

from gpgen.observer.field_modes import Modes

__all__ = ["Cells", "in_modes"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]

_SINGLE: Final = {1: 256, 2: 12, 3: 6}
"""By the image's axes: lowest modes of an axis that have cells of their own."""

_WIDER: Final = {1: 1.02, 2: 1.1, 3: 1.25}
"""How much wider each further cell is than the one before."""


def in_modes(images: Images, periodic: tuple[bool, ...]) -> Images:
    """Return images in the modes of `gpgen.observer.axis_modes.modes_of_axis`.

    Those of a periodic axis are shifted by half a pixel, which leaves their powers alone.

    Parameters
    ----------
    images
        float32 or float64, shape (images, *shape).
    periodic
        Whether the ends meet, for each axis.

    Returns
    -------
    ndarray, the same shape and dtype
    """
    open_axes = [axis for axis, closed in enumerate(periodic, start=1) if not closed]
    found: Images = images
    if open_axes:
        found = scipy.fft.dctn(found, axes=open_axes, norm="ortho")
    for axis, closed in enumerate(periodic, start=1):
        if closed:
            found = _periodic(found, axis)
    return found


def _periodic(images: Images, axis: int) -> Images:
    pixels = images.shape[axis]
    waves = np.moveaxis(scipy.fft.rfft(images, axis=axis, norm="ortho"), axis, -1)
    out = np.empty((*waves.shape[:-1], pixels), dtype=images.dtype)
    out[..., 0] = waves[..., 0].real
    out[..., 1::2] = math.sqrt(2) * waves[..., 1:].real
    out[..., 2::2] = math.sqrt(2) * waves[..., 1 : (pixels + 1) // 2].imag
    if pixels % 2 == 0:
        out[..., -1] /= math.sqrt(2)
    return np.moveaxis(out, -1, axis)


@dataclass(frozen=True, eq=False)
class Cells:
    """Boxes of modes: single ones where the frequency is low, wider ones above.

    Parameters
    ----------
    shape
        The image's pixels.
    periodic
        Whether the ends meet, for each axis.
    """

    shape: tuple[int, ...]
    periodic: tuple[bool, ...]

    @functools.cached_property
    def _starts(self) -> list[npt.NDArray[np.int64]]:
        axes = len(self.shape)
        return [_starts(pixels, _SINGLE[axes], _WIDER[axes]) for pixels in self.shape]

    @functools.cached_property
    def modes(self) -> Modes:
        """All modes of an image, shape (modes, axes)."""
        grid = np.meshgrid(*map(np.arange, self.shape), indexing="ij")
        return np.stack(grid, -1).reshape(-1, len(self.shape))

    @functools.cached_property
    def cell_of_mode(self) -> npt.NDArray[np.int64]:
        """The cell that each mode lies in, shape (modes,)."""
        places = [
            np.searchsorted(starts, np.arange(pixels), side="right") - 1
            for starts, pixels in zip(self._starts, self.shape, strict=True)
        ]
        grid = np.meshgrid(*places, indexing="ij")
        found = np.ravel_multi_index(tuple(grid), tuple(map(len, self._starts)))
        return np.asarray(found, dtype=np.int64).reshape(-1)

    @functools.cached_property
    def counts(self) -> Array:
        """How many modes each cell holds."""
        found: Array = self._sums(np.ones((1, *self.shape)))[0]
        return found

    @functools.cached_property
    def frequencies(self) -> Array:
        """Each cell's mean frequency in cycles a pixel, 0 to about 0.5 an axis."""
        squares = [
            ((np.arange(pixels) + 1) // 2 / pixels if closed else np.arange(pixels) / pixels / 2)
            ** 2
            for pixels, closed in zip(self.shape, self.periodic, strict=True)
        ]
        whole: Array = functools.reduce(np.add.outer, squares)
        return self.means(np.sqrt(whole))

    def means(self, values: Array) -> Array:
        """Average a number of each mode over cells: any shape that holds the modes in order."""
        found: Array = self._sums(values.reshape(1, *self.shape))[0] / self.counts
        return found

    def powers(self, modes: Images) -> Array:
        """Return the mean squares of images' modes, float64, shape (images, cells)."""
        found: Array = self._sums(modes * modes) / self.counts
        return found

    def _sums(self, values: Images) -> Array:
        # The last axis first: it is contiguous, and leaves little for the others.
        for axis, starts in reversed(list(enumerate(self._starts, start=1))):
            values = np.add.reduceat(values, starts, axis=axis, dtype=np.float64)
        return values.reshape(len(values), -1)


def _starts(pixels: int, single: int, wider: float) -> npt.NDArray[np.int64]:
    starts, width = list(range(min(single, pixels))), 1.0
    place = float(len(starts))
    while place < pixels:
        starts.append(int(place))
        width *= wider
        place = math.floor(place + width)
    return np.array(starts, dtype=np.int64)
