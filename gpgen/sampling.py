"""Samples of a recipe, by index or by seed and label."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError
from gpgen.exact.accuracy import accuracy
from gpgen.exact.arrays import NUMPY, Arrays
from gpgen.exact.drawing import TextureClass
from gpgen.exact.finite import check_finite
from gpgen.indexing import from_zero
from gpgen.labelled_images import samples_from
from gpgen.recipe import AnyRecipe, LengthScale, Recipe
from gpgen.sample_seeds import seeds, seeds_at
from gpgen.whole_numbers import number_below

__all__ = [
    "KINDS_KEPT",
    "SAMPLING_VERSION",
    "DrawnImages",
    "Sample",
    "Sampler",
    "sample",
    "sampler_for",
    "seeds",
    "seeds_at",
]

SAMPLING_VERSION: Final = 1
"""Changes whenever the pixels of a recipe, seed and label would."""

Image = npt.NDArray[Any]
"""Of the recipe's dtype; a sampler with other `arrays` takes and returns that library's."""

Indices = npt.NDArray[np.int64]

Kind = tuple[int, tuple[int, ...]]
"""A label, and which length-scale each component has drawn; none if classes determine them."""

KINDS_KEPT: Final = 64
"""Kinds of samples whose joint matrices are kept, where length-scales are drawn."""


class Sampler:
    """Draws a recipe's samples.

    Factors are built when a class is first drawn, and kept. Not for use by several threads
    at once: `sampler_for` gives each thread its own.

    Parameters
    ----------
    recipe
        What to draw: a recipe, the name of a built-in one, a path, or a dict.
    arrays
        The array library that computes the products, and whose arrays the images are.

    Raises
    ------
    RecipeError
        If the recipe can't be read, or can't be drawn exactly: a length-scale doesn't fit on a
        periodic axis, or is so long that standardizing would turn the image into rounding noise.
    """

    def __init__(self, recipe: AnyRecipe, arrays: Arrays = NUMPY) -> None:
        self.recipe = recipe = Recipe.load(recipe)
        self.accuracy = accuracy(recipe.texture)
        self.arrays = arrays
        self._classes: dict[Kind, TextureClass] = {}
        self._dtype = arrays.empty_images((0,), recipe.dtype).dtype
        self._largest = float(np.finfo(recipe.dtype).max)

    def image(self, seed: int, label: int, out: Image | None = None) -> Image:
        """Draw one image.

        Parameters
        ----------
        seed
            The sample's seed, an unsigned 64-bit number.
        label
            The class.
        out
            Where to write: the recipe's shape and dtype.

        Returns
        -------
        ndarray, the recipe's shape and dtype

        Raises
        ------
        UsageError
            If there is no such seed or label, or `out` is no such array.
        """
        seed = number_below("seed", seed, 2**64)
        label = number_below("label", label, self.recipe.class_count)
        out = self._out(out, self.recipe.shape)
        sample_seeds = np.array([seed], dtype=np.uint64)
        drawn: tuple[int, ...] = ()
        if self.recipe.texture.draws_length_scales:
            drawn = tuple(self.recipe.texture.drawn(sample_seeds)[0].tolist())
        self._draw((label, drawn), sample_seeds, out[None])
        return out

    def images(self, start: int, stop: int, out: Image | None = None) -> Image:
        """Draw the images of samples start..stop-1.

        Parameters
        ----------
        start, stop
            The first index, and the one after the last.
        out
            Where to write: shape (stop - start, *recipe.shape), the recipe's dtype.

        Returns
        -------
        ndarray, shape (stop - start, *recipe.shape), the recipe's dtype

        Raises
        ------
        UsageError
            If one is no whole number from 0, or `out` is no such array.
        """
        return self.images_at(samples_from(start, stop), out)

    def images_at(self, indices: Indices, out: Image | None = None) -> Image:
        """Draw the images of any samples, those of a class together.

        Parameters
        ----------
        indices
            The samples, from 0: int64, in any order; repeats are allowed.
        out
            Where to write: shape (len(indices), *recipe.shape), the recipe's dtype.

        Returns
        -------
        ndarray, shape (len(indices), *recipe.shape), the recipe's dtype

        Raises
        ------
        SampleIndexError
            If an index is no whole number from 0.
        UsageError
            If `out` is no such array.
        """
        indices = from_zero(indices).reshape(-1)
        out = self._out(out, (len(indices), *self.recipe.shape))
        sample_seeds = seeds_at(self.recipe.seed, indices)
        labels = indices % self.recipe.class_count
        together = max(1, self.arrays.batch_bytes // (8 * math.prod(self.recipe.shape)))
        for kind, positions in self._alike(labels, sample_seeds):
            for low in range(0, len(positions), together):
                part = positions[low : low + together]
                where = _as_slice(part)
                if where is not None:
                    self._draw(kind, sample_seeds[part], out[where])
                else:
                    images = self._out(None, (len(part), *self.recipe.shape))
                    self._draw(kind, sample_seeds[part], images)
                    out[part] = images
        return out

    def _alike(
        self, labels: Indices, sample_seeds: npt.NDArray[np.uint64]
    ) -> Iterator[tuple[Kind, Indices]]:
        """Yield the positions of samples of one class, with the same drawn length-scales."""
        kinds = labels[:, None]
        if self.recipe.texture.draws_length_scales:
            kinds = np.column_stack([labels, self.recipe.texture.drawn(sample_seeds)])
        for row in np.unique(kinds, axis=0):
            label, *drawn = row.tolist()
            yield (label, tuple(drawn)), np.flatnonzero((kinds == row).all(axis=1))

    def _out(self, out: Image | None, shape: tuple[int, ...]) -> Image:
        if out is None:
            images: Image = self.arrays.empty_images(shape, self.recipe.dtype)
            return images
        found = getattr(out, "shape", None), getattr(out, "dtype", None)
        if found != (shape, self._dtype):
            raise UsageError(
                f"out has shape {found[0]} and dtype {found[1]}",
                f"give an array of shape {shape} and dtype {self._dtype}",
            )
        return out

    def _class(self, kind: Kind) -> TextureClass:
        if kind not in self._classes:
            if len(self._classes) >= max(self.recipe.class_count, KINDS_KEPT):
                del self._classes[next(iter(self._classes))]
            label, drawn = kind
            self._classes[kind] = TextureClass.of(self.recipe.texture, label, self.arrays, drawn)
        return self._classes[kind]

    def _draw(self, kind: Kind, sample_seeds: npt.NDArray[np.uint64], out: Image) -> None:
        """Draw samples of one kind into out, shape (samples, *recipe.shape)."""
        with np.errstate(over="ignore", invalid="ignore"):  # check_finite names the sample
            bound = self._class(kind).draw(sample_seeds, out)
        if not (bound < self._largest / 2 or self.arrays.all_finite(out)):  # NaN is not below
            images = self.arrays.to_numpy(out)
            check_finite(self.recipe.name, self.recipe.dtype, kind[0], sample_seeds, images)


def _as_slice(positions: Indices) -> slice | None:
    """Return ascending positions as a slice, None if their steps differ."""
    steps = np.diff(positions)
    step = int(steps[0]) if len(steps) else 1
    if (steps != step).any():
        return None
    return slice(int(positions[0]), int(positions[-1]) + 1, step)


@dataclass(frozen=True)
class Sample:
    """One sample, drawn or read.

    Parameters
    ----------
    image
        The recipe's shape and dtype.
    label
        The class.
    class_name
        Its name.
    length_scales
        Each component's length-scale, in pixels.
    seed
        The sample's own seed; ``None`` if it was imported, so that nothing draws it again.
    index
        Its place in the dataset; ``None`` if it was drawn from a seed of its own.
    weights
        Each component's weight in the sum; empty if it was imported.
    """

    image: Image
    label: int
    class_name: str
    length_scales: tuple[LengthScale, ...]
    seed: int | None
    index: int | None
    weights: tuple[float, ...] = ()


def sample(
    recipe: AnyRecipe,
    index: int | None = None,
    *,
    seed: int | None = None,
    label: int | None = None,
) -> Sample:
    """Draw one sample, by its index in the dataset or by a seed and a label of its own.

    Parameters
    ----------
    recipe
        What to draw: a recipe, the name of a built-in one, a path, or a dict.
    index
        The sample's place in the dataset that the recipe describes.
    seed, label
        Instead of `index`: an unsigned 64-bit seed, and the class.

    Raises
    ------
    UsageError
        If neither or both are given, or out of range.
    """
    recipe = Recipe.load(recipe)
    classes = recipe.classes
    if (index is None) == (seed is None) or (seed is None) != (label is None):
        raise UsageError("sample needs an index, or a seed and a label", "give one of the two")
    for name, value in (("index", index), ("seed", seed), ("label", label)):
        if isinstance(value, bool | np.bool_) or not (value is None or hasattr(value, "__index__")):
            raise UsageError(f"{name} is {value!r}", "give a whole number")
    if index is not None:
        if index < 0:
            raise UsageError(f"index {index} is negative", "count from 0")
        seed, label = int(seeds(recipe.seed, index, index + 1)[0]), recipe.label_of(index)
    assert seed is not None and label is not None  # noqa: S101, PT018 - narrows the types
    if not 0 <= label < len(classes):
        raise UsageError(f"label {label} is out of range", f"use 0 to {len(classes) - 1}")
    if not 0 <= seed < 2**64:
        raise UsageError(f"seed {seed} is out of range", "use 0 to 2**64 - 1")
    image = sampler_for(recipe).image(seed, label)
    scales, weights = recipe.length_scales_of(label, seed), recipe.weights_of(seed)
    return Sample(image, label, classes[label], scales, seed, index, weights)


@dataclass(frozen=True)
class DrawnImages:
    """A source of images (`gpgen.format.job.ImageSource`): drawn from a recipe when asked for.

    Parameters
    ----------
    described
        The recipe. It is all that is sent to a worker, whose threads have their own samplers.
    """

    described: Recipe

    def images(self, start: int, stop: int, out: Image | None = None) -> Image:
        """Draw the images of samples start..stop-1, as `Sampler.images` does."""
        return sampler_for(self.described).images(start, stop, out)


_local = threading.local()
_SAMPLERS_KEPT: Final = 4


def sampler_for(recipe: Recipe, arrays: Arrays = NUMPY) -> Sampler:
    """Return this thread's sampler of a recipe; the last few are kept."""
    kept: list[Sampler] = _local.__dict__.setdefault("samplers", [])
    for place, sampler in enumerate(kept):
        if sampler.arrays == arrays and sampler.recipe == recipe:
            kept.append(kept.pop(place))
            return sampler
    sampler = Sampler(recipe, arrays)
    kept.append(sampler)
    del kept[:-_SAMPLERS_KEPT]
    return sampler
