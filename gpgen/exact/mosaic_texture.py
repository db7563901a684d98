"""Recipes with ``algorithm = "golkar2018"``: sums of the 2018 generator's textures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError, UsageError
from gpgen.exact.fixed_point import fraction_bits
from gpgen.exact.mosaic import Mosaic, Patch, texture
from gpgen.exact.normal import LARGEST

if TYPE_CHECKING:
    from gpgen.recipe import Recipe

__all__ = ["accuracy_of", "check_recipe", "draw"]


def check_recipe(recipe: Recipe) -> None:
    """Raise `RecipeError` for what the 2018 generator can't draw."""
    square = len(recipe.shape) == 2 and recipe.shape[0] == recipe.shape[1]
    if not square or recipe.boundary != "open" or not recipe.standardize:
        raise RecipeError(
            'algorithm "golkar2018" draws square, standardized images with an open boundary only',
            'mend shape, standardize and boundary, or use algorithm = "exact"',
        )
    for number, component in enumerate(recipe.components, start=1):
        for scale in component.length_scales:
            if component.kernel != "rbf" or isinstance(scale, tuple):
                raise RecipeError(
                    f'component {number}: algorithm "golkar2018" knows the rbf kernel only, with '
                    "one number for a length-scale",
                    'use these, or algorithm = "exact"',
                )
            try:
                texture(scale, recipe.shape[0])
            except UsageError as error:
                raise RecipeError(f"component {number}: {error.message}", error.hint) from None


def draw(recipe: Recipe, label: int, seeds: npt.NDArray[np.uint64], out: npt.NDArray[Any]) -> None:
    """Draw samples of one class.

    Parameters
    ----------
    recipe
        What to draw.
    label
        The class.
    seeds
        Each sample's seed, shape (samples,).
    out
        Where to write: shape (samples, *recipe.shape), the recipe's dtype.
    """
    size = recipe.shape[0]
    for seed, image in zip(seeds.tolist(), out, strict=True):
        total = np.zeros((size, size))
        for stream, scale in enumerate(recipe.length_scales_of(label)):
            assert not isinstance(scale, tuple)  # noqa: S101 - checked with the recipe
            field = texture(scale, size).standardized(seed, stream)
            total += field * recipe.components[stream].weight
        image[...] = total


def accuracy_of(recipe: Recipe) -> tuple[float, float, float]:
    """Compute how exactly the patches of a recipe are drawn.

    Returns
    -------
    covariance_error : float
        The largest difference between the covariance of what is drawn and that of the 2018
        program, over all pairs of pixels of a patch.
    bits_used : float
        Bits that the largest possible partial sum takes; no more than 53 are exact.
    grid : float
        The spacing of the grid on which intermediate values lie.
    """
    error, bits, grid = 0.0, 0.0, 0.0
    for component in recipe.components:
        for scale in component.length_scales:
            assert not isinstance(scale, tuple)  # noqa: S101 - checked with the recipe
            what: Patch | Mosaic = texture(scale, recipe.shape[0])
            patch = what.patch if isinstance(what, Mosaic) else what
            factor = patch.axis_factor
            bound = LARGEST * factor.row_sum * factor.row_sum
            half_bits = fraction_bits(bound) - factor.bits
            error = max(error, patch.covariance_error)
            bits = max(bits, math.log2(bound) + half_bits + factor.bits)
            grid = max(grid, 2.0**-half_bits)
    return error, bits, grid
