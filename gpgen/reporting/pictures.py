"""Images as they stand in the page: scaled alike, small, and within it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.publish.figure import encode_png

__all__ = ["LARGEST", "data_uris", "shrink"]

LARGEST: Final = 1e100
"""What is above counts as infinite: its square may be."""

_SIDE: Final = 384
"""Pixels, at most, along a side."""

Image = npt.NDArray[Any]


def shrink(image: Image) -> npt.NDArray[np.float64]:
    """Return an image small enough for the page, by the mean over blocks of pixels.

    Of a three-dimensional image the middle plane is shown, of a line a stripe; values that
    aren't finite, or above 1e100, as 0.
    """
    plane = image.astype(np.float64)
    plane[~(np.abs(plane) <= LARGEST)] = 0
    if plane.ndim == 1:
        plane = np.repeat(plane[None, :], 32, axis=0)
    if plane.ndim == 3:
        plane = plane[len(plane) // 2]
    factor = -(-max(plane.shape) // _SIDE)
    if image.ndim == 1:
        width = plane.shape[1] // factor * factor
        plane = plane[:, :width].reshape(32, -1, factor).mean(axis=2)
        return np.asarray(plane)
    down, across = (min(factor, size) for size in plane.shape)
    rows, columns = plane.shape[0] // down, plane.shape[1] // across
    blocks = plane[: rows * down, : columns * across].reshape(rows, down, columns, across)
    return np.asarray(blocks.mean(axis=(1, 3)))


def data_uris(images: Sequence[npt.NDArray[np.float64]]) -> list[str]:
    """Return each image as a PNG within an address, all on one scale of grey."""
    values = np.concatenate([image.ravel() for image in images])
    low, high = np.quantile(values, (0.001, 0.999))
    scale = 255 / (float(high - low) or 1.0)
    uris = []
    for image in images:
        grey = np.clip((image - low) * scale, 0, 255).astype(np.uint8)
        data = base64.b64encode(encode_png(grey, level=9)).decode()
        uris.append(f"data:image/png;base64,{data}")
    return uris
