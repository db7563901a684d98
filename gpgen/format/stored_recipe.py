"""What a dataset says it holds: the recipe that drew it, or its source if it was imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gpgen.exact.accuracy import accuracy
from gpgen.imported import Imported
from gpgen.recipe import Recipe
from gpgen.recipe_checks import check, check_names
from gpgen.recipe_meaning import UnclearRecipeError

__all__ = ["StoredRecipe", "stored_recipe"]


class StoredRecipe(Recipe, frozen=True, forbid_unknown_fields=True):
    """A recipe by which something was made already, though today it would be refused as unclear.

    What exists can be read, verified and made again; a recipe derived from it by `replace` is
    checked as a new one.
    """

    def __post_init__(self) -> None:
        check_names(self.name, self.seed, self.splits)
        check(self.texture)

    def __hash__(self) -> int:
        return hash(self.sha256)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Read a recipe; it is a `StoredRecipe` only if it is unclear."""
        try:
            return Recipe.from_dict(fields, where)
        except UnclearRecipeError:
            recipe = msgspec.convert(dict(fields), cls)  # nothing else is wrong with its fields
            accuracy(recipe.texture)
            return recipe

    def replace(self, **changes: Any) -> Recipe:  # noqa: ANN401
        """Return a recipe with some fields changed, checked like any other."""
        return Recipe.from_dict({**self.to_dict(), **changes}, self.name)


def stored_recipe(fields: Mapping[str, Any]) -> Recipe | Imported:
    """Read what a dataset has stored of its images.

    Raises
    ------
    RecipeError
        If it is not one.
    """
    if fields.get("algorithm") == "imported":
        return Imported.from_dict(fields)
    return StoredRecipe.from_dict(fields)
