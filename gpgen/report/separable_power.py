r"""The expected periodogram of a standardized image whose covariance is a product over the axes.

Standardizing takes the mean away, so that only :math:`P_0` changes, to 0; and divides by the
image's own variance :math:`s^2 = x^T C x/n`, :math:`C = 1 - 11^T/n`, which is random and depends
on x. The mean of the ratio of two quadratic forms of a normal vector is (Magnus 1986, Annales
d'Économie et de Statistique 4, 95)

.. math:: E\frac{P_k}{s^2} = n \int_0^\infty \det(1 + 2tKC)^{-1/2}
          \; u_k^* K (1 + 2tCK)^{-1} u_k \, dt.

K is a product over the axes, and so are its eigenvectors; C adds a matrix of rank one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.kernels import KERNELS
from gpgen.report.not_computed import NotComputedError
from gpgen.report.quadrature import nodes

__all__ = ["separable_power"]

Array = npt.NDArray[np.float64]

_MOST_EIGENVALUES: Final = 2**22
"""Beyond these the integral takes minutes."""

_NEGLIGIBLE: Final = 1e-12
"""Eigenvalues below this part of the largest are left out."""


@dataclass(frozen=True)
class _Axis:
    """The eigenvectors of one axis's covariance matrix.

    Parameters
    ----------
    values
        Eigenvalues.
    power
        Each eigenvector's power at the waves 0 to half the pixels, shape (waves, eigenvectors).
    sums
        Its product with the constant vector of length one.
    even
        Which of them have a sum: symmetrical ones.
    waves
        The symmetrical ones' amplitudes, which are real from the middle of the axis.
    """

    values: Array
    power: Array
    sums: Array
    even: npt.NDArray[np.bool_]
    waves: Array

    @classmethod
    def of(cls, covariance: Callable[[Array], Array], pixels: int, periodic: bool) -> _Axis:
        places = np.arange(pixels, dtype=np.float64)
        distance = np.abs(places[:, None] - places)
        if periodic:
            distance = np.minimum(distance, pixels - distance)
        values, vectors = np.linalg.eigh(covariance(distance))
        kept = values > _NEGLIGIBLE * values[-1]
        waves = np.fft.rfft(vectors[:, kept], axis=0) / math.sqrt(pixels)
        sums = np.real(waves[0])
        even = np.abs(sums) > _NEGLIGIBLE
        middle = np.exp(1j * math.pi * (pixels - 1) / pixels * np.arange(len(waves)))
        real = np.real(waves[:, even] * middle[:, None])
        return cls(values[kept], np.abs(waves) ** 2, sums, even, real)


def _outer(parts: Sequence[Array]) -> Array:
    return functools.reduce(np.multiply.outer, parts)


def _transform(matrices: Sequence[Array], x: Array) -> Array:
    """Multiply each axis of x by its matrix."""
    for axis, matrix in enumerate(matrices):
        x = np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)
    return x


@functools.lru_cache(maxsize=16)
def separable_power(
    kernel: str,
    lengths: tuple[float, ...],
    shape: tuple[int, ...],
    periodic: tuple[bool, ...],
) -> Array:
    """Return the expected power of a standardized field.

    Parameters
    ----------
    kernel
        A key of `gpgen.exact.kernels.KERNELS`.
    lengths
        Its length-scale along each axis, in pixels.
    shape, periodic
        The image's axes.

    Returns
    -------
    ndarray of float64, shape (half the pixels of each axis + 1)
        Of the waves 0 to half the pixels.

    Raises
    ------
    NotComputedError
        If it would take minutes.
    """
    axes = [
        _Axis.of(KERNELS[kernel](length).covariance, pixels, closed)
        for length, pixels, closed in zip(lengths, shape, periodic, strict=True)
    ]
    if math.prod(len(axis.values) for axis in axes) > _MOST_EIGENVALUES:
        raise NotComputedError("of images as large as these it would take minutes")
    values = _outer([axis.values for axis in axes])
    sums = _outer([axis.sums for axis in axes])
    even = np.ix_(*(axis.even for axis in axes))
    left_out = max(0.0, 1 - float(np.sum(sums**2)))
    mean = np.zeros_like(values)
    power = np.zeros([len(axis.power) for axis in axes])
    for t, width in nodes(float(np.sum(values * (1 - sums**2)))):
        # 1 + 2tKC is diagonal but for a matrix of rank one: Sherman and Morrison.
        shrunk = values / (1 + 2 * t * values)
        rank_one = left_out + float(np.sum(sums**2 / (1 + 2 * t * values)))
        root = math.exp(-0.5 * (float(np.sum(np.log1p(2 * t * values))) + math.log(rank_one)))
        if t * values.max() > 1 and width * root * float(shrunk.sum()) < 1e-9:
            break
        mean += width * root * shrunk
        along = _transform([axis.waves for axis in axes], (shrunk * sums)[even]) ** 2
        power += width * root * 2 * t / rank_one * along
    power += _transform([axis.power for axis in axes], mean)
    power.flat[0] = 0.0
    return np.asarray(math.prod(shape) * power)
