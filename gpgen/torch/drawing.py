"""Drawing samples by any indices, those of one class together."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from torch.utils.data import get_worker_info

from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for, seeds

__all__ = ["by_class", "draw_into", "seeds_at"]

_SEED_BLOCK: Final = 1024
_BATCH_BYTES: Final = 2**20

Indices = npt.NDArray[np.int64]


@lru_cache(maxsize=1024)
def _seed_block(root_seed: int, block: int) -> npt.NDArray[np.uint64]:
    return seeds(root_seed, block * _SEED_BLOCK, (block + 1) * _SEED_BLOCK)


def seeds_at(recipe: Recipe, indices: Indices) -> npt.NDArray[np.uint64]:
    """Return the seeds of any samples: uint64, shape (len(indices),)."""
    out = np.empty(len(indices), dtype=np.uint64)
    for k, index in enumerate(indices.tolist()):
        block, word = divmod(index, _SEED_BLOCK)
        out[k] = _seed_block(recipe.seed, block)[word]
    return out


def by_class(recipe: Recipe, indices: Indices) -> list[tuple[int, Indices]]:
    """Return each class among the samples, with the positions in `indices` of its samples."""
    labels = indices % recipe.class_count
    return [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]


def draw_into(recipe: Recipe, indices: Indices, out: npt.NDArray[Any]) -> None:
    """Draw the images of any samples.

    Parameters
    ----------
    recipe
        What to draw.
    indices
        The samples.
    out
        Where to write: shape (len(indices), *recipe.shape), the recipe's dtype.
    """
    _one_thread_in_a_worker()
    sampler = sampler_for(recipe)
    sample_seeds = seeds_at(recipe, indices)
    together = max(1, _BATCH_BYTES // (8 * math.prod(recipe.shape)))
    for label, positions in by_class(recipe, indices):
        if together == 1:
            for k in positions.tolist():
                sampler.image(int(sample_seeds[k]), label, out=out[k])
            continue
        for low in range(0, len(positions), together):
            part = positions[low : low + together]
            images = np.empty((len(part), *recipe.shape), recipe.numpy_dtype)
            sampler._draw(label, sample_seeds[part], images)
            out[part] = images


@lru_cache(maxsize=1)
def _limit_threads() -> None:
    threadpool_limits(1, "blas")


def _one_thread_in_a_worker() -> None:
    """Keep a DataLoader's workers from sharing the cores with each other's BLAS threads."""
    if get_worker_info() is not None:
        _limit_threads()
