r"""White noise convolved with a kernel's root, exactly, by whatever FFT there is.

The root g is a multiple of 2^-28 (`gpgen.exact.torus`) and the noise z of 2^-14, so that every
pixel of their convolution is a multiple of 2^-42. An FFT in float64 comes within 0.02 of that
integer, and rounding finds it: the same bits with any library, on any processor.

No useful bound of an FFT's error holds in advance, so each sample is certified after the fact:
every pixel lies within 1/8 of an integer, and the pixels' sum, modulo 2^64, is the sum of the
noise times the sums of the root that it falls on, which integers give exactly. A sample that fails
is computed again with the noise in two parts of 8 and 10 bits, whose convolutions have much
smaller errors.

The error analysis is in docs/kernels.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import GpgenError
from gpgen.exact.fourier import Fourier, LibraryArray
from gpgen.exact.normal import random_words, standard_normal
from gpgen.exact.torus import ROOT_BITS, Torus

__all__ = ["NOISE_BITS", "PIXEL_BITS", "Convolution", "standardized"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NOISE_BITS: Final = 14
"""Noise is rounded to multiples of ``2**-NOISE_BITS``."""

PIXEL_BITS: Final = NOISE_BITS + ROOT_BITS
"""Pixels are multiples of ``2**-PIXEL_BITS``."""

_CLOSE: Final = 1 / 8
"""How far from an integer a certified convolution may lie."""

_LIMB: Final = 2.0**8
"""The noise in two parts: ``_LIMB * upper + lower``."""

_MODULUS: Final = 2**64


@dataclass(frozen=True)
class Convolution:
    """Draws fields on a torus.

    Parameters
    ----------
    torus
        The kernel.
    """

    torus: Torus

    @cached_property
    def sums(self) -> Integers:
        """What each noise number adds to the sum over the image, shape `torus.sizes`.

        In units of ``2**-ROOT_BITS``: the root's sum over an image that begins at minus the
        number's place.
        """
        sums = self.torus.whole_root()
        for axis, (n, m) in enumerate(zip(self.torus.grid.pixels, self.torus.sizes, strict=True)):
            lines = np.moveaxis(sums, axis, 0)
            running = np.zeros((2 * m + 1, *lines.shape[1:]), dtype=np.int64)
            np.cumsum(np.concatenate([lines, lines]), axis=0, out=running[1:])
            start = -np.arange(m) % m
            sums = np.moveaxis(running[start + n] - running[start], 0, axis)
        return np.ascontiguousarray(sums)

    def noise(self, seed: int, stream: int) -> Array:
        """Draw a sample's noise.

        Parameters
        ----------
        seed
            The sample's seed.
        stream
            The component's position in the recipe.

        Returns
        -------
        ndarray of float64, shape `torus.sizes`
            Whole numbers, in units of ``2**-NOISE_BITS``.
        """
        noise = standard_normal(random_words(seed, stream, self.torus.points), NOISE_BITS)
        noise *= 2.0**NOISE_BITS
        return noise.reshape(self.torus.sizes)

    def draw(self, seed: int, stream: int, fourier: Fourier) -> LibraryArray:
        """Draw one sample's field.

        Parameters
        ----------
        seed, stream
            As in `noise`.
        fourier
            The FFT library.

        Returns
        -------
        The library's array of int64, shape `torus.grid.pixels`
            In units of ``2**-PIXEL_BITS``.

        Raises
        ------
        GpgenError
            If the library's FFT is wrong.
        """
        noise = self.noise(seed, stream)
        expected = self._expected_sum(noise)
        with np.errstate(over="ignore", invalid="ignore"):  # certified below
            pixels, distance = self._rounded(noise, fourier)
            if distance < _CLOSE and int(pixels.sum()) % _MODULUS == expected:
                return pixels
            upper = np.rint(noise / _LIMB)
            high, high_distance = self._rounded(upper, fourier)
            low, low_distance = self._rounded(noise - upper * _LIMB, fourier)
            pixels, distance = high * int(_LIMB) + low, max(high_distance, low_distance)
            if distance < _CLOSE and int(pixels.sum()) % _MODULUS == expected:
                return pixels
        raise GpgenError(
            f"{fourier}: its Fourier transform of {self.torus.sizes} numbers is wrong",
            "update the library, or check the machine's memory and processor",
        )

    def _expected_sum(self, noise: Array) -> int:
        whole = noise.astype(np.int64).reshape(-1)
        # Unsigned, since overflow is meant.
        return int(np.dot(whole.view(np.uint64), self.sums.reshape(-1).view(np.uint64)))

    def _rounded(self, noise: Array, fourier: Fourier) -> tuple[LibraryArray, float]:
        """Convolve, and return the nearest integers and the largest distance from them."""
        exact = self.convolve(noise, fourier)
        nearest = exact.round()
        exact -= nearest
        distance = max(float(exact.max()), -float(exact.min()))
        return fourier.integers(nearest), distance if math.isfinite(distance) else math.inf

    def convolve(self, noise: Array, fourier: Fourier) -> LibraryArray:
        """Return the convolution as an FFT gives it, in the image: float64, not rounded."""
        values = fourier.load(noise)
        last = values.ndim - 1
        values = fourier.rfft(values, last)
        for axis in range(last):
            values = fourier.fft(values, axis)
        values *= loaded_spectrum(self.torus, fourier)
        for axis, pixels in enumerate(self.torus.grid.pixels[:-1]):
            values = fourier.ifft(values, axis)[(slice(None),) * axis + (slice(pixels),)]
        return fourier.irfft(values, self.torus.sizes[-1], last)[..., : self.torus.grid.pixels[-1]]


@lru_cache(maxsize=64)
def loaded_spectrum(torus: Torus, fourier: Fourier) -> LibraryArray:
    """Return the root's transform as an array of the library."""
    return fourier.load(torus.spectrum())


def standardized(pixels: LibraryArray, fourier: Fourier) -> tuple[LibraryArray, float]:
    """Take the mean from one field, and find its deviation, from the integers.

    Parameters
    ----------
    pixels
        The library's array of int64.
    fourier
        The library.

    Returns
    -------
    centred
        The library's array of float64, in the same units: whole numbers whose mean is at most
        1/2.
    deviation
        Over the pixels, in the same units, to 1e-8 of itself; the same everywhere. 0 if all are
        equal.
    """
    count = math.prod(pixels.shape)
    # The sum modulo 2^64 is exact, and the rounded one tells which multiple of it was lost.
    roughly = int(float(fourier.floats(pixels).sum()))
    wrapped = int(pixels.sum())
    total = roughly + (wrapped - roughly + _MODULUS // 2) % _MODULUS - _MODULUS // 2
    centred = pixels - (2 * total + count) // (2 * count)
    largest = max(int(centred.max()), -int(centred.min()))
    # So many bits of each that their squares add up to less than 2^63.
    kept = (62 - count.bit_length()) // 2
    dropped = max(0, largest.bit_length() - kept)
    # In place: new arrays of this size cost more than what is computed.
    squared = centred + ((1 << dropped) >> 1)
    squared >>= dropped
    squared *= squared
    squares = int(squared.sum())
    return fourier.floats(centred), math.ldexp(math.sqrt(squares / count), dropped)
