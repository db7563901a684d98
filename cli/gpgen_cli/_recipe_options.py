"""The options that override a recipe, and the recipe that results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from gpgen.recipe import Recipe

__all__ = ["RecipeName", "Size", "override", "recipe_options"]

F = TypeVar("F", bound=Callable[..., object])


class RecipeName(click.ParamType):
    """The name of a built-in recipe or the path of a ``.toml`` file."""

    name = "name|file.toml"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the built-in names, then files."""
        from gpgen.recipe import builtin_recipes

        names = [name for name in builtin_recipes() if name.startswith(incomplete)]
        return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


class Size(click.ParamType):
    """Pixels: ``512`` for every axis, or ``480x640`` axis by axis."""

    name = "pixels"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ANN401
    ) -> tuple[int, ...]:
        """Return one number, or one for each axis."""
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"-?\d+(x\d+)*", str(value)):
            self.fail(f"{value!r} is not a size: give pixels like 512, or 480x640", param, ctx)
        return tuple(int(pixels) for pixels in str(value).split("x"))


def recipe_options(verb: F) -> F:
    """Add ``--recipe`` and what overrides its fields."""
    options = [
        click.option(
            "--recipe",
            "source",
            type=RecipeName(),
            default="two-scale",
            show_default=True,
            help="Built-in recipe ('gpgen recipes') or a .toml file.",
        ),
        click.option("--size", type=Size(), help="Pixels: 512 for every axis, or 480x640."),
        click.option("--seed", type=int, help="Root seed."),
        click.option(
            "--dtype", type=click.Choice(["float32", "float16"]), help="Type of the pixels."
        ),
        click.option(
            "--boundary", type=click.Choice(["open", "periodic"]), help="What happens at the edges."
        ),
        click.option(
            "--standardize/--no-standardize",
            default=None,
            help="Shift and scale each field to mean 0, deviation 1 over its pixels.",
        ),
    ]
    for option in reversed(options):
        verb = option(verb)
    return verb


def override(source: str, size: tuple[int, ...] | None, **fields: Any) -> Recipe:  # noqa: ANN401
    """Load a recipe and replace the fields that were given on the command line."""
    from gpgen.recipe import Recipe

    recipe = Recipe.load(source)
    if size is not None:
        fields["shape"] = size * len(recipe.shape) if len(size) == 1 else size
    changes = {name: value for name, value in fields.items() if value is not None}
    return recipe.replace(**changes) if changes else recipe
