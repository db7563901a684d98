"""Samples as an `xarray.Dataset` whose images stay on the disk until they are needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from gpgen.dataset.arrays import LazyArray
from gpgen.dataset.samples import Samples
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


def to_xarray(samples: Samples) -> xarray.Dataset:
    """Return `Samples.to_xarray`."""
    recipe = samples.recipe
    labels = samples.label[:]
    scales = samples.length_scales
    axes = ("sample", *image_axes(len(recipe.shape)))
    image = xarray.Variable(axes, indexing.LazilyIndexedArray(_Images(samples.image)))
    coordinates: dict[str, Any] = {
        "sample": samples.indices,
        "label": ("sample", labels),
        "class_name": ("sample", np.array(samples.classes)[labels]),
        "split": ("sample", np.array(samples.splits)[samples.split_code[:]]),
        "length_scales": (
            ("sample", "component", "axis")[: scales.ndim],
            scales[:],
            {"units": "pixel"},
        ),
    }
    if recipe.is_drawn:
        coordinates["seed"] = ("sample", samples.seed[:])
    attributes = {
        "recipe": recipe.name,
        "recipe_sha256": samples.manifest.recipe_sha256,
        "path": str(samples.path),
    }
    return xarray.Dataset({"image": image}, coordinates, attributes)
