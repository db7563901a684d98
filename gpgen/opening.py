"""What a user calls data: a dataset's path, a recipe's file, or a built-in recipe's name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from gpgen.errors import DatasetError, RecipeError
from gpgen.recipe import Recipe, builtin_recipes

if TYPE_CHECKING:
    from gpgen.dataset import Dataset

__all__ = ["recipe_or_dataset"]


def recipe_or_dataset(source: str) -> Recipe | Dataset:
    """Load a recipe or open a dataset; what is on the disk comes before a built-in recipe's name.

    Raises
    ------
    RecipeError
        If it is a recipe that can't be drawn, or neither a dataset nor a recipe.
    DatasetError
        If it is a dataset that is unfinished or damaged.
    """
    path = Path(source)
    if path.suffix == ".toml" or (source in builtin_recipes() and not path.exists()):
        return Recipe.load(source)
    from gpgen.dataset import open_dataset

    try:
        return open_dataset(source)
    except DatasetError as error:
        if path.suffix or path.name != source or path.exists() or "unfinished" in error.message:
            raise
    known = builtin_recipes()
    near = difflib.get_close_matches(source, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"recipes are {', '.join(known)}"
    raise RecipeError(f"{source!r} is neither a dataset nor a built-in recipe", hint)
