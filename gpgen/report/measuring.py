"""What is measured on a class's images: power, correlation and values, with their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.stats

from gpgen.recipe import Recipe
from gpgen.report.theory import expected_power, kernel_correlation

__all__ = ["Curve", "Measured", "measure"]

Array = npt.NDArray[np.float64]

_VALUE_BINS = 60
_RANGE = 4.5
"""Standard deviations."""


@dataclass(frozen=True)
class Curve:
    """A measured curve, its 95 % confidence interval, and what it should be.

    Parameters
    ----------
    x
        Cycles per pixel, pixels, or values.
    mean
        Over the samples.
    error
        Its standard error, from the scatter between samples.
    quantile
        Standard errors on either side that make 95 %: Student's t.
    theory
        What is expected, if there is a formula.
    kernel
        For the correlation: the kernel itself, without the effects of a finite image.
    """

    x: Array
    mean: Array
    error: Array
    quantile: float
    theory: Array | None = None
    kernel: Array | None = None

    @property
    def deviations(self) -> Array | None:
        """The points' distances from what is expected, in standard errors."""
        if self.theory is None:
            return None
        scattered = self.error > 0
        return np.asarray((self.mean - self.theory)[scattered] / self.error[scattered])


@dataclass(frozen=True)
class Measured:
    """The curves of one class, and of how many samples they are."""

    label: int
    name: str
    samples: int
    power: Curve
    correlation: Curve
    values: Curve


def measure(recipe: Recipe, label: int, images: npt.NDArray[Any]) -> Measured:
    """Measure a class.

    Parameters
    ----------
    recipe
        The recipe.
    label
        The class.
    images
        Its images, two or more, shape (sample, *recipe.shape).
    """
    # The image is real, so half of its waves tell all, and half of its lags.
    rings, frequencies = _rings(recipe.shape)
    shells, distances = _shells(recipe.shape)
    deviation = _deviation(recipe, images)
    edges = np.linspace(-_RANGE * deviation, _RANGE * deviation, _VALUE_BINS + 1)
    powers, correlations, histograms = [], [], []
    for image in images:
        pixels = image.astype(np.float64)
        power = np.abs(scipy.fft.rfftn(pixels)) ** 2 / pixels.size
        powers.append(_average(power, rings))
        correlations.append(_covariance(power, shells, recipe.shape) / deviation**2)
        counts, _ = np.histogram(pixels, bins=edges)
        histograms.append(counts / (pixels.size * np.diff(edges)))
    half = (..., slice(0, recipe.shape[-1] // 2 + 1))
    expected = expected_power(recipe, label)
    if expected is not None:
        expected = expected[half]
    centres = (edges[1:] + edges[:-1]) / 2
    normal = np.diff(scipy.stats.norm.cdf(edges, scale=deviation)) / np.diff(edges)
    return Measured(
        label,
        recipe.classes[label],
        len(powers),
        _curve(frequencies, powers, None if expected is None else _average(expected, rings)),
        _curve(
            distances,
            correlations,
            None
            if expected is None
            else _covariance(expected, shells, recipe.shape) / deviation**2,
            kernel_correlation(recipe, label, distances),
        ),
        _curve(centres, histograms, None, np.asarray(normal)),
    )


def _deviation(recipe: Recipe, images: npt.NDArray[Any]) -> float:
    """Return the standard deviation of a pixel: the recipe's, or of the images without one."""
    weights = [component.weight for component in recipe.components]
    if weights:
        return float(np.linalg.norm(weights))
    return float(np.std(images, dtype=np.float64)) or 1.0


def _curve(x: Array, rows: list[Array], theory: Array | None, kernel: Array | None = None) -> Curve:
    values = np.array(rows)
    count = len(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(count)
    quantile = float(scipy.stats.t.ppf(0.975, count - 1))
    return Curve(x, values.mean(axis=0), error, quantile, theory, kernel)


def _half_grid(shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Return the frequencies of `scipy.fft.rfftn`, axis by axis, in cycles per pixel."""
    axes = [np.fft.fftfreq(pixels) for pixels in shape[:-1]]
    return tuple(np.meshgrid(*axes, np.fft.rfftfreq(shape[-1]), indexing="ij"))


def _rings(shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], Array]:
    """Return each wave vector's ring (-1 for none), and each ring's mean frequency.

    Rings are as wide as the coarsest axis resolves, and widen with the frequency, so that
    there are some forty.
    """
    radius = np.sqrt(sum(grid**2 for grid in _half_grid(shape)))
    finest = 1 / min(shape)
    edges = [finest / 2]
    while edges[-1] < 0.5:
        edges.append(max(edges[-1] + finest, edges[-1] * 1.12))
    return _index(radius, np.array(edges))


def _shells(shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], Array]:
    """Return each lag's shell (-1 for none), and each shell's mean distance, in pixels."""
    lags = zip(_half_grid(shape), shape, strict=True)
    radius = np.sqrt(sum((grid * pixels) ** 2 for grid, pixels in lags))
    edges = [-0.5, 0.5]
    while edges[-1] < min(shape) / 2:
        edges.append(max(edges[-1] + 1, edges[-1] * 1.06))
    return _index(radius, np.array(edges[:-1]))


def _index(radius: Array, edges: Array) -> tuple[npt.NDArray[np.int64], Array]:
    index = np.searchsorted(edges, radius, side="right") - 1
    index[index == len(edges) - 1] = -1
    inside = index.ravel() >= 0
    counts = np.bincount(index.ravel()[inside], minlength=len(edges) - 1)
    sums = np.bincount(index.ravel()[inside], radius.ravel()[inside], minlength=len(edges) - 1)
    # Rings without a single wave (of small images) are left out.
    number = np.full(len(edges) - 1, -1)
    number[counts > 0] = np.arange((counts > 0).sum())
    index[index >= 0] = number[index[index >= 0]]
    return index, sums[counts > 0] / counts[counts > 0]


def _average(values: Array, index: npt.NDArray[np.int64]) -> Array:
    flat = index.ravel()
    inside = flat >= 0
    counts = np.bincount(flat[inside])
    return np.asarray(np.bincount(flat[inside], values.ravel()[inside]) / counts)


def _covariance(power: Array, shells: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Array:
    """Return the covariance by distance that a periodogram stands for.

    It is the circular one: on an open image a part of the pairs lies across its edges, in what
    is measured as in what is expected.
    """
    full = scipy.fft.irfftn(power, s=shape)
    return _average(full[..., : shells.shape[-1]], shells)
