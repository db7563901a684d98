"""``gpgen train``: train classifiers by several methods, and put what is possible beside them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._training_table import results_table

if TYPE_CHECKING:
    from gpgen.observer import Difficulty
    from gpgen.recipe import Recipe

__all__ = ["command"]

Number = TypeVar("Number", int, float)

_NETWORKS = ("none", "backdrop", "dropout", "crop")
_BASELINES = ("batch-norm", "power-spectrum", "gabor")

_EPILOG = """\b
Examples:
  gpgen train two-scale-mini --method none --method backdrop --out runs
  gpgen train two-scale-mini --method none --method backdrop --out runs --resume
  gpgen train two-scale-mini --method power-spectrum --train-size 20,60,200 --out fast
  gpgen train data.zarr --method backdrop --masks 0.5,0.9 --seeds 3 --out masked
  gpgen train regression --target length_scales --method none --out lengths"""


def parse_masks(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Return the probabilities of ``0,0.9``."""
    return _numbers(ctx, param, value, float, "probabilities like 0.5,0.9")


def parse_counts(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Return the whole numbers of ``20,60``."""
    return _numbers(ctx, param, value, int, "whole numbers like 20,60")


def _numbers(
    ctx: click.Context,
    param: click.Parameter,
    value: str | None,
    read: Callable[[str], Number],
    what: str,
) -> tuple[Number, ...] | None:
    if value is None:
        return None
    try:
        return tuple(read(number) for number in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of {what}", ctx, param) from None


@click.command("train", short_help="Train classifiers by several methods.", epilog=_EPILOG)
@click.argument("source", metavar="DATA_OR_RECIPE", type=Source(recipes=True))
@click.option(
    "--method",
    "methods",
    type=click.Choice([*_NETWORKS, *_BASELINES, "all"]),
    multiple=True,
    default=["backdrop"],
    help="What is trained, and what is done against overfitting; may be given several times.",
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
    "--train-size",
    metavar="N[,N...]",
    callback=parse_counts,
    show_default="60, or what the data have",
    help="Training images.",
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
@click.option(
    "--epochs",
    metavar="N[,N...]",
    callback=parse_counts,
    show_default="80",
    help="Passes over the training images: one number, or one for each of --train-size.",
)
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
@click.option(
    "--ideal/--no-ideal",
    default=True,
    show_default=True,
    help="Also compute what the ideal observer reaches, as `gpgen difficulty` does.",
)
@click.option("--device", default="auto", help="auto, cpu, cuda, ...")
@click.option(
    "--workers",
    type=click.IntRange(1),
    show_default="all cores; 1 on a GPU",
    help="Runs at once.",
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
    train_size: tuple[int, ...] | None,
    epochs: tuple[int, ...] | None,
    ideal: bool,
    device: str,
    workers: int | None,
    resume: bool,
    plot: str | None,
    **fields: Any,  # noqa: ANN401
) -> None:
    """Train classifiers and test them, once for each method, number of images and seed.

    DATA_OR_RECIPE is a dataset, a recipe file or a built-in recipe. The methods none, backdrop,
    dropout and crop train one network; batch-norm trains a plain one with batch normalization;
    power-spectrum and gabor are linear discriminants, without steps. Runs with one seed have the
    same images, and those of one network the same first weights, so that methods can be compared in
    pairs. On a CPU the same command gives the same numbers.
    """
    from backdrop import training
    from gpgen.plots import check_picture

    if plot is not None:
        check_picture(plot)
    chosen = [name for name in training.METHODS if name in methods or "all" in methods]
    given = {name: value for name, value in fields.items() if value is not None}
    data = training.Source(source, fields["target"])
    if train_size is None:
        train_size = (data.most("train", training.Settings.train_size),)
    if "test_size" not in given:
        given["test_size"] = data.most(given["split"], training.Settings.test_size)
    by_size = _epochs_of(train_size, epochs or (training.Settings.epochs,))
    settings = [
        training.Settings.tuned(method, train_size=size, epochs=passes, **given)
        for size, passes in by_size.items()
        for method in chosen
    ]
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
        possible, remark = _ideal_of(data.recipe, output) if ideal else (None, None)
    except KeyboardInterrupt:
        again = [argument for argument in ctx.obj if argument != "--resume"]
        hint = shlex.join(["gpgen", *again, "--resume"])
        raise Interrupted("interrupted; checkpoints are kept", f"go on with: {hint}") from None
    written = training.write(runs, Path(out), possible)
    if plot is not None:
        training.plot(runs, plot, choices=data.sizes, ideal=possible)
    lines = [f"every run: {Path(out) / 'runs.csv'}, as a table: {Path(out) / 'table.md'}"]
    output.say(
        results_table(
            training.summarize(runs), possible, f"{given['test_size']} of {given['split']!r}"
        ),
        "",
        *(lines if remark is None else [remark, *lines]),
    )
    output.result({"out": out, **written})


def _epochs_of(sizes: tuple[int, ...], epochs: tuple[int, ...]) -> dict[int, int]:
    """Return the epochs for each number of training images."""
    from gpgen.errors import UsageError

    if len(epochs) not in (1, len(sizes)):
        raise UsageError(
            f"--epochs has {len(epochs)} numbers, --train-size {len(sizes)}",
            "give one number of epochs, or one for each number of training images",
        )
    if len(set(sizes)) < len(sizes):
        raise UsageError("--train-size names a number twice", "name each once")
    return dict(zip(sizes, epochs * (len(sizes) // len(epochs)), strict=True))


def _ideal_of(recipe: Recipe, output: Output) -> tuple[Difficulty | None, str | None]:
    """Return the ideal observer, or why there is none."""
    import gpgen

    if recipe.texture.draws_length_scales:
        return None, "how exactly length-scales can be estimated at all: `gpgen difficulty`"
    try:
        found = gpgen.difficulty(recipe, progress=output.progress)
    except gpgen.UsageError as error:
        return None, f"no ideal observer: {error.message}"
    assert isinstance(found, gpgen.Difficulty)  # noqa: S101 - of classes
    return found, None
