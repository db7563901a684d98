"""Samples drawn on a device: on a GPU their random numbers, products and transforms."""

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

__all__ = ["device_of", "sample_batch"]


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
        Where to draw, and where the images end. NumPy, on the CPU, does what is left: recipes of
        ``algorithm = "golkar2018"``, transforms of the values, and images that are nearly constant.
    dtype
        What to compute in. float64: bit for bit the images that `gpgen.make` writes. float32, for
        devices that have no float64 or a slow one: random numbers come from the CPU, and each
        pixel is right to 1e-5, if products aren't rounded further (PyTorch's TF32 is off by
        default).

    Returns
    -------
    Tensor
        float32, shape (len(indices), 1, *recipe.shape), on the device.

    Raises
    ------
    UsageError
        If an index is negative or no whole number, there is no such device, or it can't compute
        in `dtype`.
    """
    if dtype not in (torch.float64, torch.float32):
        raise UsageError(f"dtype is {dtype}", "use torch.float64 or torch.float32")
    if isinstance(indices, torch.Tensor):
        indices = indices.cpu().numpy()
    chosen = from_zero(indices).reshape(-1)
    place = device_of(device, dtype)
    if place.type == "cpu" and dtype == torch.float64:  # NumPy is two to seven times as fast
        drawn = sampler_for(Recipe.load(recipe)).images_at(chosen)
        return torch.from_numpy(drawn.astype(np.float32, copy=False)).unsqueeze(1)
    images: Any = sampler_for(Recipe.load(recipe), TorchArrays(place, dtype)).images_at(chosen)
    return cast("torch.Tensor", images.unsqueeze(1))


def device_of(device: torch.device | str, dtype: torch.dtype = torch.float64) -> torch.device:
    """Return a device that can compute in a type.

    Raises
    ------
    UsageError
        If there is none.
    """
    try:
        found = torch.device(device)
        usable = not torch.empty(0, dtype=dtype, device=found).is_meta
    except (RuntimeError, AssertionError):
        usable = False
    except TypeError as error:
        raise UsageError(f"{device} can't hold {dtype}", "use dtype=torch.float32") from error
    if not usable:
        raise UsageError(f"there is no device {str(device)!r} that torch can use here", 'use "cpu"')
    return found
