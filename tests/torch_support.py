"""What the tests of gpgen.torch share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gpgen
from gpgen import Recipe, Sampler
from gpgen.making.converting import convert
from gpgen.torch import GeneratedTextures

N = 96
SHARD = 24
FORMATS = {"zarr": "d.zarr", "hdf5": "d.h5", "shards": "d-{shard:02d}.h5", "tar": "d-{shard}.tar"}

RECIPE = Recipe.from_dict(
    {
        "name": "small",
        "shape": [20, 32],
        "seed": 11,
        "components": [
            {"kernel": "rbf", "length_scales": [2.0, 2.5], "weight": 0.75},
            {"kernel": "rbf", "length_scales": [8.0, 12.0], "weight": 1.25},
        ],
    }
)
IMAGES = Sampler(RECIPE).images(0, N)


def store_all(folder: Path, recipe: Recipe = RECIPE, n: int = N) -> dict[str, Path]:
    """The same textures in every format; the sizes of chunks don't divide those of batches."""
    paths = {name: folder / file for name, file in FORMATS.items()}
    gpgen.make(recipe, n, paths["zarr"], chunk_size=4, shard_size=SHARD, workers=1).close()
    for name, path in paths.items():
        if name != "zarr":
            convert(paths["zarr"], path, shard_size=SHARD).close()
    return paths


class Numbered(GeneratedTextures):
    """Every pixel of a sample is its index: to see which samples come, and how often."""

    def _images(self, indices: np.ndarray, out: np.ndarray) -> None:
        out[...] = indices.reshape(-1, *(1,) * (out.ndim - 1))


def numbered(n: int, **options: Any) -> Numbered:
    return Numbered(RECIPE.replace(shape=[4, 8], standardize=False), n, **options)


def numbers(images: Any) -> list[int]:
    """The indices of a batch of `Numbered`."""
    return [int(v) for v in images[:, 0, 0, 0]]
