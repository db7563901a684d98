"""Circulant embedding of the squared exponential kernel, written with scipy for speed.

The field is drawn on a torus so large that the kernel has died away before it
meets itself (Dietrich & Newsam 1997), and cropped. What an expert would do is
done: the spectrum is computed once, noise is drawn straight into the half
spectrum, buffers are reused, sides are lengths that the FFT likes, and float32
is on offer. `PrunedCirculantEmbedding` goes further and leaves out every mode
that carries nothing, in the noise and in the first of the two transforms.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["CirculantEmbedding", "CirculantPair", "PrunedCirculantEmbedding", "torus"]

# exp(-5.7**2 / 2) = 9e-8: the covariance that wraps around the torus.
REACH = 5.7
# Variance left out along one axis by dropping modes.
TAIL = 1e-7

COMPLEX: dict[type, type] = {np.float32: np.complex64, np.float64: np.complex128}


class Normals(Protocol):
    """The part of `numpy.random.Generator` that is used here."""

    def standard_normal(self, *, dtype: type[np.floating], out: NDArray[Any]) -> object: ...


def torus(side: int, length_scale: float) -> tuple[int, NDArray[np.float64]]:
    """Side of the padded torus in pixels, and the kernel's spectrum along one axis."""
    padded = side + math.ceil(REACH * length_scale)
    while True:
        padded = fft.next_fast_len(padded, real=True)
        if padded % 2 == 0:
            break
        padded += 1
    distance = np.minimum(np.arange(padded), padded - np.arange(padded))
    covariance = np.exp(-0.5 * (distance / length_scale) ** 2)
    return padded, np.maximum(fft.fft(covariance).real / padded, 0.0)


class CirculantEmbedding:
    """One field from one inverse real FFT of the padded torus.

    ``irfft2`` reads only the real part of what the first and the last column of
    the half spectrum hold, so independent complex noise will do there too, with
    twice the variance: nothing has to be made Hermitian.
    """

    def __init__(self, side: int, length_scale: float, dtype: type[np.floating]) -> None:
        self.side, self.dtype = side, dtype
        self.padded, spectrum = torus(side, length_scale)
        half = spectrum[: self.padded // 2 + 1]
        amplitude = np.sqrt(0.5 * spectrum[:, None] * half[None, :])
        amplitude[:, [0, -1]] *= math.sqrt(2)
        self.amplitude = amplitude.astype(dtype)
        self.noise = np.empty((*amplitude.shape, 2), dtype)

    def draw(self, random: Normals) -> NDArray[Any]:
        """One field, ``(side, side)``, zero mean and unit variance in expectation."""
        random.standard_normal(dtype=self.dtype, out=self.noise)
        modes = self.noise.view(COMPLEX[self.dtype])[..., 0]
        modes *= self.amplitude
        shape = (self.padded, self.padded)
        field: NDArray[Any] = fft.irfft2(
            modes, s=shape, norm="forward", overwrite_x=True, workers=1
        )
        return field[: self.side, : self.side]


class CirculantPair:
    """Two fields at a time: real and imaginary part of one complex FFT."""

    def __init__(self, side: int, length_scale: float, dtype: type[np.floating]) -> None:
        self.side, self.dtype = side, dtype
        self.padded, spectrum = torus(side, length_scale)
        self.amplitude = np.sqrt(np.multiply.outer(spectrum, spectrum)).astype(dtype)
        self.noise = np.empty((*self.amplitude.shape, 2), dtype)

    def draw(self, random: Normals) -> NDArray[Any]:
        """Two independent fields, ``(2, side, side)``."""
        random.standard_normal(dtype=self.dtype, out=self.noise)
        modes = self.noise.view(COMPLEX[self.dtype])[..., 0]
        modes *= self.amplitude
        both = fft.fft2(modes, overwrite_x=True, workers=1)[: self.side, : self.side]
        return np.stack([both.real, both.imag])


class PrunedCirculantEmbedding:
    """As `CirculantEmbedding`, with only the modes that carry the field.

    A smooth field needs few: noise is drawn for those alone, the first transform
    runs over their columns alone and the second over the rows that are kept.
    """

    def __init__(self, side: int, length_scale: float, dtype: type[np.floating]) -> None:
        self.side, self.dtype = side, dtype
        self.padded, spectrum = torus(side, length_scale)
        left_out = 1 - (2 * np.cumsum(spectrum[: self.padded // 2]) - spectrum[0])
        enough = np.flatnonzero(left_out < TAIL)
        self.highest = int(enough[0]) if len(enough) else self.padded // 2 - 1
        rows = np.r_[0 : self.highest + 1, -self.highest : 0]
        columns = spectrum[: self.highest + 1]
        amplitude = np.sqrt(0.5 * spectrum[rows][:, None] * columns[None, :])
        amplitude[:, 0] *= math.sqrt(2)
        self.amplitude = amplitude.astype(dtype)
        self.noise = np.empty((*amplitude.shape, 2), dtype)
        self.columns = np.zeros((self.padded, self.highest + 1), COMPLEX[dtype])

    def draw(self, random: Normals) -> NDArray[Any]:
        """One field, ``(side, side)``, zero mean and unit variance in expectation."""
        random.standard_normal(dtype=self.dtype, out=self.noise)
        modes = self.noise.view(COMPLEX[self.dtype])[..., 0]
        modes *= self.amplitude
        self.columns[: self.highest + 1] = modes[: self.highest + 1]
        self.columns[len(self.columns) - self.highest :] = modes[self.highest + 1 :]
        along_y = fft.ifft(self.columns, axis=0, norm="forward", workers=1)[: self.side]
        field: NDArray[Any] = fft.irfft(
            along_y, n=self.padded, axis=1, norm="forward", overwrite_x=True, workers=1
        )
        return field[:, : self.side]
