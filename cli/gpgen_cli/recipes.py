"""``gpgen recipes``: what can be made."""

from __future__ import annotations

import click

from gpgen.formatting import size
from gpgen_cli._describe import class_list, component_line, headline
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen recipes
  gpgen recipes show two-scale
  gpgen recipes show two-scale-mini > my.toml"""

BITS = 53  # of a float64's significand


@click.group(
    "recipes",
    short_help="List the built-in recipes, or show one.",
    invoke_without_command=True,
    epilog=_EPILOG,
)
@output_options
@click.pass_context
def command(ctx: click.Context, output: Output, /) -> None:
    """List the built-in recipes, or show one."""
    if ctx.invoked_subcommand is not None:
        return
    from gpgen.recipe import Recipe, builtin_recipes

    recipes = [Recipe.load(name) for name in builtin_recipes()]
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in ("recipe", "size", "classes", "components"):
        table.add_column(heading, justify="right" if heading == "classes" else "left")
    for recipe in recipes:
        components = "\n".join(map(component_line, recipe.components))
        table.add_row(recipe.name, size(recipe.shape), str(len(recipe.classes)), components)
    output.say(table, "", "look at one: gpgen recipes show two-scale")
    output.result({"recipes": [recipe.to_dict() for recipe in recipes]})


@command.command("show", epilog=_EPILOG)
@click.argument("recipe", type=Source(recipes=True))
@output_options
def show(output: Output, /, recipe: str) -> None:
    """Show a recipe's classes, how exactly it is drawn and how hard it is, then its TOML.

    The former are comments, so that the whole is a recipe file to start from. How often the ideal
    observer is right is known of built-in recipes, and takes some seconds of others.
    """
    from gpgen.description.difficulty_in_words import in_short
    from gpgen.observer.known import summary_or_reason
    from gpgen.recipe import Recipe
    from gpgen.recipe_warnings import recipe_warnings

    loaded = Recipe.load(recipe)
    difficulty, unknown = summary_or_reason(loaded, progress=output.progress)
    warnings = recipe_warnings(loaded)
    toml = loaded.to_toml()
    accuracy = loaded.accuracy
    told = in_short(difficulty) if difficulty else f"of the ideal observer not known: {unknown}"
    rows = [
        ("drawn", headline(loaded)),
        *(("component", component_line(component)) for component in loaded.components),
        ("classes", class_list(loaded)),
        ("error", f"{accuracy.covariance_error:.1e} in the covariance, at most 1e-6"),
        ("exact", f"sums take up to {accuracy.bits_used:.1f} of {BITS} bits"),
        ("accuracy", told),
        ("sha256", loaded.sha256),
        *(("warning", warning) for warning in warnings),
    ]
    output.say(*(f"# {name:<9}  {value}" for name, value in rows), "", toml.rstrip())
    output.result(
        {
            "recipe": loaded.to_dict(),
            "sha256": loaded.sha256,
            "classes": list(loaded.classes),
            "covariance_error": accuracy.covariance_error,
            "bits_used": accuracy.bits_used,
            "bits": BITS,
            "difficulty": None if difficulty is None else difficulty.to_dict(),
            "difficulty_unknown": unknown or None,
            "warnings": list(warnings),
            "toml": toml,
        }
    )
