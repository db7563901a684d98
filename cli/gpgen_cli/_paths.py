"""Paths that a verb reads: a misspelt one gets the name nearest to it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

__all__ = ["Source"]


class Source(click.Path):
    """A path to read from. What is not there is the library's to refuse, if nothing is like it.

    Parameters
    ----------
    recipes
        Whether the name of a built-in recipe will do, too.
    """

    def __init__(self, *, recipes: bool = False) -> None:
        super().__init__()
        self.recipes = recipes

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Return the path, unless there is none but one like it."""
        text = os.fspath(value)
        # Neither an address, nor the pattern of a dataset's files, nor one that is being made.
        if any(mark in text for mark in ("://", "{")) or any(
            os.path.lexists(text + more) for more in ("", ".making")
        ):
            return super().convert(value, param, ctx)
        known = _recipes() if self.recipes else []
        near = None if text in known else _nearest(text, known)
        if near is not None:
            from gpgen.errors import DatasetError, RecipeError

            error = RecipeError if self.recipes else DatasetError
            raise error(f"there is no {text!r}", f"did you mean {near!r}?")
        return super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer files, and the names of the built-in recipes."""
        # Files first: in bash, what says "files too" also empties the list.
        items = super().shell_complete(ctx, param, incomplete)
        if self.recipes:
            items += [CompletionItem(name) for name in _recipes() if name.startswith(incomplete)]
        return items


def _recipes() -> list[str]:
    from gpgen.recipe import builtin_recipes

    return list(builtin_recipes())


def _nearest(text: str, known: list[str]) -> str | None:
    """Return the recipe, or else the path in the same folder, that is most like a text."""
    for name in difflib.get_close_matches(text, known, n=1):
        return name
    path = Path(text)
    try:
        names = [name for name in os.listdir(path.parent) if name[0] != "."]  # noqa: PTH208
    except OSError:
        return None
    alike = [
        name
        for name in difflib.get_close_matches(path.name, names, n=5)
        # By more than a suffix that all have.
        if difflib.SequenceMatcher(None, path.stem, Path(name).stem).ratio() > 0.6
        and not name.endswith(".making")
    ]
    return str(path.with_name(alike[0])) if alike else None
