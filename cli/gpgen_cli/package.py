"""``gpgen package``: make a folder ready to be published."""

from __future__ import annotations

import shlex

import click

from gpgen.formatting import count, nbytes
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import class_option

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen package data.zarr --publication publication.toml --out deposit
  gpgen package data.zarr --publication publication.toml --out deposit --recipe-only
  gpgen package data.zarr --publication publication.toml --out deposit --parquet
  gpgen publish deposit --sandbox"""


@click.command("package", short_help="Make a folder ready to be published.", epilog=_EPILOG)
@click.argument("dataset", type=Source())
@click.option(
    "--publication",
    "-p",
    type=Source(),
    required=True,
    metavar="FILE.toml",
    help="Title, licence and creators.",
)
@click.option("--out", "-o", type=click.Path(), required=True, help="The folder to make.")
@click.option(
    "--recipe-only",
    is_flag=True,
    help="Leave the pixels out: kilobytes, from which the same bytes are made again.",
)
@click.option(
    "--parquet",
    is_flag=True,
    help="Add the samples as Parquet, which the Hugging Face Hub shows.",
)
@class_option(8)
@click.option(
    "--difficulty",
    type=Source(),
    metavar="FILE.json",
    show_default="known of built-in recipes",
    help="What `gpgen difficulty DATASET --json` wrote.",
)
@click.option("--overwrite", is_flag=True, help="Replace a deposit that is there.")
@click.option(
    "--max-file-size",
    type=int,
    metavar="BYTES",
    show_default="50 GB, as Zenodo takes",
    help="Split longer files.",
)
@output_options
def command(
    output: Output,
    /,
    dataset: str,
    publication: str,
    out: str,
    recipe_only: bool,
    parquet: bool,
    classes: tuple[str, ...],
    difficulty: str | None,
    overwrite: bool,
    max_file_size: int | None,
) -> None:
    """Package DATASET with metadata, checksums and a card, valid everywhere it goes."""
    from gpgen.publish.deposit import RECORD_BYTES
    from gpgen.publish.packaging import package

    done = package(
        dataset,
        publication,
        out,
        recipe_only=recipe_only,
        parquet=parquet,
        classes=classes or None,
        difficulty=difficulty,
        overwrite=overwrite,
        most_bytes=RECORD_BYTES if max_file_size is None else max_file_size,
        progress=output.progress,
    )
    output.say(f"{done.path}: {count(len(done.files), 'file')}, {nbytes(done.nbytes)}")
    output.say(f"publish it: gpgen publish {shlex.quote(out)} --sandbox")
    output.result(
        {
            "path": str(done.path),
            "files": list(done.files),
            "nbytes": done.nbytes,
        }
    )
