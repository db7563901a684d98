"""Which recipes the observer and the audit can answer for."""

from __future__ import annotations

from typing import Final

import msgspec

from gpgen.errors import UsageError
from gpgen.exact.marginals import MARGINALS
from gpgen.recipe import Recipe

__all__ = ["check_answerable", "check_density"]

_MOST_CLASSES: Final = 64

_KNOWN: Final = {
    "name", "shape", "components", "boundary", "standardize", "dtype", "seed", "algorithm",
    "splits", "kernel", "length_scales", "weight", "smoothness", "alpha", "exponent", "hurst",
    "inner_scale", "angle", "transform",
}  # fmt: skip
"""Fields of recipes and components whose meaning is computed with here."""


def check_answerable(recipe: Recipe) -> None:
    """Refuse a recipe whose classes are too many, or whose fields aren't computed with here.

    Raises
    ------
    UsageError
        If it is one.
    """
    for what in (recipe, *recipe.components):
        for field in msgspec.structs.fields(type(what)):
            if field.name not in _KNOWN and getattr(what, field.name) != field.default:
                raise _unknown(recipe, field.name)
    if recipe.transform is not None:
        raise _unknown(recipe, "a transform of the sum")
    for component in recipe.components:
        if not isinstance(component.weight, float | int):
            raise _unknown(recipe, "a drawn weight")
        if component.transform not in (None, *MARGINALS):
            raise _unknown(recipe, f"the transform {component.transform}")
    if recipe.class_count > _MOST_CLASSES:
        raise UsageError(
            f"recipe {recipe.name!r} has {recipe.class_count} classes, each to be compared with "
            "each",
            f"use at most {_MOST_CLASSES}",
        )


def check_density(recipe: Recipe) -> None:
    """Refuse a recipe whose images have no density that is computed here.

    Parameters
    ----------
    recipe
        Without transforms that can be inverted (`gpgen.observer.inverting.beneath`).

    Raises
    ------
    UsageError
        If it transforms values, or has classes and draws length-scales.
    """
    if recipe.texture.is_transformed:
        raise UsageError(
            f"recipe {recipe.name!r} thresholds values, or adds up transformed ones: its images "
            "have no density that is known here",
            'use "lognormal" or "uniform" of a single component, or leave transforms out',
        )
    if recipe.texture.draws_length_scales and recipe.class_count > 1:
        raise UsageError(
            f"recipe {recipe.name!r} has {recipe.class_count} classes and draws length-scales: "
            "the density of a class is a mixture over the range, which isn't computed here",
            "use one class with a range, or list length-scales",
        )


def _unknown(recipe: Recipe, what: str) -> UsageError:
    return UsageError(
        f"recipe {recipe.name!r} uses {what}, with which no densities are computed here",
        "leave it out; `gpgen verify --regenerate all` checks the pixels of a stored dataset",
    )
