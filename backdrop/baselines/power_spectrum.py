r"""The logarithm of an image's power by frequency, whatever the direction.

On a periodic axis the power is that of Fourier modes, on an open one that of cosine modes (DCT-II).
The Fourier series of an open image has a jump at the edges, whose power, falling as f^-2, hides
that of smooth textures; the cosine series continues the image by its mirror image and has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from backdrop.baselines.axes import check_axes, check_images
from gpgen.errors import UsageError

__all__ = ["PowerSpectrum"]

_TINY = 1e-12
"""Added to every power: far below rounding for images of variance 1, and no logarithm of 0."""

_AT_ONCE = 4_000_000
"""Pixels that are transformed together."""


class PowerSpectrum:
    """The mean power of an image's modes in rings of frequency, as a logarithm.

    The rings' edges grow by a constant factor, from the lowest frequency of the longest axis to the
    highest of all; a ring without a mode is left out. Directions are not told apart: textures that
    differ only in those look alike.

    Parameters
    ----------
    shape
        Pixels of each axis: one to three axes.
    periodic
        Whether opposite edges meet, for all axes or for each.
    rings
        How many.

    Attributes
    ----------
    count
        Number of features.
    frequencies
        The modes' mean frequency in each ring, cycles a pixel, shape ``(count,)``.

    Raises
    ------
    UsageError
        If the shape has not one to three axes of at least 8 pixels, or `rings` is below 1.
    """

    def __init__(
        self, shape: Sequence[int], periodic: bool | Sequence[bool] = False, *, rings: int = 24
    ) -> None:
        self.shape = tuple(shape)
        self._periodic = check_axes(shape, periodic)
        if rings < 1:
            raise UsageError(f"rings is {rings}", "choose at least 1")
        axes = [
            np.abs(np.fft.fftfreq(pixels)) if wraps else np.arange(pixels) / (2 * pixels)
            for pixels, wraps in zip(self.shape, self._periodic, strict=True)
        ]
        squares = [np.square(axis) for axis in axes]
        frequency = np.sqrt(sum(np.meshgrid(*squares, indexing="ij"))).ravel()
        lowest = frequency[frequency > 0].min()
        edges = np.geomspace(lowest, frequency.max(), rings + 1)
        # Both ends belong to a ring whatever their rounding; the mean, at 0, to none.
        ring = np.clip(np.searchsorted(edges, frequency, side="right") - 1, 0, rings - 1)
        ring[frequency == 0] = rings
        self._order = np.argsort(ring, kind="stable")
        sizes = np.bincount(ring, minlength=rings + 1)[:rings]
        self._sizes = sizes[sizes > 0]
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._order = self._order[: int(self._sizes.sum())]
        self.count = len(self._sizes)
        self.frequencies = np.add.reduceat(frequency[self._order], self._starts) / self._sizes

    def __call__(self, images: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the features, shape ``(sample, count)``, of images ``(sample, *axes)``.

        Raises
        ------
        UsageError
            If the images have another shape.
        """
        array = check_images(images, self.shape)
        step = max(1, _AT_ONCE // int(np.prod(self.shape)))
        parts = [self._features(array[at : at + step]) for at in range(0, len(array), step)]
        return np.concatenate(parts) if parts else np.empty((0, self.count))

    def _features(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        modes: npt.NDArray[Any] = images
        open_axes = [a for a, wraps in enumerate(self._periodic, start=1) if not wraps]
        closed = [a for a, wraps in enumerate(self._periodic, start=1) if wraps]
        if open_axes:
            modes = scipy.fft.dctn(modes, axes=open_axes, norm="ortho")
        if closed:
            modes = scipy.fft.fftn(modes, axes=closed, norm="ortho")
        power = (modes.real**2 + modes.imag**2) if closed else modes**2
        flat = power.reshape(len(images), -1)[:, self._order]
        means = np.add.reduceat(flat, self._starts, axis=1, dtype=np.float64) / self._sizes
        return np.log(means + _TINY)
