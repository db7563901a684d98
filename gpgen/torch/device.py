"""Samples drawn on a device: random numbers on the CPU, the large products where they are fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from gpgen.errors import UsageError
from gpgen.indexing import from_zero
from gpgen.recipe import AnyRecipe, Recipe
from gpgen.sampling import sampler_for
from gpgen.torch.arrays import TorchArrays

__all__ = ["sample_batch"]


def sample_batch(
    recipe: AnyRecipe,
    indices: Sequence[int] | npt.NDArray[np.int64] | torch.Tensor,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    """Draw samples on a device.

    Parameters
    ----------
    recipe
        What to draw: a recipe, the name of a built-in one, a path, or a dict.
    indices
        The samples, from 0; repeats are allowed.
    device
        Where to multiply, and where the images end.
    dtype
        What to multiply in. float64: bit for bit the images that `gpgen.make` writes. float32:
        each pixel to 1e-5 of them, on a device that doesn't round products further (PyTorch's
        TF32 is off by default).

    Returns
    -------
    Tensor
        float32, shape (len(indices), 1, *recipe.shape), on the device.

    Raises
    ------
    UsageError
        If an index is negative or no whole number, or the device can't multiply in `dtype`.
    """
    if dtype not in (torch.float64, torch.float32):
        raise UsageError(f"dtype is {dtype}", "use torch.float64 or torch.float32")
    if isinstance(indices, torch.Tensor):
        indices = indices.cpu().numpy()
    chosen = from_zero(indices).reshape(-1)
    sampler = sampler_for(Recipe.load(recipe), TorchArrays(torch.device(device), dtype))
    images: Any = sampler.images_at(chosen)
    return cast("torch.Tensor", images.unsqueeze(1))
