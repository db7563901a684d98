r"""What the periodogram of a class should be on average, by computation.

The power of an image x at the wave vector k is :math:`P_k = |u_k^* x|^2` with
:math:`u_k = e^{2\pi i k r/N}/\sqrt{n}`, n being its pixels. For a field with the covariance
matrix K, :math:`E P_k = u_k^* K u_k`, whatever the boundary: a finite open image's leakage is
part of it.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.field_kinds import scaled_kernel
from gpgen.exact.kernels import KERNELS
from gpgen.exact.marginals import MARGINALS
from gpgen.exact.stationary import SpectralKernel
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Component, Recipe

__all__ = ["expected_power", "kernel_correlation"]

Array = npt.NDArray[np.float64]

_LONGEST_AXIS: Final = 4096
_MOST_EIGENVALUES: Final = 2**22
"""Beyond these the eigenvectors of an axis, or the integral, take minutes."""

_NEGLIGIBLE: Final = 1e-12
"""Eigenvalues below this part of the largest are left out."""

_STEP: Final = 0.5
"""Of the quadrature; its error is below 2e-7 (tests/test_report_theory.py)."""


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
def _field_power(
    kernel: str,
    lengths: tuple[float, ...],
    shape: tuple[int, ...],
    periodic: tuple[bool, ...],
    ratio: bool,
) -> Array | None:
    """Return a field's expected power, of the waves 0 to half the pixels of each axis."""
    axes = [
        _Axis.of(KERNELS[kernel](length).covariance, pixels, closed)
        for length, pixels, closed in zip(lengths, shape, periodic, strict=True)
    ]
    if math.prod(len(axis.values) for axis in axes) > _MOST_EIGENVALUES:
        return None
    values = _outer([axis.values for axis in axes])
    if not ratio:
        return _transform([axis.power for axis in axes], values)
    sums = _outer([axis.sums for axis in axes])
    even = np.ix_(*(axis.even for axis in axes))
    left_out = max(0.0, 1 - float(np.sum(sums**2)))
    mean = np.zeros_like(values)
    power = np.zeros([len(axis.power) for axis in axes])
    for t, width in _nodes(float(np.sum(values * (1 - sums**2)))):
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
    return math.prod(shape) * power


def _nodes(total: float) -> Iterator[tuple[float, float]]:
    """Yield places and widths for an integral from 0 to infinity that falls from 1/total on.

    The double exponential rule of Takahasi and Mori (1974) for functions that fall fast.
    """
    y = -4.0
    while True:
        t = math.exp(y - math.exp(-y)) / total
        yield t, _STEP * t * (1 + math.exp(-y))
        y += _STEP


def expected_power(recipe: LabelledImages, label: int) -> Array | None:
    """Return the expected periodogram of a class, or none where none is computed.

    None is computed of another algorithm than "exact", of kernels that don't separate over the
    axes, of drawn length-scales or transformed values, of imported images, and of very large ones.

    Returns
    -------
    ndarray of float64, the recipe's shape
        By wave vector, in the order of `numpy.fft.fftn`.
    """
    if not isinstance(recipe, Recipe) or recipe.algorithm != "exact":
        return None
    if max(recipe.shape) > _LONGEST_AXIS:
        return None
    if not all(_separates(component) for component in recipe.components):
        return None
    if recipe.texture.is_transformed:
        return None
    if recipe.texture.draws_length_scales:  # some seconds for each that can be drawn
        return None
    periodic = tuple(boundary == "periodic" for boundary in recipe.texture.boundaries)
    total: Array = np.zeros([pixels // 2 + 1 for pixels in recipe.shape])
    for component, scale in zip(recipe.components, recipe.length_scales_of(label), strict=True):
        lengths = recipe.per_axis(scale)
        power = _field_power(component.kernel, lengths, recipe.shape, periodic, recipe.standardize)
        if power is None:
            return None
        total += component.rms_weight**2 * power
    # An image may be mirrored along any axis: a wave and its mirror image have the same power.
    waves = [np.abs(np.rint(np.fft.fftfreq(n) * n)).astype(int) for n in recipe.shape]
    return total[np.ix_(*waves)]


def _separates(component: Component) -> bool:
    return component.kernel in KERNELS and component.angle is None


def kernel_correlation(recipe: LabelledImages, label: int, distance: Array) -> Array | None:
    """Return the correlation that the kernels give at a distance, in pixels.

    The mean over all length-scales that can be drawn, if they are.

    None if the length-scales differ by axis, or there is no formula: neither of a transform if what
    it is applied to has drawn numbers.
    """
    if not isinstance(recipe, Recipe) or recipe.algorithm != "exact":
        return None
    texture, drawn = recipe.texture, any(c.draws_weight for c in recipe.components)
    if (drawn and texture.is_transformed) or (
        texture.draws_length_scales and texture.transform is not None
    ):
        return None
    total = np.zeros_like(distance)
    weights = 0.0
    chosen = texture.chosen(label)
    for component, choices in zip(recipe.components, chosen, strict=True):
        variance = component.moments[1]
        for choice in choices:
            kernel = scaled_kernel(texture, component.kernel, *choice)
            if isinstance(kernel.family, SpectralKernel) or isinstance(choice.length_scale, tuple):
                return None
            correlation = kernel.family.covariance(distance / kernel.lengths[0])
            if component.transform is not None:
                correlation = MARGINALS[component.transform].correlation(correlation, 1.0)
            total += variance / len(choices) * correlation
        weights += variance
    total /= weights
    if texture.transform is not None:
        total = MARGINALS[texture.transform].correlation(total, weights)
    return np.asarray(total)
