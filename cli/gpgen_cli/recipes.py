"""``gpgen recipes``: what can be made."""

from __future__ import annotations

import click

from gpgen_cli._describe import class_list, component_line, headline, split_list
from gpgen_cli._format import size
from gpgen_cli._output import Output, details, output_options
from gpgen_cli._recipe_options import RecipeName

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen recipes
  gpgen recipes show two-scale
  gpgen recipes show two-scale-mini --toml > my.toml"""


@click.group("recipes", invoke_without_command=True, epilog=_EPILOG)
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
@click.argument("recipe", type=RecipeName())
@click.option("--toml", is_flag=True, help="Print the recipe's TOML alone, to start your own from.")
@output_options
def show(output: Output, /, recipe: str, toml: bool) -> None:
    """Show a recipe's classes, how exactly it is drawn, and its TOML."""
    from gpgen.recipe import Recipe

    loaded = Recipe.load(recipe)
    text = loaded.to_toml().rstrip()
    if toml:
        output.say(text)
    else:
        accuracy = loaded.accuracy
        lines = [component_line(component) for component in loaded.components]
        rows = [
            ("recipe", headline(loaded)),
            ("components", "\n".join(lines)),
            ("classes", class_list(loaded)),
            ("splits", split_list(loaded)),
            ("covariance error", f"{accuracy.covariance_error:.1e} (at most 1e-6)"),
            ("exactness", f"sums take up to {accuracy.bits_used:.1f} of float64's 53 bits"),
            ("sha256", loaded.sha256),
        ]
        output.say(details(rows), "", text)
    output.result(
        {
            "recipe": loaded.to_dict(),
            "sha256": loaded.sha256,
            "classes": list(loaded.classes),
            "covariance_error": loaded.accuracy.covariance_error,
            "bits_used": loaded.accuracy.bits_used,
            "bits": 53,
            "toml": text + "\n",
        }
    )
