"""What a dataset says it holds: the recipe that drew it, or whence it was imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpgen.recipe import Recipe

__all__ = ["stored_recipe"]


def stored_recipe(fields: Mapping[str, Any]) -> Recipe:
    """Read a stored recipe.

    Raises
    ------
    RecipeError
        If it is not one.
    """
    if fields.get("algorithm") == "imported":
        from gpgen.golkar2018.imported import Imported

        return Imported.from_dict(fields)
    return Recipe.from_dict(fields)
