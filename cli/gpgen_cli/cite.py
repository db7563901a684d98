"""``gpgen cite``: how to cite a dataset."""

from __future__ import annotations

import click

from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen cite data.zarr
  gpgen cite deposit --format apa
  gpgen cite data.zarr --publication publication.toml --format cff > CITATION.cff"""


@click.command("cite", short_help="Say how to cite a dataset.", epilog=_EPILOG)
@click.argument("path", type=Source())
@click.option(
    "--format",
    "form",
    default="bibtex",
    metavar="bibtex|apa|cff",
    help="Which style.",
)
@click.option("--publication", "-p", type=Source(), metavar="FILE.toml", help="Its own entry.")
@output_options
def command(output: Output, /, path: str, form: str, publication: str | None) -> None:
    """Cite the dataset or deposit at PATH, and the works that it goes back to."""
    from gpgen.description.citation import cite
    from gpgen.description.publication import Publication
    from gpgen.publish.describing import describe

    description, packaged = describe(path)
    named = Publication.load(publication) if publication else packaged
    text = cite(named, description, form)
    if not output.as_json:
        click.echo(text, nl=False)
    output.result({"format": form, "citation": text})
