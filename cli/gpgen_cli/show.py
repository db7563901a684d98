"""``gpgen show``: draw a contact sheet."""

from __future__ import annotations

import click

from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import class_option

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen show data.zarr -o sheet.png
  gpgen show data.zarr --columns 6 -o sheet.pdf
  gpgen show data.zarr --columns 2 --width 3.3 -o column.pdf
  gpgen show two-scale-mini --class 4-24 --class 4.2-32 -o sheet.png"""


@click.command("show", short_help="Draw a contact sheet.", epilog=_EPILOG)
@click.argument("source", type=Source(recipes=True))
@click.option(
    "-o",
    "--output",
    "picture",
    type=click.Path(dir_okay=False),
    required=True,
    help="Picture to write: .png, .pdf or .svg.",
)
@click.option("--columns", type=click.IntRange(1, 50), default=4, help="Samples a class.")
@click.option(
    "--width",
    type=click.FloatRange(1, 50),
    default=7.0,
    help="Inches, at most: a paper's column is 3.3.",
)
@class_option(16)
@output_options
def command(
    output: Output,
    /,
    source: str,
    picture: str,
    columns: int,
    width: float,
    classes: tuple[str, ...],
) -> None:
    """Draw a contact sheet of a dataset, or of a recipe: one row a class."""
    from gpgen import plots
    from gpgen.opening import recipe_or_dataset
    from gpgen.recipe import Recipe

    plots.check_picture(picture)
    found = recipe_or_dataset(source)
    if isinstance(found, Recipe):
        figure = plots.recipe_sheet(found, columns=columns, classes=classes or None, width=width)
    else:
        with found as dataset:
            figure = plots.contact_sheet(
                dataset, columns=columns, classes=classes or None, width=width
            )
    plots.save(figure, picture)
    output.say(f"drew {picture}")
    output.result({"source": source, "picture": picture})
