"""``gpgen report``: a page about a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from gpgen.formatting import nbytes
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import class_option

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen report data.zarr -o report.html
  gpgen report data.zarr -o report.html --samples 8 --overwrite"""


@click.command("report", short_help="Write a page about a dataset.", epilog=_EPILOG)
@click.argument("dataset", type=Source())
@click.option("--out", "-o", type=click.Path(), required=True, help="The HTML file to write.")
@click.option("--samples", type=int, default=16, help="Of each class, to measure and audit.")
@class_option(8)
@click.option("--publication", "-p", type=Source(), metavar="FILE.toml", help="For the title.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@output_options
def command(
    output: Output,
    /,
    dataset: str,
    out: str,
    samples: int,
    classes: tuple[str, ...],
    publication: str | None,
    overwrite: bool,
) -> None:
    """Write one self-contained HTML file about DATASET.

    Samples, how hard it is, an audit, statistics against theory, provenance.
    """
    from gpgen.description.publication import Publication
    from gpgen.report.page import write_report

    path = write_report(
        dataset,
        out,
        samples=samples,
        publication=Publication.load(publication) if publication else None,
        classes=classes or None,
        overwrite=overwrite,
        progress=output.progress,
    )
    size = Path(path).stat().st_size
    output.say(f"{path}: {nbytes(size)}; open it in a browser")
    output.result({"path": str(path), "nbytes": size})
