"""Datasets that aren't what their recipe says, stored as if they were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpgen import Dataset, Recipe
from gpgen.making.converting import one_by_one
from gpgen.making.planning import job_of
from gpgen.making.run import carry_out
from gpgen.sampling import sampler_for

SMALL = Recipe.from_dict(
    {
        "name": "audited",
        "shape": [64, 64],
        "components": [
            {"kernel": "rbf", "length_scales": [2.0, 2.5]},
            {"kernel": "rbf", "length_scales": [5.0, 8.0]},
        ],
    }
)


@dataclass
class StoredImages:
    """A source of images that are at hand, whatever their description says."""

    described: Recipe
    stored: np.ndarray

    def images(self, start: int, stop: int, out: Any = None) -> np.ndarray:
        return self.stored[start:stop].astype(self.described.numpy_dtype)


def stored(recipe: Recipe, images: np.ndarray, path: Path) -> Dataset:
    """Store images as a dataset of a recipe."""
    return carry_out(job_of(StoredImages(recipe, images), len(images), path), one_by_one)


def drawn(recipe: Recipe, n: int) -> np.ndarray:
    return sampler_for(recipe).images(0, n)


def with_scales(recipe: Recipe, *factors: float) -> Recipe:
    """The recipe with each component's length-scales multiplied."""
    components = [
        {**component, "length_scales": [factor * each for each in component["length_scales"]]}
        for component, factor in zip(recipe.to_dict()["components"], factors, strict=True)
    ]
    return recipe.replace(components=components)


def wrong(kind: str, recipe: Recipe, n: int) -> np.ndarray:
    """Images of a recipe of two components and four classes that are wrong in one way."""
    images = drawn(recipe, n)
    labels = np.arange(n) % 4
    deviation = images.std()
    if kind == "length-scale":
        images = drawn(with_scales(recipe, 1.03, 1.0), n)
    elif kind == "labels":
        one, other = images[labels == 1].copy(), images[labels == 2].copy()
        images[labels == 1], images[labels == 2] = other, one
    elif kind == "component":
        images = drawn(recipe.replace(components=recipe.to_dict()["components"][:1]), n)
    elif kind == "repeated":
        images[96] = images[40]
    elif kind == "pixels":
        images[60:100] = drawn(recipe.replace(seed=recipe.seed + 10**6), 100)[60:]
    elif kind == "clipped":
        images = np.clip(images, -2 * deviation, 2 * deviation)
    elif kind == "rounded":
        step = 8 * deviation / 256
        images = np.round(images / step) * step
    return images
