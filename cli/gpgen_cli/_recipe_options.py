"""Options that several verbs have: those that override a recipe, sizes of shards, classes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpgen_cli._paths import Source

if TYPE_CHECKING:
    from gpgen.recipe import AnyRecipe, Recipe

__all__ = ["chunk_options", "class_option", "override", "parse_size", "recipe_options"]

F = TypeVar("F", bound=Callable[..., object])


def parse_size(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Return the pixels of ``512``, for every axis, or of ``480x640``, axis by axis."""
    if value is None:
        return None
    if not re.fullmatch(r"-?\d+(x\d+)*", value):
        raise click.BadParameter(f"{value!r} is not a size like 512 or 480x640", ctx, param)
    return tuple(int(pixels) for pixels in value.split("x"))


def recipe_options(verb: F) -> F:
    """Add ``--recipe`` and what overrides its fields."""
    options = [
        click.option(
            "--recipe",
            "source",
            metavar="NAME|FILE.toml",
            type=Source(recipes=True),
            default="two-scale",
            help="Built-in recipe ('gpgen recipes') or a .toml file.",
        ),
        click.option(
            "--size",
            metavar="PIXELS",
            callback=parse_size,
            show_default="the recipe's",
            help="512 for every axis, or axis by axis: 480x640.",
        ),
        click.option("--seed", type=int, show_default="the recipe's", help="Root seed."),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "float16"]),
            show_default="the recipe's",
            help="Type of the pixels.",
        ),
        click.option(
            "--boundary",
            type=click.Choice(["open", "periodic"]),
            show_default="the recipe's",
            help="What happens at the edges.",
        ),
        click.option(
            "--standardize/--no-standardize",
            default=None,
            show_default="the recipe's",
            help="Shift and scale each field to mean 0, deviation 1 over its pixels.",
        ),
    ]
    for option in reversed(options):
        verb = option(verb)
    return verb


def chunk_options(verb: F) -> F:
    """Add ``--chunk-size`` and ``--shard-size``."""
    fitting = "by the size of an image"
    chunk = click.option(
        "--chunk-size",
        type=int,
        metavar="SAMPLES",
        show_default=fitting,
        help="Samples a chunk (Zarr).",
    )
    shard = click.option(
        "--shard-size", type=int, metavar="SAMPLES", show_default=fitting, help="Samples a shard."
    )
    return chunk(shard(verb))


def class_option(most: int) -> Callable[[F], F]:
    """Add ``--class``, for a picture of at most so many classes unless they are named."""
    return click.option(
        "--class",
        "classes",
        multiple=True,
        metavar="NAME",
        show_default=f"all, or {most} evenly chosen",
        help="A class to show; may be given several times.",
    )


def override(source: AnyRecipe, size: tuple[int, ...] | None, **fields: Any) -> Recipe:  # noqa: ANN401
    """Load a recipe and replace the fields that were given on the command line."""
    from gpgen.recipe import Recipe

    recipe = Recipe.load(source)
    if size is not None:
        fields["shape"] = size * len(recipe.shape) if len(size) == 1 else size
    changes = {name: value for name, value in fields.items() if value is not None}
    return recipe.replace(**changes) if changes else recipe
