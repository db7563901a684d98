r"""White noise convolved with a kernel's root, exactly, by whatever FFT there is.

The root g is a multiple of 2^-28 (`gpgen.exact.torus`) and the noise z of 2^-14, so that every
pixel of their convolution is a multiple of 2^-42. An FFT in float64 comes within 0.02 of that
integer, and rounding finds it: the same bits with any library, on any processor.

No useful bound of an FFT's error holds in advance, so each sample is certified after the fact:
every pixel lies within 1/8 of an integer, and a weighted sum of the pixels, modulo 2^64, is the sum
of the noise times that of the root where it falls, which integers give exactly. A sample that fails
is computed again with the noise in two parts of 8 and 10 bits, whose convolutions have much
smaller errors.

The error analysis is in docs/kernels.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import GpgenError
from gpgen.exact.fourier import Fourier, LibraryArray
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

_WEIGHTS: Final = np.array(
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64
)
"""Of the second part of each axis in the checksum: odd numbers without a pattern."""

_BLOCK: Final = 2**15
"""Numbers at a time that stay in a core's cache."""


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
        """What each noise number adds to the checksum of the image, modulo 2^64.

        In units of ``2**-ROOT_BITS``, shape `torus.sizes`: the root's weighted sum over an image
        that begins at minus the number's place.
        """
        sums = self.torus.whole_root()
        for axis, (n, m) in enumerate(zip(self.torus.grid.pixels, self.torus.sizes, strict=True)):
            lines = np.moveaxis(sums, axis, 0)
            running = np.zeros((2 * m + 1, *lines.shape[1:]), dtype=np.int64)
            np.cumsum(np.concatenate([lines, lines]), axis=0, out=running[1:])
            start, middle = -np.arange(m) % m, _middle(n)
            first = running[start + middle] - running[start]
            second = running[start + n] - running[start + middle]
            sums = np.moveaxis(first + second * _WEIGHTS[axis].astype(np.int64), 0, axis)
        return np.ascontiguousarray(sums)

    def checksums(self, lines: LibraryArray) -> LibraryArray:
        """Return the weighted sum of each image's pixels, modulo 2^64, as int64.

        The image is cut in two along each axis, and what lies behind has another weight: errors
        that cancel in the sum of all pixels, as those of one number of the spectrum do, don't in
        each of the parts.

        Parameters
        ----------
        lines
            That sum of each line along the last axis, which has one entry (`_sums_of_lines`).
        """
        total = 0
        halves = [
            ((slice(None, _middle(n)), 1), (slice(_middle(n), None), int(weight)))
            for n, weight in zip(self.torus.grid.pixels[:-1], _WEIGHTS, strict=False)
        ]
        for parts in itertools.product(*halves):
            where = (slice(None), *(place for place, _ in parts))
            weight = _as_int64(math.prod(weight for _, weight in parts))
            total += lines[where].reshape(len(lines), -1).sum(1) * weight
        return total

    def noise(self, seeds: npt.NDArray[np.uint64], stream: int, fourier: Fourier) -> LibraryArray:
        """Draw some samples' noise.

        Parameters
        ----------
        seeds
            The samples' seeds, shape (samples,).
        stream
            The component's position in the recipe.
        fourier
            The library.

        Returns
        -------
        The library's array of float64, shape (samples, *torus.sizes)
            Whole numbers, in units of ``2**-NOISE_BITS``.
        """
        noise = fourier.short_normal(seeds, stream, self.torus.points, NOISE_BITS)
        noise *= 2.0**NOISE_BITS
        return noise.reshape(-1, *self.torus.sizes)

    def parts(self, count: int, fourier: Fourier) -> Iterator[slice]:
        """Divide samples into so many as are best drawn together."""
        step = max(1, fourier.noise_numbers // self.torus.points)
        for start in range(0, count, step):
            yield slice(start, start + step)

    def draw(self, noise: LibraryArray, fourier: Fourier) -> LibraryArray:
        """Draw fields from their noise.

        Parameters
        ----------
        noise
            What `noise` returned.
        fourier
            The library.

        Returns
        -------
        The library's array of int64, shape (samples, *torus.grid.pixels)
            In units of ``2**-PIXEL_BITS``.

        Raises
        ------
        GpgenError
            If the library's FFT is wrong.
        """
        expected = fourier.dot(noise.reshape(len(noise), -1), loaded_sums(self, fourier))
        with np.errstate(over="ignore", invalid="ignore"):  # certified below
            pixels, lines, distance = self._rounded(noise, fourier)
            if distance < _CLOSE and bool((self.checksums(lines) == expected).all()):
                return pixels
            upper = (noise / _LIMB).round()
            high, high_lines, high_distance = self._rounded(upper, fourier)
            low, lines, low_distance = self._rounded(noise - upper * _LIMB, fourier)
            lines += high_lines * int(_LIMB)
            right = bool((self.checksums(lines) == expected).all())
            if max(high_distance, low_distance) < _CLOSE and right:
                return high * int(_LIMB) + low
        raise GpgenError(
            f"{fourier}: its Fourier transform of {self.torus.sizes} numbers is wrong",
            "update the library, or check the machine's memory and processor",
        )

    def _rounded(
        self, noise: LibraryArray, fourier: Fourier
    ) -> tuple[LibraryArray, LibraryArray, float]:
        """Convolve, and return the nearest integers, sums of lines, and the largest distance."""
        values = self._without_last_axis(noise, fourier)
        shape = (len(noise), *self.torus.grid.pixels)
        pixels = fourier.empty_integers(shape)
        lines = fourier.empty_integers((*shape[:-1], 1))
        distance = 0.0
        for rows in _blocks(pixels, fourier):
            exact = self._last_axis(values[rows], fourier)
            nearest = exact.round()
            pixels[rows] = nearest
            lines[rows] = self._sums_of_lines(pixels[rows])
            nearest -= exact
            # `max` would pass over NaN.
            for far in (float(nearest.max()), -float(nearest.min())):
                distance = far if far > distance or math.isnan(far) else distance
        return pixels, lines, distance

    def _sums_of_lines(self, block: LibraryArray) -> LibraryArray:
        middle, weight = _middle(block.shape[-1]), _as_int64(int(_WEIGHTS[block.ndim - 2]))
        sums = block[..., :middle].sum(-1) + block[..., middle:].sum(-1) * weight
        return sums[..., None]

    def convolve(self, noise: LibraryArray, fourier: Fourier) -> LibraryArray:
        """Return the convolutions as an FFT gives them, in the image: float64, not rounded."""
        return self._last_axis(self._without_last_axis(noise, fourier), fourier)

    def _without_last_axis(self, noise: LibraryArray, fourier: Fourier) -> LibraryArray:
        """Return the convolutions, in the image but along the last axis, which is a spectrum."""
        last = noise.ndim - 1
        values = fourier.rfft(noise, last)
        for axis in range(1, last):
            values = fourier.fft(values, axis)
        values *= loaded_spectrum(self.torus, fourier)
        for axis, pixels in enumerate(self.torus.grid.pixels[:-1], start=1):
            values = fourier.ifft(values, axis)[(slice(None),) * axis + (slice(pixels),)]
        return values

    def _last_axis(self, values: LibraryArray, fourier: Fourier) -> LibraryArray:
        back = fourier.irfft(values, self.torus.sizes[-1], values.ndim - 1)
        return back[..., : self.torus.grid.pixels[-1]]


def _middle(pixels: int) -> int:
    """Return where an axis is cut: two fifths of it, by a number that has no factor 2, 3 or 5.

    The waves of a torus, whose size has no others, then have no whole periods in the part.
    """
    middle = 2 * pixels // 5
    while middle > 1 and math.gcd(middle, 30) > 1:
        middle -= 1
    return max(middle, 1)


def _blocks(x: LibraryArray, fourier: Fourier) -> Iterator[tuple[slice, ...]]:
    """Yield ranges of images' first axis, few enough numbers each to stay in a core's cache."""
    most = fourier.block_numbers
    if x.ndim == 2 or most is None:
        yield (slice(None),)
        return
    rows = max(1, most // (len(x) * math.prod(x.shape[2:])))
    for start in range(0, x.shape[1], rows):
        yield slice(None), slice(start, start + rows)


def _as_int64(number: int) -> int:
    """Return what stands for a number modulo 2^64."""
    return (number + _MODULUS // 2) % _MODULUS - _MODULUS // 2


@lru_cache(maxsize=64)
def loaded_spectrum(torus: Torus, fourier: Fourier) -> LibraryArray:
    """Return the root's transform as an array of the library."""
    return fourier.load(torus.spectrum())


@lru_cache(maxsize=64)
def loaded_sums(convolution: Convolution, fourier: Fourier) -> LibraryArray:
    """Return `Convolution.sums` in one line, as an array of the library."""
    return fourier.load(convolution.sums.reshape(-1))


def standardized(pixels: LibraryArray, fourier: Fourier) -> tuple[LibraryArray, Array]:
    """Take the mean from each field, and find its deviation, from the integers.

    Parameters
    ----------
    pixels
        The library's array of int64, shape (samples, *pixels).
    fourier
        The library.

    Returns
    -------
    centred
        The library's array of float64, in the same units: whole numbers whose mean is at most
        1/2.
    deviation
        float64, shape (samples,): over the pixels, in the same units, to 1e-8 of itself; the
        same everywhere. 0 if all are equal.
    """
    samples, count = len(pixels), math.prod(pixels.shape[1:])
    roughly: LibraryArray = 0.0
    wrapped: LibraryArray = 0
    ends = []
    for rows in _blocks(pixels, fourier):
        block = pixels[rows].reshape(samples, -1)
        roughly += fourier.floats(block).sum(1)
        wrapped += block.sum(1)
        ends.append(fourier.ends(block))
    low = np.min([least for least, _ in ends], axis=0).tolist()
    high = np.max([largest for _, largest in ends], axis=0).tolist()
    sums = zip(fourier.to_numpy(roughly).tolist(), fourier.to_numpy(wrapped).tolist(), strict=True)
    # The sum modulo 2^64 is exact, and the rounded one tells which multiple of it was lost.
    totals = [int(near) + _as_int64(exact - int(near)) for near, exact in sums]
    means = [(2 * total + count) // (2 * count) for total in totals]
    # So many bits of each that their squares add up to less than 2^63.
    kept = (62 - count.bit_length()) // 2
    dropped = [
        max(0, max(high[k] - mean, mean - low[k]).bit_length() - kept)
        for k, mean in enumerate(means)
    ]
    axes = (1,) * (pixels.ndim - 1)
    mean, drop, half = (
        fourier.load(np.array(numbers, np.int64)).reshape(-1, *axes)
        for numbers in (means, dropped, [(1 << bits) >> 1 for bits in dropped])
    )
    centred = fourier.empty_floats(pixels.shape)
    squares: LibraryArray = 0
    for rows in _blocks(pixels, fourier):
        block = pixels[rows] - mean
        centred[rows] = block
        # In place: new arrays cost more than what is computed.
        block += half
        block >>= drop
        block *= block
        squares += block.reshape(samples, -1).sum(1)
    deviations = [
        math.ldexp(math.sqrt(square / count), bits)
        for square, bits in zip(fourier.to_numpy(squares).tolist(), dropped, strict=True)
    ]
    return centred, np.array(deviations)
