"""What a recipe may ask for and seldom means: said once, where somebody asks for a dataset."""

from __future__ import annotations

import math
from typing import Final

from gpgen.errors import RecipeWarning, warn_caller
from gpgen.exact.texture import length_scale_name
from gpgen.recipe import Recipe

__all__ = ["recipe_warnings", "warn_about"]

_MANY: Final = 2**40
"""Samples, after which no split is empty."""

_MOST_NAMES: Final = 3


def recipe_warnings(recipe: Recipe, n: int | None = None) -> tuple[str, ...]:
    """Return what is allowed and yet seldom meant.

    Parameters
    ----------
    recipe
        The recipe.
    n
        Number of samples, if it is known: a split may get none of them.
    """
    found = []
    if recipe.class_count == 1 and not _draws_numbers(recipe):
        found.append(f"there is one class only, {recipe.classes[0]!r}: nothing to classify")
    elif recipe.standardize and math.prod(recipe.shape) == 2:
        found.append("a standardized image of 2 pixels looks alike in every class")
    for number, component in enumerate(recipe.components, start=1):
        names = [
            length_scale_name(scale)
            for scale in component.all_length_scales
            if any(x > n for x, n in zip(recipe.per_axis(scale), recipe.shape, strict=True))
        ]
        if names:
            size = "x".join(map(str, recipe.shape))
            found.append(
                f"component {number}: length-scale {_some(names)} px is longer than the image of "
                f"{size} px"
            )
    if n is not None:
        n = min(n, _MANY)  # an endless dataset's n overflows
        empty = [repr(name) for name in recipe.splits if len(recipe.split(name, n)) == 0]
        if empty:
            found.append(f"split {_some(empty)} gets none of the {n} samples")
    return tuple(found)


def _draws_numbers(recipe: Recipe) -> bool:
    return recipe.texture.draws_length_scales or recipe.texture.draws_weights


def warn_about(recipe: Recipe, n: int | None = None) -> None:
    """Warn the caller outside of gpgen of what `recipe_warnings` finds.

    Called where somebody asks for a dataset, not where a worker draws it, so that no worker
    says it again.
    """
    for text in recipe_warnings(recipe, n):
        warn_caller(f"recipe {recipe.name!r}: {text}", RecipeWarning)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
