"""``gpgen difficulty``: how often the ideal observer is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpgen.formatting import count, size
from gpgen_cli._describe import length_scale_text
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

if TYPE_CHECKING:
    from rich.table import Table

    from gpgen.observer import ComponentDifficulty, Difficulty, Estimate, LengthScaleBounds
    from gpgen.recipe import Recipe

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen difficulty two-scale-mini
  gpgen difficulty two-scale-mini --target 0.95
  gpgen difficulty small.toml --noise 0.1 --json"""


_LONGEST = 24


@click.command(
    "difficulty", short_help="Say how well the classes can be told apart.", epilog=_EPILOG
)
@click.argument("source", metavar="RECIPE", type=Source(recipes=True))
@click.option(
    "--target",
    type=float,
    metavar="ACCURACY",
    help="Also say which length-scale in the place of each component's last gives this accuracy.",
)
@click.option(
    "--noise",
    type=float,
    default=0.01,
    show_default=True,
    help="White noise, as a part of the images' deviation.",
)
@click.option("--samples", type=int, default=4000, show_default=True, help="Images to simulate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the simulation.")
@output_options
def command(
    output: Output,
    /,
    source: str,
    target: float | None,
    noise: float,
    samples: int,
    seed: int,
) -> None:
    """Say how well a recipe's classes can be told apart by the ideal observer.

    It knows the distribution of every class and names the most probable one: no classifier is
    right more often. Of a recipe that draws length-scales, the least standard error of an estimate
    is said (Cramer-Rao). A dataset of ours stands for its recipe.
    """
    import gpgen
    from gpgen.opening import recipe_or_dataset
    from gpgen.recipe import Recipe

    found = recipe_or_dataset(source)
    if not isinstance(found, Recipe):
        with found as dataset:
            described = dataset.recipe
        if not isinstance(described, Recipe):
            raise gpgen.UsageError(
                f"{source} was imported: nothing says which distribution its images have",
                "give a recipe, or a dataset made from one",
            )
        found = described
    result = gpgen.difficulty(
        found, target=target, noise=noise, samples=samples, seed=seed, progress=output.progress
    )
    if isinstance(result, gpgen.Difficulty):
        output.say(_table(found, result), "", *_remarks(result))
    else:
        output.say(_bounds(result), "", _remark(result))
    output.result({"recipe": found.name, "sha256": found.sha256, **result.to_dict()})


def _table(recipe: Recipe, result: Difficulty) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("component", no_wrap=True)
    # Where components are standardized, Bhattacharyya's figure bounds nothing.
    headings = ["accuracy", "at known amplitudes" if recipe.standardize else "bound"]
    headings += [size(shape) for shape in result.by_side if shape != recipe.shape]
    headings += [count(images, "image") for images in result.by_images if images > 1]
    for heading in headings:
        table.add_column(heading, justify="right")
    for number, each in enumerate(result.components, start=1):
        names = f"{' or '.join(each.choices)} px"
        name = f"{number}: {names if len(names) <= _LONGEST else f'{len(each.choices)} choices'}"
        if each.estimate is None:
            table.add_row(name, "no choice")
        else:
            table.add_row(name, *_figures(recipe, result, each.estimate, each))
    table.add_row("all classes", *_figures(recipe, result, result.estimate, result))
    return table


def _bounds(result: LengthScaleBounds) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("component", no_wrap=True)
    for heading in ("length-scale", "least standard error"):
        table.add_column(heading, no_wrap=True, justify="right")
    for number, each in enumerate(result.components, start=1):
        name = f"{number}: {each.length_scales} px"
        if not each.bounds:
            table.add_row(name, "not drawn")
        for bound in each.bounds:
            error = f"{100 * bound.error:.2g} %, {bound.pixels:.2g} px"
            table.add_row(name, f"{bound.length_scale:.3g} px", error)
            name = ""
    return table


def _remark(result: LengthScaleBounds) -> str:
    return (
        f"Cramér-Rao bound of one image's length-scales in {count(result.modes, 'mode')}, other "
        "components' in the middle of their ranges and unknown, noise "
        f"{result.noise:g} of the images' deviation"
    )


def _figures(
    recipe: Recipe, result: Difficulty, estimate: Estimate, of: Difficulty | ComponentDifficulty
) -> list[str]:
    sides = [of.by_side[shape] for shape in result.by_side if shape != recipe.shape]
    groups = [each for images, each in of.by_images.items() if images > 1]
    return [
        f"{estimate.accuracy:.3f} ± {estimate.error:.3f}",
        f"{of.bound:.3f}",
        *(f"{each.accuracy:.3f}" for each in (*sides, *groups)),
    ]


def _remarks(result: Difficulty) -> list[str]:
    axes = " x ".join(map(str, result.modes_by_axis))
    simulated = f"{count(result.samples, 'image')} simulated in {count(result.modes, 'mode')}"
    noise = f"noise {result.noise:g} of the images' deviation"
    lines = [f"ideal observer, {simulated} of the lowest {axes}, {noise}"]
    if not result.converged:
        lines.append("more modes would tell more apart: accuracies are at least these")
    for number, each in enumerate(result.components, start=1):
        if each.wished is not None:
            wished, last = (
                length_scale_text(scale)
                for scale in (each.wished.length_scale, each.wished.instead_of)
            )
            lines.append(
                f"component {number}: {wished} px in the place of {last} px gives "
                f"{each.wished.accuracy:g}"
            )
    return lines
