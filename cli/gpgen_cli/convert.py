"""``gpgen convert``: copy a dataset into another format."""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING

import click

from gpgen.formatting import count, duration, nbytes, rate
from gpgen_cli._again import how_to_go_on
from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import chunk_options

if TYPE_CHECKING:
    from gpgen.exporting import Exported, Pictures

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen convert data.zarr data.h5
  gpgen convert data.h5 copy.zarr --shard-size 64
  gpgen convert data.zarr small.zarr --n 500
  gpgen convert data.zarr 'data-{shard:05d}.tar'
  gpgen convert data.zarr '{split}-{shard:05d}.parquet'
  gpgen convert data.zarr some.npz --split train --samples 0:1000
  gpgen convert data.zarr pictures/"""


def _parse_range(ctx: click.Context, param: click.Parameter, value: str | None) -> slice | None:
    """Return the samples of ``100:200``, ``100:`` or ``:200``."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d*):(\d*)", value, re.ASCII)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a range like 0:1000", ctx, param)
    return slice(*(int(part) if part else None for part in match.groups()))


@click.command("convert", short_help="Copy a dataset into another format.", epilog=_EPILOG)
@click.argument("source", type=Source(), metavar="SRC")
@click.argument("out", type=click.Path(), metavar="DST")
@click.option(
    "--n", "-n", type=int, show_default="all", help="Copy only so many samples, the first ones."
)
@click.option(
    "--pictures",
    type=click.Choice(["png16", "png8", "npy"]),
    show_default="png16",
    help="In a folder: grey PNG of 16 or 8 bits, or NumPy's files.",
)
@click.option("--split", show_default="all", help="Copy only this split.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    show_default="all",
    help="Copy only this class; may be given several times.",
)
@click.option(
    "--samples",
    metavar="FIRST:END",
    callback=_parse_range,
    show_default="all",
    help="Copy only the samples from FIRST to END - 1.",
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
    pictures: Pictures | None,
    split: str | None,
    classes: tuple[str, ...],
    samples: slice | None,
    resume: bool,
    overwrite: bool,
    chunk_size: int | None,
    shard_size: int | None,
) -> None:
    """Copy the dataset SRC to DST, pixel for pixel, its manifest and recipe with it.

    DST is data.zarr, data.h5, 'data-{shard:05d}.h5' for one file a shard, or
    'data-{shard:05d}.tar' for tar files that the webdataset package reads.

    For other programs alone, and of chosen samples if you like, DST is
    '{split}-{shard:05d}.parquet', which the datasets package loads, or such an
    .npz, with either field left out if you like; or the folder pictures/.
    """
    from gpgen.exporting import Exported, ExportTarget
    from gpgen.making.converting import convert

    kept = ExportTarget.parse(out) is None
    started = time.perf_counter()
    try:
        made = convert(
            source,
            out,
            n=n,
            split=split,
            classes=classes or None,
            samples=samples,
            pictures=pictures,
            resume=resume,
            overwrite=overwrite,
            chunk_size=chunk_size,
            shard_size=shard_size,
            progress=output.progress,
        )
    except KeyboardInterrupt:
        if kept:
            raise Interrupted("interrupted", how_to_go_on(ctx.obj, out)) from None
        hint = f"start again with: {shlex.join(['gpgen', *ctx.obj])}"
        raise Interrupted("interrupted; nothing is kept", hint) from None
    seconds = time.perf_counter() - started
    if isinstance(made, Exported):
        _tell(output, source, out, made, seconds)
        return
    with made:
        copied, path = made.n, str(made.path)
    output.say(
        f"{source} is now also {out}: {count(copied, 'sample')}, "
        f"in {duration(seconds)} ({rate(copied / seconds)})"
        if n is None
        else f"the first {count(copied, 'sample')} of {source} are now also {out}, "
        f"in {duration(seconds)} ({rate(copied / seconds)})"
    )
    output.result({"source": source, "out": out, "path": path, "n": copied, "seconds": seconds})


def _tell(output: Output, source: str, out: str, exported: Exported, seconds: float) -> None:
    output.say(
        f"{count(exported.n, 'sample')} of {source} are now also in {out}: "
        f"{count(exported.files, 'file')}, {nbytes(exported.nbytes)}, "
        f"in {duration(seconds)} ({rate(exported.n / seconds)})"
    )
    output.result(
        {
            "source": source,
            "out": out,
            "path": str(exported.path),
            "n": exported.n,
            "files": exported.files,
            "nbytes": exported.nbytes,
            "seconds": seconds,
        }
    )
