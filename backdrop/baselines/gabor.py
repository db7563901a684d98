r"""How strongly an image answers Gabor filters of many frequencies and directions.

A filter's transfer function is a Gaussian around one frequency vector; the feature is the logarithm
of the mean modulus of the filtered image. This is the first order of a scattering transform,
averaged over all positions. The second order tells about what isn't Gaussian, and textures that are
Gaussian need it little: with it an average scattering transform was worse on few images
(docs/results.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from backdrop.baselines.axes import check_axes, check_images

__all__ = ["GaborBank"]

_TINY = 1e-9
_HIGHEST = 0.25  # cycles a pixel
_STEP = math.sqrt(2)
_WIDTH = 0.25  # of the Gaussian, as a part of its centre's frequency
_REACH = 3  # widths of a Gaussian that are computed: the rest is below 0.012


@dataclass(frozen=True)
class _Filter:
    """A filter's transfer function around its centre, and where that is in the spectrum."""

    where: tuple[npt.NDArray[np.int64], ...]
    gain: npt.NDArray[np.float32]
    kept: tuple[slice, ...]


class GaborBank:
    """The logarithm of the mean modulus of an image behind Gabor filters.

    Frequencies from 0.25 cycles a pixel, half an octave apart, down to one cycle in the longest
    axis; at each of them one direction in one dimension, four in two, thirteen in three: all
    vectors of -1, 0 and 1 up to their sign. Each filter is computed on a grid as coarse as its band
    allows.
    An open axis is continued by its mirror image, and the modulus averaged over the image itself.

    Parameters
    ----------
    shape
        Pixels of each axis: one to three axes.
    periodic
        Whether opposite edges meet, for all axes or for each.

    Attributes
    ----------
    count
        Number of features.

    Raises
    ------
    UsageError
        If the shape has not one to three axes of at least 8 pixels.
    """

    def __init__(self, shape: Sequence[int], periodic: bool | Sequence[bool] = False) -> None:
        self.shape = tuple(shape)
        self._mirrored = tuple(not wraps for wraps in check_axes(shape, periodic))
        steps = math.floor(math.log(_HIGHEST * max(shape), _STEP) + 1e-9)
        self._filters = [
            self._filter(_HIGHEST / _STEP**step, direction)
            for step in range(steps + 1)
            for direction in _directions(len(self.shape))
        ]
        self.count = len(self._filters)

    def _filter(self, frequency: float, direction: npt.NDArray[np.float64]) -> _Filter:
        width = _WIDTH * frequency
        where, gains, kept = [], [], []
        for pixels, mirrored, cosine in zip(self.shape, self._mirrored, direction, strict=True):
            length = 2 * pixels if mirrored else pixels
            half = max(2, math.ceil(_REACH * width * length))
            size = min(int(scipy.fft.next_fast_len(2 * half + 1)), length)
            centre = frequency * float(cosine)
            mode = round(centre * length) + np.arange(size) - size // 2
            where.append(mode % length)
            gains.append(np.exp(-0.5 * ((mode / length - centre) / width) ** 2))
            kept.append(slice((size + 1) // 2 if mirrored else size))
        gain: npt.NDArray[Any] = np.ones(())
        for axis in gains:
            gain = np.multiply.outer(gain, axis)
        return _Filter(np.ix_(*where), gain.astype(np.float32), tuple(kept))

    def __call__(self, images: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the features, shape ``(sample, count)``, of images ``(sample, *axes)``.

        Raises
        ------
        UsageError
            If the images have another shape.
        """
        array = check_images(images, self.shape)
        features = np.empty((len(array), self.count))
        margins = [
            (0, pixels if mirrored else 0)
            for pixels, mirrored in zip(self.shape, self._mirrored, strict=True)
        ]
        for image, row in zip(array, features, strict=True):
            # The mirror image begins behind the image, so that this is the first half.
            spectrum = scipy.fft.fftn(np.pad(image, margins, mode="symmetric"), norm="forward")
            for column, each in enumerate(self._filters):
                band = scipy.fft.ifftn(spectrum[each.where] * each.gain, norm="forward")
                row[column] = np.abs(band[each.kept]).mean(dtype=np.float64)
        return np.log(features + _TINY)


def _directions(axes: int) -> list[npt.NDArray[np.float64]]:
    vectors = [np.array(v, float) for v in itertools.product((-1, 0, 1), repeat=axes)]
    half = vectors[len(vectors) // 2 + 1 :]  # behind the zero vector: the other half's negatives
    return [vector / np.linalg.norm(vector) for vector in half]
