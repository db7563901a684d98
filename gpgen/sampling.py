"""One sample from its recipe, seed and label."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError
from gpgen.exact.accuracy import accuracy, field_of
from gpgen.exact.algorithms import other_algorithm
from gpgen.exact.axis import BLOCK
from gpgen.exact.field import Field, grid_below
from gpgen.exact.finite import check_finite
from gpgen.exact.fixed_point import round_to_grid
from gpgen.exact.standardizing import standardize
from gpgen.recipe import AnyRecipe, LengthScale, Recipe

__all__ = ["SAMPLING_VERSION", "Sample", "Sampler", "sample", "sampler_for", "seeds"]

SAMPLING_VERSION: Final = 1
"""Changes whenever the pixels of a recipe, seed and label would."""

_SEED_BLOCK: Final = 1024
"""Samples whose seeds come from one SeedSequence."""

_BATCH_BYTES: Final = 2**20
"""Small images are drawn together up to about this many bytes of float64."""

Array = npt.NDArray[np.float64]
Image = npt.NDArray[Any]


def seeds(root_seed: int, start: int, stop: int) -> npt.NDArray[np.uint64]:
    """Return the seeds of samples start..stop-1.

    The seed of sample i is word ``i % 1024`` of
    ``numpy.random.SeedSequence(root_seed, spawn_key=(i // 1024,))``: it depends on the root
    seed and i alone.

    Returns
    -------
    ndarray of uint64, shape (stop - start,)
    """
    first, last = start // _SEED_BLOCK, -(-stop // _SEED_BLOCK)
    blocks = [
        np.random.SeedSequence(root_seed, spawn_key=(block,))
        .generate_state(_SEED_BLOCK, np.uint64)
        .astype(np.uint64)
        for block in range(first, last)
    ]
    if not blocks:
        return np.empty(0, dtype=np.uint64)
    offset = first * _SEED_BLOCK
    words: npt.NDArray[np.uint64] = np.concatenate(blocks)[start - offset : stop - offset]
    return words


@dataclass(frozen=True)
class _Class:
    """What drawing one class needs."""

    fields: tuple[Field, ...]
    last: tuple[_Block, ...]


@dataclass(frozen=True)
class _Block:
    """Pixels ``start:stop`` of the last axis, from the components' columns, side by side."""

    start: int
    stop: int
    columns: tuple[slice, ...]
    matrix: Array
    """float64, shape (columns of all components, stop - start)."""


class Sampler:
    """Draws a recipe's samples.

    Factors are built when a class is first drawn, and kept. Not for use by several threads
    at once: `sampler_for` gives each thread its own.

    Parameters
    ----------
    recipe
        What to draw: a recipe, the name of a built-in one, a path, or a dict.

    Raises
    ------
    RecipeError
        If the recipe can't be read, or can't be drawn exactly: a length-scale doesn't fit on a
        periodic axis, or is so long that standardizing would turn the image into rounding noise.
    """

    def __init__(self, recipe: AnyRecipe) -> None:
        self.recipe = recipe = Recipe.load(recipe)
        self.accuracy = accuracy(recipe.texture)
        self._other = other_algorithm(recipe.algorithm)
        self._classes: dict[int, _Class] = {}
        self._weights = np.array([component.weight for component in recipe.components])

    def image(self, seed: int, label: int, out: Image | None = None) -> Image:
        """Draw one image.

        Parameters
        ----------
        seed
            The sample's seed, an unsigned 64-bit number.
        label
            The class.
        out
            Where to write: the recipe's shape and dtype, C-contiguous.

        Returns
        -------
        ndarray, the recipe's shape and dtype
        """
        out = self._out(out, self.recipe.shape)
        self._draw(label, np.array([seed], dtype=np.uint64), out[None])
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
        """
        out = self._out(out, (stop - start, *self.recipe.shape))
        sample_seeds = seeds(self.recipe.seed, start, stop)
        classes = len(self.recipe.classes)
        batch = max(1, _BATCH_BYTES // (8 * math.prod(self.recipe.shape)))
        for first in range(min(classes, stop - start)):
            label = self.recipe.label_of(start + first)
            chosen = range(first, stop - start, classes)
            for low in range(0, len(chosen), batch):
                part = chosen[low : low + batch]
                where = slice(part.start, part.stop, part.step)
                self._draw(label, sample_seeds[where], out[where])
        return out

    def _out(self, out: Image | None, shape: tuple[int, ...]) -> Image:
        if out is None:
            return np.empty(shape, self.recipe.numpy_dtype)
        if out.shape != shape or out.dtype != self.recipe.numpy_dtype:
            raise UsageError(
                f"out has shape {out.shape} and dtype {out.dtype}",
                f"give an array of shape {shape} and dtype {self.recipe.dtype}",
            )
        return out

    def class_of(self, label: int) -> _Class:
        """Return the fields of a class and the joint factor of its last axis."""
        if label not in self._classes:
            scales = self.recipe.length_scales_of(label)
            fields = tuple(
                field_of(self.recipe.texture, component.kernel, scale)
                for component, scale in zip(self.recipe.components, scales, strict=True)
            )
            self._classes[label] = _Class(fields, _join_last_axis(fields))
        return self._classes[label]

    def _draw(self, label: int, sample_seeds: npt.NDArray[np.uint64], out: Image) -> None:
        """Draw samples of one class into out, shape (samples, *recipe.shape)."""
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            if self._other is not None:
                scales = self.recipe.length_scales_of(label)
                self._other.draw(self.recipe.texture, scales, sample_seeds, out)
            else:
                self._draw_exactly(label, sample_seeds, out)
        check_finite(self.recipe.name, self.recipe.dtype, label, sample_seeds, out)

    def _draw_exactly(self, label: int, sample_seeds: npt.NDArray[np.uint64], out: Image) -> None:
        what = self.class_of(label)
        rows, shift, exact = self._rows(what, sample_seeds)
        count = len(sample_seeds)
        flat_rows = [r.reshape(-1, r.shape[-1]) for r in rows]
        flat_out = out.reshape(count, -1, self.recipe.shape[-1])
        lines = flat_out.shape[1]
        joined = np.empty((count * lines, max(b.matrix.shape[0] for b in what.last)))
        values = np.empty((count * lines, BLOCK))
        for block in what.last:
            side_by_side = joined[:, : block.matrix.shape[0]]
            np.concatenate(
                [r[:, c] for r, c in zip(flat_rows, block.columns, strict=True)],
                axis=1,
                out=side_by_side,
            )
            part = values[:, : block.stop - block.start]
            np.matmul(side_by_side, block.matrix, out=part)
            part = part.reshape(count, lines, -1)
            if self.recipe.standardize:
                part -= shift[:, None, None]
            for samples, pixels in exact:
                exact_lines = pixels.reshape(len(samples), lines, -1)
                part[samples] += exact_lines[:, :, block.start : block.stop]
            flat_out[:, :, block.start : block.stop] = part

    def _rows(
        self, what: _Class, sample_seeds: npt.NDArray[np.uint64]
    ) -> tuple[list[Array], Array, list[tuple[npt.NDArray[np.int64], Array]]]:
        """Return each component's rows before the last axis, each sample's shift, exact pixels."""
        rows, exact = [], []
        shift = np.zeros(len(sample_seeds))
        bound = np.zeros(len(sample_seeds))
        for stream, (field, weight) in enumerate(zip(what.fields, self._weights, strict=True)):
            noise = field.noise(sample_seeds, stream)
            scale = np.full(len(sample_seeds), weight)
            if self.recipe.standardize:
                scale, offset, samples, pixels = standardize(field, noise, weight)
                shift += offset
                if len(samples):
                    exact.append((samples, pixels))
            part, part_bound = field.along_leading_axes(noise, scale)
            rows.append(part)
            bound += part_bound * field.factors[-1].matrix.row_sum
        # All components are summed in one product, so they share one grid.
        bits = grid_below(bound)
        for part in rows:
            round_to_grid(part, bits.reshape(-1, *(1,) * (part.ndim - 1)), out=part)
        return rows, shift, exact


def _join_last_axis(fields: tuple[Field, ...]) -> tuple[_Block, ...]:
    bands = zip(*(field.factors[-1].matrix.bands for field in fields), strict=True)
    return tuple(
        _Block(
            parts[0].start,
            parts[0].stop,
            tuple(slice(part.first, part.last) for part in parts),
            np.concatenate([part.matrix.T for part in parts]),
        )
        for parts in bands
    )


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
    """

    image: Image
    label: int
    class_name: str
    length_scales: tuple[LengthScale, ...]
    seed: int | None
    index: int | None


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
    return Sample(image, label, classes[label], recipe.length_scales_of(label), seed, index)


_local = threading.local()
_SAMPLERS_KEPT: Final = 4


def sampler_for(recipe: Recipe) -> Sampler:
    """Return this thread's sampler of a recipe; the last few are kept."""
    kept: OrderedDict[str, Sampler] = _local.__dict__.setdefault("samplers", OrderedDict())
    key = recipe.sha256
    if key not in kept:
        kept[key] = Sampler(recipe)
        if len(kept) > _SAMPLERS_KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]
