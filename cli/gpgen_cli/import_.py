"""``gpgen import``: the 2018 archive, or one like it, as a dataset."""

from __future__ import annotations

import time

import click

from gpgen.formatting import count, duration, nbytes
from gpgen_cli._again import how_to_go_on
from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import chunk_options

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen import dataset.zip --out golkar2018.zarr
  gpgen import gp-samples --dtype float32 --out textures.h5
  gpgen import GP_9.5-10+80-140.gp --split train=0.8 --split test=0.2 --out golkar2018.zarr"""


@click.command("import", short_help="Turn the 2018 archive into a dataset.", epilog=_EPILOG)
@click.argument("source", type=Source())
@click.option(
    "--out",
    "-o",
    type=click.Path(),
    required=True,
    help="Target: data.zarr, data.h5, or 'data-{shard:05d}.h5' for one file a shard.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    show_default="the source's",
    help="Type of the pixels.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME=SHARE",
    show_default="train=0.8, validation=0.1, test=0.1",
    help="Parts of the dataset; may be given several times.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace what is at the target.")
@chunk_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    /,
    source: str,
    out: str,
    dtype: str | None,
    splits: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    chunk_size: int | None,
    shard_size: int | None,
) -> None:
    """Turn SOURCE into a dataset with labels, length-scales and splits.

    SOURCE is a .gp file, a folder of .npy samples, or a zip of either. Nothing
    in it is run or unpacked: pickles and zips are read with suspicion.
    """
    from gpgen.golkar2018 import import_dataset, parse_splits

    started = time.perf_counter()
    try:
        dataset = import_dataset(
            source,
            out,
            dtype=dtype,
            splits=parse_splits(splits),
            resume=resume,
            overwrite=overwrite,
            chunk_size=chunk_size,
            shard_size=shard_size,
            progress=output.progress,
        )
    except KeyboardInterrupt:
        raise Interrupted("interrupted", how_to_go_on(ctx.obj, out)) from None
    seconds = time.perf_counter() - started
    with dataset:
        size = nbytes(len(dataset) * dataset.recipe.image_nbytes)
        output.say(
            f"imported {count(len(dataset), 'image')} into {out}: {size}, "
            f"{count(len(dataset.classes), 'class')}, in {duration(seconds)}",
            "there are no seeds: nothing can draw imported images again",
        )
        output.result(
            {
                "path": str(dataset.path),
                "n": len(dataset),
                "source": dataset.recipe.to_dict(),
                "seconds": seconds,
            }
        )
