"""Samples as an `xarray.Dataset` whose images stay on the disk until they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from gpgen.dataset.arrays import LazyArray
from gpgen.format.manifest import image_axes

__all__ = ["to_xarray"]


class _Images(BackendArray):
    """Images as xarray reads what lies in files: no others than those asked for.

    Parameters
    ----------
    array
        Shape ``(sample, *axes)``.
    """

    def __init__(self, array: LazyArray) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._outer
        )
        return found

    def _outer(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Return what one key an axis chooses, each for itself."""
        first, *rest = key
        one = isinstance(first, int | np.integer)
        images: npt.NDArray[Any] = self._array[[first] if one else first]
        for axis in range(len(rest), 0, -1):  # from the last: an integer takes its axis away
            images = images[(slice(None),) * axis + (rest[axis - 1],)]
        return images[0] if one else images


def to_xarray(
    image: LazyArray, coordinates: Mapping[str, Any], attributes: Mapping[str, Any]
) -> xarray.Dataset:
    """Return a dataset with the variable ``image``, read when it is needed.

    Parameters
    ----------
    image
        Shape ``(sample, *axes)``.
    coordinates, attributes
        As `xarray.Dataset` takes them.
    """
    axes = ("sample", *image_axes(image.ndim - 1))
    variable = xarray.Variable(axes, indexing.LazilyIndexedArray(_Images(image)))
    return xarray.Dataset({"image": variable}, coordinates, attributes)
