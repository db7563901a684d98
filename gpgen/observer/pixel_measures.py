"""What is measured of images' pixels: cheap numbers of all images, dearer ones of some."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["CHEAP_NAMES", "PIXEL_NAMES", "cheap_measures", "pixel_measures", "spread_pixels"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]

CHEAP_NAMES: Final = ("mean", "distance of the mean from 0", "variance", "number of equal values")
PIXEL_NAMES: Final = ("skewness", "kurtosis", "kurtosis of differences", "orientation")

_VALUES: Final = 4096
"""Pixels of an image whose distinct values are counted, and that tell it from others."""

_DECIMALS: Final = 4
"""To which a measure that standardizing fixes is compared: below, it is rounding."""


def spread_pixels(images: Images) -> Images:
    """Return up to some thousand pixels of each image, in steps that no row or column repeats.

    Parameters
    ----------
    images
        Shape (images, *shape).

    Returns
    -------
    ndarray, shape (images, pixels)
    """
    flat = images.reshape(len(images), -1)
    step = max(1, flat.shape[1] // _VALUES)
    while step > 1 and any(math.gcd(step, pixels) > 1 for pixels in images.shape[1:]):
        step -= 1
    return flat[:, ::step]


def cheap_measures(images: Images, some: Images, scale: float) -> Array:
    """Measure images in one pass or two.

    Parameters
    ----------
    images
        Shape (images, *shape).
    some
        What `spread_pixels` returned.
    scale
        The pixels' expected deviation.

    Returns
    -------
    ndarray of float64, shape (images, measures)
        Named by `CHEAP_NAMES`.
    """
    flat = images.reshape(len(images), -1).astype(np.float32, copy=False)
    pixels = flat.shape[1]
    mean = flat.sum(axis=1).astype(np.float64) / pixels
    # A product with itself is one pass, and BLAS adds float32 in many parts.
    squares = np.array([float(image @ image) for image in flat]) / pixels
    ordered = np.sort(some, axis=1)
    # At the ends equal values are a matter of clipping.
    inner = (ordered[:, 1:] < ordered[:, -1:]) & (ordered[:, :-1] > ordered[:, :1])
    equal = ((ordered[:, 1:] == ordered[:, :-1]) & inner).sum(axis=1).astype(np.float64)
    # Of standardized images these are known but for rounding, which is no finding.
    fixed = (mean / scale, np.abs(mean) / scale, (squares - mean**2) / scale**2)
    return np.stack([*(np.round(each, _DECIMALS) for each in fixed), equal], axis=1)


def pixel_measures(wide: Images) -> Array:
    """Measure what takes several passes.

    Parameters
    ----------
    wide
        float32 or float64, shape (images, *shape).

    Returns
    -------
    ndarray of float64, shape (images, measures)
        Named by `PIXEL_NAMES`.
    """
    return np.array([_of_image(image) for image in wide])


def _of_image(image: Images) -> tuple[float, float, float, float]:
    centred = image - image.mean(dtype=np.float64).astype(image.dtype)
    squares = centred * centred
    variance = max(_mean_product(centred, centred), 1e-30)
    third = _mean_product(squares, centred) / variance**1.5
    fourth = _mean_product(squares, squares) / variance**2
    right = np.diff(image)
    steep = right * right
    slope = max(float(steep.mean(dtype=np.float64)), 1e-30)
    edges = _mean_product(steep, steep) / slope**2
    turned = 0.0
    if image.ndim > 1:
        down = np.diff(image, axis=-2)
        both = down[..., :-1] * right[..., :-1, :]
        turned = float(both.mean(dtype=np.float64)) / slope
    return third, fourth, edges, turned


def _mean_product(a: Images, b: Images) -> float:
    return float(a.reshape(-1) @ b.reshape(-1)) / a.size
