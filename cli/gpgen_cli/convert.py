"""``gpgen convert``: copy a dataset into another format."""

from __future__ import annotations

import time

import click

from gpgen.formatting import count, duration, rate
from gpgen_cli._again import how_to_go_on
from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import chunk_options

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen convert data.zarr data.h5
  gpgen convert data.h5 copy.zarr --shard-size 64
  gpgen convert data.zarr small.zarr --n 500
  gpgen convert data.zarr 'data-{shard:05d}.tar'"""


@click.command("convert", short_help="Copy a dataset into another format.", epilog=_EPILOG)
@click.argument("source", type=Source(), metavar="SRC")
@click.argument("out", type=click.Path(), metavar="DST")
@click.option(
    "--n", "-n", type=int, show_default="all", help="Copy only so many samples, the first ones."
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
    n: int | None,
    resume: bool,
    overwrite: bool,
    chunk_size: int | None,
    shard_size: int | None,
) -> None:
    """Copy the dataset SRC to DST, pixel for pixel, its manifest and recipe with it.

    DST is data.zarr, data.h5, 'data-{shard:05d}.h5' for one file a shard, or
    'data-{shard:05d}.tar' for tar files that the webdataset package reads.
    """
    from gpgen.making.converting import convert

    started = time.perf_counter()
    try:
        dataset = convert(
            source,
            out,
            n=n,
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
        copied, path = dataset.n, str(dataset.path)
    output.say(
        f"{source} is now also {out}: {count(copied, 'sample')}, "
        f"in {duration(seconds)} ({rate(copied / seconds)})"
        if n is None
        else f"the first {count(copied, 'sample')} of {source} are now also {out}, "
        f"in {duration(seconds)} ({rate(copied / seconds)})"
    )
    output.result({"source": source, "out": out, "path": path, "n": copied, "seconds": seconds})
