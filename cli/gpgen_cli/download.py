"""``gpgen download``: the authors' own files."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gpgen.formatting import nbytes
from gpgen_cli._output import Output, output_options

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen download golkar2018
  gpgen download golkar2018 --file dataset.zip --out original"""


@click.command("download", short_help="Fetch the 2018 archive from Zenodo.", epilog=_EPILOG)
@click.argument("name", type=click.Choice(["golkar2018"]))
@click.option("--out", "-o", type=click.Path(), default=".", help="The folder.")
@click.option(
    "--file",
    "names",
    multiple=True,
    metavar="NAME",
    show_default="dataset.zip and samples.zip",
    help="A file of the record; may be given several times.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that differ from the record's.")
@output_options
def command(
    output: Output,
    /,
    name: str,  # noqa: ARG001 - there is one record; the name says which
    out: str,
    names: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Fetch files of Zenodo record 1252464 and check them against its checksums."""
    from gpgen.golkar2018 import RECORD_FILES, download

    paths = download(
        out,
        names or RECORD_FILES,
        overwrite=overwrite,
        progress=output.progress,
        notify=output.note,
    )
    sizes = {str(path): Path(path).stat().st_size for path in paths}
    output.say(*(f"{path}: {nbytes(size)}, its checksum is right" for path, size in sizes.items()))
    crosses = [path for path in paths if path.name == "dataset.zip"]
    if crosses:
        source = shlex.quote(str(crosses[0]))
        output.say(f"use it: gpgen import {source} --out golkar2018.zarr")
    output.result({"files": sizes})
