"""Samples as an `xarray.Dataset` whose images stay on the disk until they are needed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from gpgen.dataset.arrays import LazyArray
from gpgen.format.manifest import image_axes
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe

__all__ = ["attributes_of", "to_xarray", "virtual_to_xarray"]


class _Rows(BackendArray):
    """An array as xarray reads what lies in files: no other rows than those asked for.

    Parameters
    ----------
    shape, dtype
        Its own.
    outer
        Returns what one key an axis chooses, each for itself.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        outer: Callable[[tuple[Any, ...]], npt.NDArray[Any]],
    ) -> None:
        self.shape, self.dtype, self._outer = shape, dtype, outer

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._outer
        )
        return found


def _of_images(array: LazyArray, key: tuple[Any, ...]) -> npt.NDArray[Any]:
    first, *rest = key
    one = isinstance(first, int | np.integer)
    images: npt.NDArray[Any] = array[[first] if one else first]
    for axis in range(len(rest), 0, -1):  # from the last: an integer takes its axis away
        images = images[(slice(None),) * axis + (rest[axis - 1],)]
    return images[0] if one else images


def _of_names(
    names: npt.NDArray[Any], codes: xarray.Variable, key: tuple[Any, ...]
) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = names[codes[key].values]
    return found


def _of_numbers(n: int, key: tuple[Any, ...]) -> npt.NDArray[Any]:
    (chosen,) = key
    if isinstance(chosen, slice):
        return np.arange(*chosen.indices(n))
    return np.asarray(chosen, np.int64)


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
    rows = _Rows(image.shape, image.dtype, functools.partial(_of_images, image))
    variable = xarray.Variable(axes, indexing.LazilyIndexedArray(rows))
    return xarray.Dataset({"image": variable}, coordinates, attributes)


def virtual_to_xarray(found: xarray.Dataset, recipe: Recipe, path: object) -> xarray.Dataset:
    """Return what `to_xarray` would of a Zarr dataset that is too long for any array in memory.

    Parameters
    ----------
    found
        What xarray makes of its arrays, read when they are needed.
    recipe, path
        The dataset's.
    """
    n = found.sizes["sample"]

    def rows(
        dtype: np.dtype[Any], outer: Callable[[tuple[Any, ...]], npt.NDArray[Any]]
    ) -> xarray.Variable:
        return xarray.Variable(("sample",), indexing.LazilyIndexedArray(_Rows((n,), dtype, outer)))

    def named(names: Sequence[str], codes: str) -> xarray.Variable:
        texts = np.array(names)
        return rows(texts.dtype, functools.partial(_of_names, texts, found[codes].variable))

    coordinates = {
        "sample": rows(np.dtype(np.int64), functools.partial(_of_numbers, n)),
        "label": found["label"].variable,
        "class_name": named(recipe.classes, "label"),
        "split": named(list(recipe.splits), "split"),
        "length_scales": found["length_scale"].variable,
        **({"weights": found["weight"].variable} if "weight" in found else {}),
        "seed": found["seed"].variable,
    }
    # No index of the samples: it would be an array.
    without = xarray.Coordinates(coordinates, indexes={})
    return xarray.Dataset({"image": found["image"].variable}, without, attributes_of(recipe, path))


def attributes_of(recipe: LabelledImages, path: object) -> dict[str, str]:
    """Return what is said of the whole dataset.

    Its recipe is text, which NetCDF can hold, and not the dictionary of Zarr's attributes.
    """
    return {
        "path": str(path),
        "recipe": recipe.name,
        "recipe_toml": recipe.to_toml(),
        "recipe_sha256": recipe.sha256,
    }
