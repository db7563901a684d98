"""What is measured on a class's images: power, correlation and values, with their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.stats

from gpgen.contact_sheet.content import LARGEST
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe
from gpgen.report.not_computed import NotComputedError
from gpgen.report.theory import expected_power, kernel_correlation

__all__ = ["Curve", "Measured", "measurable", "measure"]

Array = npt.NDArray[np.float64]

_VALUE_BINS: Final = 60
_RANGE: Final = 4.5
"""Standard deviations."""

_COMPARED: Final = 1e-6
"""Part of the highest power below which nothing is expected: a recipe's covariance is exact to
1e-6, and pixels are rounded to their type."""


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
        What is expected, if it is computed; NaN at points where nothing can be said.
    kernel
        For the correlation: the kernel itself, without the effects of a finite image.
    """

    x: Array
    mean: Array
    error: Array
    quantile: float
    theory: Array | None = None
    kernel: Array | None = None


@dataclass(frozen=True)
class Measured:
    """The curves of one class, and of how many samples they are.

    Why nothing is expected of its power stands in `not_computed`, as a part of a sentence.
    """

    label: int
    name: str
    samples: int
    power: Curve
    correlation: Curve
    values: Curve
    not_computed: str = ""


def measurable(images: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return of each image whether it can be measured: all of its values are finite.

    Values above 1e100, whose squares overflow, count as infinite.
    """
    size = np.abs(images).max(axis=tuple(range(1, images.ndim))).astype(np.float64)
    return np.asarray(size <= LARGEST)  # false for NaN, too


def measure(recipe: LabelledImages, label: int, images: npt.NDArray[Any]) -> Measured:
    """Measure a class.

    Parameters
    ----------
    recipe
        The recipe.
    label
        The class.
    images
        Its images, two or more, all `measurable`, shape (sample, *recipe.shape).
    """
    # The image is real: half of its wave vectors, and of its lags, hold everything.
    rings, frequencies = _rings(recipe.shape)
    shells, distances = _shells(recipe.shape)
    mean, deviation = _moments(recipe, images)
    edges = np.linspace(-_RANGE * deviation, _RANGE * deviation, _VALUE_BINS + 1)
    powers, correlations, histograms = [], [], []
    for image in images:
        pixels = image.astype(np.float64) - mean
        power = np.abs(scipy.fft.rfftn(pixels)) ** 2 / pixels.size
        powers.append(_average(power, rings))
        correlations.append(_covariance(power, shells, recipe.shape) / deviation**2)
        counts, _ = np.histogram(pixels, bins=edges)
        histograms.append(counts / (pixels.size * np.diff(edges)))
    expected_powers = expected_correlations = None
    not_computed = ""
    try:
        expected = expected_power(recipe, label)
    except NotComputedError as error:
        not_computed = str(error)
    else:
        half = expected[..., : recipe.shape[-1] // 2 + 1]
        expected_powers = _average(half, rings)
        expected_powers[expected_powers < _COMPARED * expected.max()] = np.nan
        expected_correlations = _covariance(half, shells, recipe.shape) / deviation**2
    centres = (edges[1:] + edges[:-1]) / 2
    normal: Array | None = None
    if not isinstance(recipe, Recipe) or not recipe.texture.is_transformed:
        normal = np.diff(scipy.stats.norm.cdf(edges, scale=deviation)) / np.diff(edges)
    return Measured(
        label,
        recipe.classes[label],
        len(powers),
        _curve(frequencies, powers, expected_powers),
        _curve(
            distances,
            correlations,
            expected_correlations,
            kernel_correlation(recipe, label, distances),
        ),
        _curve(centres + mean, histograms, None, normal),
        not_computed,
    )


def _moments(recipe: LabelledImages, images: npt.NDArray[Any]) -> tuple[float, float]:
    """Return mean and deviation of a pixel: the recipe's, or of the images without one."""
    if isinstance(recipe, Recipe):
        mean, variance = recipe.texture.moments
        return mean, float(np.sqrt(variance))
    pixels = images.astype(np.float64)
    low, high = float(pixels.min()), float(pixels.max())
    mean, deviation = float(np.mean(pixels)), float(np.std(pixels))
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        # They are constant, but for rounding, and have no deviation.
        mean, deviation = (low + high) / 2, abs(low)
    return mean, deviation if deviation > 1 / LARGEST else 1.0


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

    Rings are as wide as the longest axis resolves, and widen with the frequency, so that
    there are some forty.
    """
    radius = np.sqrt(sum(grid**2 for grid in _half_grid(shape)))
    finest = 1 / max(shape)
    edges = [finest / 2]
    while edges[-1] < 0.5:
        edges.append(max(edges[-1] + finest, edges[-1] * 1.12))
    return _index(radius, np.array(edges))


def _shells(shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], Array]:
    """Return each lag's shell (-1 for none), and each shell's mean distance, in pixels."""
    lags = zip(_half_grid(shape), shape, strict=True)
    radius = np.sqrt(sum((grid * pixels) ** 2 for grid, pixels in lags))
    edges = [-0.5, 0.5]
    while edges[-1] <= max(shape) / 2:
        edges.append(max(edges[-1] + 1, edges[-1] * 1.06))
    return _index(radius, np.array(edges))


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
