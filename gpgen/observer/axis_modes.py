r"""A stationary covariance along one axis, seen in the axis's lowest modes.

On an open axis of N pixels the modes are the cosines of the discrete cosine transform,

.. math:: p_k(x) = \sqrt{(2 - \delta_{k0}) / N} \, \cos(\pi k (x + 1/2) / N),

on a periodic one the real Fourier modes: the mean, then a cosine and a sine of each frequency.
The constant is the first of either. On a periodic axis a stationary field's modes are
independent. On an open one they are nearly so, and even modes are independent of odd ones: these
are symmetrical and antisymmetrical about the middle.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.linalg

__all__ = ["mode_matrix", "mode_powers", "modes_of_axis", "spectrum_of_modes"]

Array = npt.NDArray[np.float64]


def modes_of_axis(pixels: int, count: int, periodic: bool) -> Array:
    """Return an axis's lowest modes: orthonormal rows, shape (count, pixels)."""
    place = np.arange(pixels) + 0.5
    mode = np.arange(count)[:, None]
    if periodic:
        angle = 2 * math.pi * ((mode + 1) // 2) * place / pixels
        # Of the highest frequency of an even axis the sine alone is not 0 at half-pixels.
        is_sine = (mode % 2 == 0) & (mode > 0) | (mode % 2 == 1) & (mode == pixels - 1)
        rows = np.where(is_sine, np.sin(angle), np.cos(angle))
    else:
        rows = np.cos(math.pi * mode * place / pixels)
    unit: Array = rows / np.linalg.norm(rows, axis=1)[:, None]
    return unit


def mode_powers(covariance: Array, periodic: bool) -> Array:
    r"""Return the variance of each mode of an axis, for a covariance of one axis alone.

    On an open axis, with :math:`a = \pi k/N` and the covariance c, for k > 0

    .. math:: c(0) + \frac{2}{N} \sum_{d=1}^{N-1} c(d)
              \left[(N - d) \cos ad - \frac{\sin ad}{\sin a}\right].

    Parameters
    ----------
    covariance
        At the distances 0 to N - 1 pixels, the shorter way round on a periodic axis. Shape
        (N, ...): any further axes are taken along.
    periodic
        Whether the axis's ends meet.

    Returns
    -------
    ndarray of float64, shape (N, ...)
    """
    pixels = len(covariance)
    if periodic:
        return spectrum_of_modes(covariance, periodic=True)
    distance = _column(np.arange(pixels), covariance)
    sine = -np.imag(scipy.fft.rfft(covariance, 2 * pixels, axis=0))[:pixels]
    tapered = covariance * (pixels - distance)
    cosine = np.real(scipy.fft.rfft(tapered, 2 * pixels, axis=0))[:pixels]
    powers: Array = (2 * cosine - tapered[0]) / pixels
    of_mode = np.sin(math.pi * np.arange(1, pixels) / pixels)
    powers[1:] -= 2 * sine[1:] / _column(pixels * of_mode, covariance)
    return powers


def spectrum_of_modes(covariance: Array, periodic: bool) -> Array:
    """Return the spectral density at each mode's frequency: its variance on an endless axis.

    Parameters and shape are those of `mode_powers`. On a periodic axis both are the same.
    """
    pixels = len(covariance)
    if periodic:
        by_frequency = np.real(scipy.fft.rfft(covariance, axis=0))
        found: Array = by_frequency[(np.arange(pixels) + 1) // 2]
        return found
    cosine = np.real(scipy.fft.rfft(covariance, 2 * pixels, axis=0))[:pixels]
    spectrum: Array = 2 * cosine - covariance[0]
    return spectrum


def mode_matrix(covariance: Array, count: int) -> Array:
    """Return the covariance of an open axis's lowest modes, shape (count, count)."""
    modes = modes_of_axis(len(covariance), count, periodic=False)
    matrix = modes @ scipy.linalg.matmul_toeplitz(covariance, modes.T, check_finite=False)
    parity = np.arange(count) % 2
    symmetrical: Array = np.where(parity[:, None] == parity, (matrix + matrix.T) / 2, 0.0)
    return symmetrical


def _column(values: Array | npt.NDArray[np.int64], like: Array) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(-1, *(1,) * (like.ndim - 1))
