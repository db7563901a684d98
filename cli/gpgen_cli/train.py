"""``gpgen train``: train the baseline, with masks and without."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backdrop.training import LengthScaleSummary, MethodSummary

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen train two-scale-mini --method none --method backdrop --out runs
  gpgen train two-scale-mini --method none --method backdrop --out runs --resume
  gpgen train data.zarr --method backdrop --masks 0.5,0.9 --seeds 3 --out masked
  gpgen train regression --target length_scales --method none --out lengths"""


def parse_masks(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Return the probabilities of ``0,0.9``."""
    if value is None:
        return None
    try:
        return tuple(float(p) for p in value.split(","))
    except ValueError:
        message = f"{value!r} is not a list of probabilities like 0.5,0.9"
        raise click.BadParameter(message, ctx, param) from None


@click.command("train", short_help="Train the baseline, with masks and without.", epilog=_EPILOG)
@click.argument("source", metavar="DATA_OR_RECIPE", type=Source(recipes=True))
@click.option(
    "--method",
    "methods",
    type=click.Choice(["none", "backdrop", "dropout", "crop", "all"]),
    multiple=True,
    default=["backdrop"],
    help="What is done against overfitting; may be given several times.",
)
@click.option(
    "--target",
    type=click.Choice(["label", "length_scale", "length_scales"]),
    default="label",
    help="What is learned: the class, or the length-scales that the recipe draws.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(file_okay=False),
    required=True,
    help="The folder of all results.",
)
@click.option(
    "--train-size", type=int, show_default="60, or what the data have", help="Training images."
)
@click.option(
    "--test-size", type=int, show_default="400, or what the data have", help="Test images."
)
@click.option("--seeds", type=click.IntRange(1), default=10, help="How many runs of each method.")
@click.option("--first-seed", type=click.IntRange(0), default=0, help="The seeds count up from it.")
@click.option(
    "--masks",
    metavar="P[,P...]",
    callback=parse_masks,
    show_default="0.99 at the largest length-scale",
    help="Probabilities, for each component.",
)
@click.option(
    "--dropout", type=float, show_default="0.6", help="Probability of an average to be dropped."
)
@click.option(
    "--channel-dropout",
    metavar="P[,P...]",
    callback=parse_masks,
    show_default="0",
    help="For each component.",
)
@click.option(
    "--crop", type=float, metavar="FRACTION", show_default="0.75", help="Side of the crops."
)
@click.option("--epochs", type=int, show_default="80", help="Passes over the training images.")
@click.option(
    "--batch-size", type=int, show_default="6 for none, 15 for the others", help="Images a step."
)
@click.option(
    "--learning-rate",
    type=float,
    show_default="0.02; 0.01 for dropout, 0.003 for crop",
    help="At its highest.",
)
@click.option("--split", default="test", help="Test on this one; compare settings on 'validation'.")
@click.option("--device", default="auto", help="auto, cpu, cuda, ...")
@click.option(
    "--workers", type=click.IntRange(1), show_default="all cores", help="Runs at once, on a CPU."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted training.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Picture of the results to write.")
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    /,
    source: str,
    methods: tuple[str, ...],
    out: str,
    seeds: int,
    first_seed: int,
    device: str,
    workers: int | None,
    resume: bool,
    plot: str | None,
    **fields: Any,  # noqa: ANN401
) -> None:
    """Train the baseline network and test it, once for each method and seed.

    DATA_OR_RECIPE is a dataset, a recipe file or a built-in recipe. Runs with
    one seed have the same images and the same first weights, so that methods
    can be compared in pairs. On a CPU the same command gives the same numbers.
    """
    from backdrop import training
    from gpgen.plots import check_picture

    if plot is not None:
        check_picture(plot)
    chosen = [name for name in training.METHODS if name in methods or "all" in methods]
    given = {name: value for name, value in fields.items() if value is not None}
    data = training.Source(source, fields["target"])
    if "train_size" not in given:
        given["train_size"] = data.most("train", training.Settings.train_size)
    if "test_size" not in given:
        given["test_size"] = data.most(given["split"], training.Settings.test_size)
    settings = [training.Settings.tuned(method, **given) for method in chosen]
    try:
        runs = training.run_all(
            source,
            settings,
            range(first_seed, first_seed + seeds),
            Path(out),
            device=device,
            workers=workers,
            resume=resume,
            progress=output.progress,
        )
    except KeyboardInterrupt:
        again = [argument for argument in ctx.obj if argument != "--resume"]
        hint = shlex.join(["gpgen", *again, "--resume"])
        raise Interrupted("interrupted; checkpoints are kept", f"go on with: {hint}") from None
    written = training.write(runs, Path(out))
    if plot is not None:
        training.plot(runs, plot)
    sizes = f"{given['train_size']} training images, {given['test_size']} of {given['split']!r}"
    output.say(
        _table(training.summarize(runs), sizes), "", f"every epoch: {Path(out) / 'epochs.csv'}"
    )
    output.result({"out": out, **written})


def _table(summaries: tuple[MethodSummary | LengthScaleSummary, ...], sizes: str) -> RenderableType:
    from rich.table import Table

    from backdrop.training import MethodSummary

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("method")
    components = [f"component {k + 1}" for k in range(len(summaries[0].components))]
    if isinstance(summaries[0], MethodSummary):
        names = ["test accuracy", *components, "training accuracy", "above none, paired"]
    else:
        names = ["test relative error", "R^2", *components, "training error", "below none, paired"]
    for name in names:
        table.add_column(name, justify="right")
    for one in summaries:
        if isinstance(one, MethodSummary):
            numbers = [one.accuracy, *one.components, one.training_accuracy]
        else:
            numbers = [one.relative_error, one.r2, *one.components, one.training_error]
        table.add_row(one.method, *map(str, numbers), "" if one.gain is None else str(one.gain))
    n = summaries[0].n
    means = f"means over {n} seeds with 95 % intervals" if n > 1 else "of one seed"
    table.caption = f"{means}; {sizes}"
    table.caption_justify = "left"
    return table
