"""A map-style dataset of textures that are drawn when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import get_worker_info

from gpgen.errors import UsageError
from gpgen.recipe import AnyRecipe, Recipe
from gpgen.recipe_warnings import warn_about
from gpgen.sampling import sampler_for
from gpgen.torch.datasets import Target, Textures
from gpgen.torch.device import device_of, sample_batch
from gpgen.whole_numbers import whole_number

__all__ = ["GeneratedTextures"]


class GeneratedTextures(Textures):
    """The dataset that `gpgen.make` would write, drawn as it is needed: no file, the same bits.

    Parameters
    ----------
    recipe
        What to draw: a recipe, the name of a built-in one, a path, or a dict.
    n
        Samples of the whole dataset.
    split
        Which part of it; None for all of it.
    target
        "label" (an int), "length_scales" (float32 pixels, for regression), "weights" (float32), or
        "both" of the first two.
    transform
        Applied to each image, a float32 tensor (1, *shape).
    target_transform
        Applied to each target.
    device
        Where to draw, and where the images are: on a GPU, the loader must have no workers
        (``num_workers=0``). Targets are on the CPU.

    Raises
    ------
    RecipeError
        If the recipe can't be read.
    UsageError
        If n is not positive, or there is no such split, target or device. When images are asked
        for, if a device draws in a DataLoader's worker.
    """

    recipe: Recipe

    def __init__(
        self,
        recipe: AnyRecipe,
        n: int,
        split: str | None = None,
        target: Target = "label",
        transform: Callable[[torch.Tensor], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = device_of(device)
        n = whole_number("n", n, 1, "ask for 1 sample or more")
        recipe = Recipe.load(recipe)
        warn_about(recipe, n)
        super().__init__(recipe, n, split, target, transform, target_transform)
        self.shard_size = n

    def _images_of(self, indices: npt.NDArray[np.int64], lent: bool = False) -> torch.Tensor:
        if self.device.type == "cpu":
            return super()._images_of(indices, lent)
        if get_worker_info() is not None:
            raise UsageError(
                f"images are drawn on {self.device}, and a DataLoader's worker can't use that",
                "use num_workers=0",
            )
        return sample_batch(self.recipe, indices, self.device)

    def _images(self, indices: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
        if get_worker_info() is not None:
            _limit_blas_threads()
        sampler_for(self.recipe).images_at(indices, out)


@lru_cache(maxsize=1)
def _limit_blas_threads() -> None:
    """Keep a DataLoader's workers from sharing the cores with each other's BLAS threads."""
    threadpool_limits(1, "blas")
