"""Images as they stand in the page: scaled alike, small, and within it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.publish.figure import encode_png

__all__ = ["data_uris", "shrink"]

_SIDE: Final = 384
"""Pixels, at most, along a side."""

Image = npt.NDArray[Any]


def shrink(image: Image) -> npt.NDArray[np.float32]:
    """Return an image small enough for the page, by the mean over blocks of pixels.

    Of a three-dimensional image the middle plane is shown, of a line a stripe.
    """
    plane = image
    if plane.ndim == 1:
        plane = np.repeat(plane[None, :], 32, axis=0)
    if plane.ndim == 3:
        plane = plane[len(plane) // 2]
    factor = -(-max(plane.shape) // _SIDE)
    if image.ndim == 1:
        width = plane.shape[1] // factor * factor
        plane = plane[:, :width].reshape(32, -1, factor).mean(axis=2)
        return np.asarray(plane, dtype=np.float32)
    height, width = (size // factor * factor for size in plane.shape)
    blocks = plane[:height, :width].astype(np.float32)
    blocks = blocks.reshape(height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3)))


def data_uris(images: Sequence[npt.NDArray[np.float32]]) -> list[str]:
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
