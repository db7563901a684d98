"""``gpgen info``: what a dataset holds."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from gpgen_cli._describe import FORMATS, class_list, component_line, headline
from gpgen_cli._format import count, nbytes
from gpgen_cli._output import Output, details, output_options

if TYPE_CHECKING:
    from gpgen.dataset import Dataset

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen info data.zarr
  gpgen info 'data-{shard:05d}.h5' --json"""


@click.command("info", epilog=_EPILOG)
@click.argument("path", type=click.Path())
@output_options
def command(output: Output, /, path: str) -> None:
    """Show what a dataset holds and how to load it."""
    import gpgen

    with gpgen.open_dataset(path) as dataset:
        recipe = dataset.recipe
        counts = _counts(dataset)
        ...
