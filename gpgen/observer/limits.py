"""Which recipes the observer and the audit can answer for."""

from __future__ import annotations

from typing import Final

from gpgen.errors import UsageError
from gpgen.recipe import Recipe

__all__ = ["check_answerable"]

_MOST_CLASSES: Final = 64


def check_answerable(recipe: Recipe) -> None:
    """Refuse a recipe whose classes are too many, or whose densities aren't known here.

    Raises
    ------
    UsageError
        If it draws length-scales or weights, transforms values, or has more than 64 classes.
    """
    texture = recipe.texture
    if texture.draws_length_scales or texture.draws_weights or texture.is_transformed:
        raise UsageError(
            f"recipe {recipe.name!r} draws length-scales or weights from a range, or transforms "
            "values: its images have no density that is known here",
            "list length-scales, give weights, and leave transforms out; `gpgen verify "
            "--regenerate all` checks the pixels of such data",
        )
    if recipe.class_count > _MOST_CLASSES:
        raise UsageError(
            f"recipe {recipe.name!r} has {recipe.class_count} classes, each to be compared with "
            "each",
            f"use at most {_MOST_CLASSES}",
        )
