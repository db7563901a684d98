"""Mean 0 and deviation 1 for every image, those that are nearly constant included.

`AxisProduct.moments` finds a sample's mean and deviation without its pixels, and is wrong where the
deviation is far below one or the image has few pixels: the variance is the difference of two
rounded sums. `suspects` names the samples of which that may be true. Their pixels are computed
exactly, and take the place of the ordinary ones where those would be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gpgen.exact.arrays import NUMPY, Arrays, LibraryArray
from gpgen.exact.axis import FACTOR_BITS, Banded
from gpgen.exact.axis_product import SUM_BITS, AxisProduct, apply_along, grid_below
from gpgen.exact.fixed_point import round_to_grid
from gpgen.exact.normal import LARGEST, NORMAL_BITS

__all__ = ["Standardized", "centred_pixels", "moment_errors", "standardize", "suspects"]

Array = npt.NDArray[np.float64]

TOLERANCE: Final = 5e-6
"""How wrong `AxisProduct.moments` may be, as a part of the deviation."""

ENLARGED: Final = 64
"""Scaled noise is rounded before each product. Up to 64 times as large, that moves a pixel by
about 1e-6: below a deviation of ``field.gain / 64`` the exact pixels are taken."""

_STANDARD_ERRORS: Final = 3


class Standardized(NamedTuple):
    """How a component becomes its part of the image.

    Parameters
    ----------
    scale
        What each sample's noise is multiplied by, shape (samples,): 0 where there are `pixels`.
    shift
        What is then subtracted from each sample's pixels, shape (samples,).
    samples, pixels
        Which samples are exact, and what is then added to their pixels: float64, shape
        (len(samples), *field's shape); None for no sample.
    """

    scale: Array
    shift: Array
    samples: npt.NDArray[np.int64]
    pixels: Array | None


def standardize(
    field: AxisProduct, noise: LibraryArray, weights: Array, arrays: Arrays = NUMPY
) -> Standardized:
    """Give each sample of a component the mean 0 and its weight as deviation over its pixels.

    Parameters
    ----------
    field
        The component.
    noise
        What `AxisProduct.noise` returned.
    weights
        The component's weight in each sample, shape (samples,).
    arrays
        Where the noise is. Exact pixels are computed by NumPy: they are few.

    Returns
    -------
    Standardized
        NaN in all of a sample's pixels if they are all equal.
    """
    mean, deviation = field.moments(noise, arrays)
    chosen = np.flatnonzero(suspects(field, mean, deviation))
    if not len(chosen):
        scale = weights / deviation
        return Standardized(scale, mean * scale, chosen, None)
    matrices = [factor.matrix for factor in field.factors]
    pixels, true_mean, true_deviation = centred_pixels(matrices, arrays.to_numpy(noise[chosen]))
    allowed = TOLERANCE * true_deviation
    wrong = (
        (np.abs(mean[chosen] - true_mean) > allowed)
        | (np.abs(deviation[chosen] - true_deviation) > allowed)
        | (true_deviation < field.gain / ENLARGED)
    )
    samples = chosen[wrong]
    with np.errstate(divide="ignore", invalid="ignore"):  # of equal pixels
        pixels = pixels[wrong] * (weights[samples] / true_deviation[wrong])[:, None]
    deviation[samples] = np.inf
    scale = weights / deviation
    pixels = pixels.reshape(len(samples), *(factor.pixels for factor in field.factors))
    return Standardized(scale, mean * scale, samples, pixels if len(samples) else None)


def suspects(field: AxisProduct, mean: Array, deviation: Array) -> npt.NDArray[np.bool_]:
    """Return which samples `AxisProduct.moments` may have got wrong."""
    of_mean, of_square = moment_errors(field)
    of_variance = of_square + 2 * np.abs(mean) * of_mean
    suspect: npt.NDArray[np.bool_] = (
        (_STANDARD_ERRORS * of_mean > TOLERANCE * deviation)
        | (_STANDARD_ERRORS * of_variance > 2 * TOLERANCE * deviation * deviation)
        | (deviation < 2 * field.gain / ENLARGED)
    )
    return suspect


@lru_cache(maxsize=256)
def moment_errors(field: AxisProduct) -> tuple[float, float]:
    """Return rough standard errors of the mean and the mean square of `AxisProduct.moments`.

    Both sum many independent roundings. Along an axis of c columns, p noise points and n pixels

    - column sums are rounded to ``2**-SUM_BITS``, which moves the mean by that, divided by
      sqrt(12), times c / (sqrt(p) n);
    - the Gram matrix has c * c entries, rounded to ``2**-FACTOR_BITS`` of up to twice the spacing
      of the points, and before that the factor is rounded, which moves the mean square by about
      twice ``2**-FACTOR_BITS`` times c * spacing / n.

    The mean along the other axes makes both smaller: its deviation there is a bound for both. In
    between, values are rounded so that the products are exact: for the mean as `AxisProduct` does,
    for the mean square to ``2**-28`` of their bound, where gain**2 bounds the Gram matrices' row
    sums.
    At last the terms of the mean square are rounded.
    """
    of_mean = of_square = 0.0
    bound, bits, done = LARGEST, NORMAL_BITS, 1
    for axis in reversed(range(len(field.factors))):
        factor, spreads = field.factors[axis], field.mean_deviations
        others = math.prod(spreads[:axis] + spreads[axis + 1 :])
        of_mean += (
            2.0**-SUM_BITS * factor.columns / math.sqrt(factor.points) / factor.pixels * others
        )
        bound *= factor.pixels * factor.matrix.row_sum
        finest = int(grid_below(bound, SUM_BITS))
        if bits > finest:
            of_mean += 2.0**-finest / done * math.prod(spreads[: axis + 1])
        bits, done = min(bits, finest) + SUM_BITS, done * factor.pixels
        of_square += 2 * factor.columns * factor.spacing / factor.pixels * others
    terms = math.prod(factor.columns for factor in field.factors)
    scale = sum(factor.gram_scale for factor in field.factors) - field.square_bits
    last = 2.0**scale * math.sqrt(terms / 12) / field.pixels
    of_square = 2.0**-FACTOR_BITS * (of_square + field.gain**2 / 8) + last
    return of_mean / math.sqrt(12), of_square


def centred_pixels(
    matrices: Sequence[Banded], noise: Array, factor_bits: int = FACTOR_BITS
) -> tuple[Array, Array, Array]:
    """Multiply noise by a matrix an axis, and take its mean from each image.

    Pixels are good to about ``2**-50`` of the largest difference between two of one image, and
    the same on every machine. Each is kept as the sum of two numbers. Before a product, what
    its grid can't hold of the first is moved to the second, whose grid is finer by as much as
    its values are smaller.

    Parameters
    ----------
    matrices
        Multiples of ``2**-factor_bits``.
    noise
        Standard normal numbers, shape (samples, columns of each axis).
    factor_bits
        Bits after the binary point of the matrices.

    Returns
    -------
    pixels
        float64, shape (samples, pixels): with mean 0.
    mean, deviation
        Of the images as they were, float64, shape (samples,).
    """
    high, low = noise, np.zeros_like(noise)
    bound, rest_bound = LARGEST, 0.0
    for axis, matrix in enumerate(matrices, start=1):
        bound *= matrix.row_sum
        bits = int(grid_below(bound, factor_bits))
        rest_bound = (rest_bound + 2.0 ** -(bits + 1)) * matrix.row_sum
        top = round_to_grid(high, bits)
        rest = round_to_grid((high - top) + low, int(grid_below(rest_bound, factor_bits)))
        high, low = apply_along(matrix, top, axis), apply_along(matrix, rest, axis)
    high, low = high.reshape(len(noise), -1), low.reshape(len(noise), -1)
    # Differences from the first pixel: of numbers that are nearly equal, they have no rounding.
    pixels = (high - high[:, :1]) + (low - low[:, :1])
    difference = _mean(pixels)
    pixels -= difference[:, None]
    deviation = np.sqrt(_mean(pixels * pixels))
    return pixels, high[:, 0] + low[:, 0] + difference, deviation


def _mean(values: Array) -> Array:
    """Return each row's mean, the same in any order of adding."""
    bits = grid_below(np.abs(values).max(axis=1) * values.shape[1], 0)
    mean: Array = round_to_grid(values, bits[:, None]).sum(axis=1) / values.shape[1]
    return mean
