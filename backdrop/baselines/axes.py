"""What the features ask of an image's axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError

__all__ = ["check_axes", "check_images"]

_SMALLEST = 8


def check_axes(shape: Sequence[int], periodic: bool | Sequence[bool]) -> tuple[bool, ...]:
    """Return for each axis whether it is periodic.

    Raises
    ------
    UsageError
        If there are no axes or more than three, one has fewer than 8 pixels, or `periodic` has
        another number of axes.
    """
    if len(shape) not in (1, 2, 3) or min(shape) < _SMALLEST:
        raise UsageError(
            f"images of {' x '.join(map(str, shape)) or 'no'} pixels give no features",
            f"use one to three axes of at least {_SMALLEST} pixels",
        )
    flags = (periodic,) * len(shape) if isinstance(periodic, bool) else tuple(periodic)
    if len(flags) != len(shape):
        raise UsageError(
            f"periodic has {len(flags)} values for {len(shape)} axes", "give one, or one for each"
        )
    return flags


def check_images(images: npt.ArrayLike, shape: Sequence[int]) -> npt.NDArray[Any]:
    """Return images ``(sample, *axes)`` as float32.

    Raises
    ------
    UsageError
        If they have other axes than `shape`.
    """
    array = np.asarray(images, dtype=np.float32)
    if array.shape[1:] != tuple(shape):
        raise UsageError(
            f"images have the shape {array.shape[1:]}, these features are of {tuple(shape)}",
            "give an array (sample, *axes), without channels",
        )
    return array
