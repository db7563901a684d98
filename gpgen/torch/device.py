"""Samples drawn on a device: random numbers on the CPU, the large products where they are fast.

In float64 every product is exact (`gpgen.exact.fixed_point`), so that a GPU gives the CPU's bits.
In float32, for GPUs whose float64 is slow, the same products are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from gpgen.errors import UsageError
from gpgen.exact.field import Field, grid_below
from gpgen.exact.finite import check_finite
from gpgen.exact.normal import LARGEST
from gpgen.exact.standardizing import standardize
from gpgen.indexing import from_zero
from gpgen.recipe import AnyRecipe, Recipe
from gpgen.sampling import sampler_for
from gpgen.torch.drawing import by_class, seeds_at

__all__ = ["sample_batch"]

Array = npt.NDArray[np.float64]


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
    recipe = Recipe.load(recipe)
    place = torch.device(device)
    images = torch.empty((len(chosen), 1, *recipe.shape), dtype=torch.float32, device=place)
    sample_seeds = seeds_at(recipe, chosen)
    for label, positions in by_class(recipe, chosen):
        pixels = _draw(recipe, label, sample_seeds[positions], place, dtype)
        images[torch.from_numpy(positions).to(place), 0] = pixels
    return images


def _draw(
    recipe: Recipe,
    label: int,
    sample_seeds: npt.NDArray[np.uint64],
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Draw samples of one class: float32, shape (samples, *recipe.shape)."""
    fields = sampler_for(recipe).class_of(label).fields
    shift, bound = np.zeros(len(sample_seeds)), np.zeros(len(sample_seeds))
    rows, exact = [], []
    factors = _factors(recipe, label, device, dtype)
    for stream, (field, component) in enumerate(zip(fields, recipe.components, strict=True)):
        noise = field.noise(sample_seeds, stream)
        scale = np.full(len(sample_seeds), component.weight)
        if recipe.standardize:
            scale, offset, samples, values = standardize(field, noise, component.weight)
            shift += offset
            if len(samples):
                exact.append((torch.from_numpy(samples), torch.from_numpy(values)))
        part, part_bound = _leading_axes(field, factors[stream], noise, scale)
        rows.append(part)
        bound += part_bound * field.factors[-1].matrix.row_sum
    pixels = torch.zeros((), dtype=dtype, device=device)
    for part, matrices in zip(rows, factors, strict=True):
        # All components are summed, so they share one grid.
        pixels = pixels + _rounded(part, grid_below(bound)) @ matrices[-1].T
    if recipe.standardize:
        pixels = pixels - _each(shift, pixels)
    for chosen, given in exact:
        pixels[chosen.to(device)] += given.to(pixels)
    images = _to_float16(pixels) if recipe.dtype == "float16" else pixels.to(torch.float32)
    if not bool(images.isfinite().all()):
        check_finite(recipe.name, recipe.dtype, label, sample_seeds, images.cpu().numpy())
    return images


def _leading_axes(
    field: Field, matrices: tuple[torch.Tensor, ...], noise: Array, scale: Array
) -> tuple[torch.Tensor, Array]:
    """Do what `Field.along_leading_axes` does, on a device."""
    values = torch.from_numpy(noise * scale.reshape(-1, *(1,) * (noise.ndim - 1)))
    rows = values.to(matrices[0])
    bound = LARGEST * scale
    for axis, factor in enumerate(field.factors[:-1], start=1):
        bound = bound * factor.matrix.row_sum
        rows = _rounded(rows, grid_below(bound))
        shape = rows.shape
        flat = rows.reshape(int(np.prod(shape[:axis])), shape[axis], -1)
        rows = (matrices[axis - 1] @ flat).reshape(*shape[:axis], -1, *shape[axis + 1 :])
    return rows, bound


@lru_cache(maxsize=64)
def _factors(
    recipe: Recipe, label: int, device: torch.device, dtype: torch.dtype
) -> tuple[tuple[torch.Tensor, ...], ...]:
    """Return each component's factors, one an axis, as dense matrices (pixels, columns)."""
    fields = sampler_for(recipe).class_of(label).fields
    try:
        return tuple(
            tuple(
                torch.from_numpy(factor.matrix.apply_last(np.eye(factor.columns)).T.copy()).to(
                    device, dtype
                )
                for factor in field.factors
            )
            for field in fields
        )
    except TypeError as error:
        raise UsageError(f"{device} can't hold {dtype}", "use dtype=torch.float32") from error


def _rounded(x: torch.Tensor, bits: npt.NDArray[np.int64]) -> torch.Tensor:
    """Round each sample to multiples of ``2**-bits``; float32 can't, and is left alone."""
    if x.dtype != torch.float64:
        return x
    shifter = _each(np.ldexp(1.5, 52 - bits), x)
    return (x + shifter) - shifter


def _each(values: Array, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(like).reshape(-1, *(1,) * (like.ndim - 1))


def _to_float16(x: torch.Tensor) -> torch.Tensor:
    """Round to float16 and return float32; PyTorch's own way rounds twice, by way of float32."""
    exponent = (x.to(torch.float64).view(torch.int64) >> 52) & 0x7FF
    # float16 has 11 significant bits, and no finer spacing than 2**-24; 1023 is the bias.
    spacing = ((exponent - 10).clamp(min=1023 - 24) << 52).view(torch.float64)
    rounded = (torch.round(x / spacing) * spacing).to(torch.float32)
    return torch.where(rounded.abs() <= 65504, rounded, rounded * torch.inf)
