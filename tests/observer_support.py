"""The ideal observer shown images that were drawn pixel by pixel."""

from __future__ import annotations

import math

import numpy as np

from gpgen import Recipe
from gpgen.observer.axis_modes import modes_of_axis
from gpgen.observer.judging import IdealObserver
from gpgen.observer.simulation import SeenImages
from gpgen.sampling import Sampler


def recipe(shape, *components, **fields) -> Recipe:
    """Components as (length-scales, weight)."""
    return Recipe.from_dict(
        {
            "name": "observed",
            "shape": list(shape),
            "components": [
                {"kernel": "rbf", "length_scales": list(scales), "weight": weight}
                for scales, weight in components
            ],
            **fields,
        }
    )


def seen_of_drawn(observer: IdealObserver, images: Recipe, n: int) -> tuple[SeenImages, np.ndarray]:
    """Draw n images, add noise to the pixels, project them; return the labels too."""
    sampler, rng = Sampler(images), np.random.default_rng(5)
    periodic = images.boundary == "periodic"
    every = np.concatenate([*observer.modes.blocks, observer.modes.single])
    axes = [
        modes_of_axis(pixels, count, periodic)
        for pixels, count in zip(images.shape, every.max(axis=0) + 1, strict=True)
    ]
    blocks = [[] for _ in observer.modes.blocks]
    squares = []
    step = max(1, 2**21 // math.prod(images.shape))
    for start in range(0, n, step):
        seen = sampler.images(start, min(n, start + step)).astype(np.float64)
        seen += math.sqrt(observer.noise) * rng.standard_normal(seen.shape)
        for axis, modes in enumerate(axes, start=1):
            seen = np.moveaxis(np.tensordot(modes, seen, axes=(1, axis)), 0, axis)
        for block, modes in zip(blocks, observer.modes.blocks, strict=True):
            block.append(seen[(slice(None), *modes.T)])
        squares.append(np.square(seen[(slice(None), *observer.modes.single.T)], dtype=np.float32))
    projected = SeenImages(tuple(map(np.concatenate, blocks)), np.concatenate(squares))
    return projected, np.asarray(images.labels(0, n))
