r"""What the periodogram of a class should be on average, by computation.

The power of an image x at the wave vector k is :math:`P_k = |\sum_r x_r e^{-2\pi i k r/N}|^2/n`,
n being its pixels. For a field f with the covariance matrix K, :math:`E P_k = F_k^* K F_k/n`,
whatever the boundary: a finite open image's leakage is part of it.

Standardizing divides f by its own standard deviation s. With the ratio expanded to second order
(the delta method),

.. math:: E[P/s^2] \approx \frac{E P}{E s^2}
          \left(1 + \frac{var\,s^2}{(E s^2)^2} - \frac{cov(P, s^2)}{E P\,E s^2}\right),

where P and :math:`s^2 = x^T C x/n`, C taking the mean away, are quadratic forms of a normal
vector: their covariance is twice the trace of the products of their matrices with K. All of
these factor over the axes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gpgen.exact.kernels import KERNELS
from gpgen.recipe import Recipe

__all__ = ["expected_power", "kernel_correlation"]

Array = npt.NDArray[np.float64]


class _Axis:
    """What one axis contributes: its covariance matrix, seen by its waves."""

    def __init__(self, covariance: Callable[[Array], Array], pixels: int, periodic: bool) -> None:
        places = np.arange(pixels, dtype=np.float64)
        distance = np.abs(places[:, None] - places)
        matrix = covariance(distance)
        if periodic:
            images = (covariance(np.abs(distance + m * pixels)) for m in (-3, -2, -1, 1, 2, 3))
            matrix = matrix + sum(images)
        waves = np.fft.fft(matrix, axis=0)
        self.power: Array = np.real(np.fft.fft(waves, axis=1)[_diagonal(pixels)]) / pixels
        # F* K K F, of which the columns of F* K are half.
        self.power_of_square: Array = (np.abs(waves) ** 2).sum(axis=1) / pixels
        sums = matrix.sum(axis=0)
        self.sum = float(sums.sum())
        self.sum_of_square = float((sums**2).sum())
        self.waves_of_sums: Array = np.abs(np.fft.fft(sums)) ** 2 / pixels
        self.trace_of_square = float((matrix**2).sum())


def _diagonal(pixels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where F* K F's diagonal is in F K F: its second index counts backwards."""
    index = np.arange(pixels)
    return index, (-index) % pixels


def _outer(parts: list[Array]) -> Array:
    return functools.reduce(np.multiply.outer, parts)


def _component_power(recipe: Recipe, kernel: str, lengths: tuple[float, ...]) -> Array:
    periodic = recipe.boundary == "periodic"
    axes = [
        _Axis(KERNELS[kernel](length).covariance, pixels, periodic)
        for length, pixels in zip(lengths, recipe.shape, strict=True)
    ]
    power = _outer([axis.power for axis in axes])
    if not recipe.standardize:
        return power
    n = float(np.prod(recipe.shape))
    total = float(np.prod([axis.sum for axis in axes]))
    square_of_sums = float(np.prod([axis.sum_of_square for axis in axes]))
    trace_of_square = float(np.prod([axis.trace_of_square for axis in axes]))
    mean = 1 - total / n**2
    # 2 tr(K C K C)/n^2, with C = 1 - (all ones)/n.
    variance = 2 * (trace_of_square - 2 * square_of_sums / n + total**2 / n**2) / n**2
    # 2 F* K C K F/n: the constant wave aside, C leaves F alone.
    covariance = (
        2
        * (
            _outer([axis.power_of_square for axis in axes])
            - _outer([axis.waves_of_sums for axis in axes]) / n
        )
        / n
    )
    power.flat[0] = 0.0
    covariance.flat[0] = 0.0
    ratio: Array = power / mean * (1 + variance / mean**2) - covariance / mean**2
    return ratio


def expected_power(recipe: Recipe, label: int) -> Array | None:
    """Return the expected periodogram of a class, or none if there is no formula for it.

    Returns
    -------
    ndarray of float64, the recipe's shape
        By wave vector, in the order of `numpy.fft.fftn`.
    """
    if getattr(recipe, "algorithm", "exact") != "exact":
        return None
    total = np.zeros(recipe.shape)
    for component, scale in zip(recipe.components, recipe.length_scales_of(label), strict=True):
        part = _component_power(recipe, component.kernel, recipe.per_axis(scale))
        total += component.weight**2 * part
    return total


def kernel_correlation(recipe: Recipe, label: int, distance: Array) -> Array | None:
    """Return the correlation that the kernels give at a distance, in pixels.

    None if the length-scales differ by axis, or there is no formula.
    """
    scales = recipe.length_scales_of(label)
    per_axis = any(isinstance(scale, tuple) for scale in scales)
    if per_axis or getattr(recipe, "algorithm", "exact") != "exact":
        return None
    total = np.zeros_like(distance)
    weights = 0.0
    for component, scale in zip(recipe.components, scales, strict=True):
        kernel = KERNELS[component.kernel](recipe.per_axis(scale)[0])
        total += component.weight**2 * kernel.covariance(distance)
        weights += component.weight**2
    return np.asarray(total / weights)
