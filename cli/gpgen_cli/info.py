"""``gpgen info``: what a dataset holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpgen.formatting import count, nbytes, size
from gpgen_cli._describe import FORMATS, component_line, headline, shard_sizes
from gpgen_cli._output import Output, details, output_options
from gpgen_cli._paths import Source

if TYPE_CHECKING:
    from rich.table import Table

    from gpgen.dataset import Dataset
    from gpgen.labelled_images import LabelledImages

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen info data.zarr
  gpgen info 'data-{shard:05d}.h5' --json"""

_AT_ONCE = 2**20  # samples counted at a time
_MOST_CLASSES = 16


@click.command("info", epilog=_EPILOG)
@click.argument("path", type=Source())
@output_options
def command(output: Output, /, path: str) -> None:
    """Show what a dataset holds and how to load it."""
    import gpgen

    with gpgen.open_dataset(path) as dataset:
        counts = _counts(dataset)
    manifest, recipe = dataset.manifest, dataset.recipe
    layout = manifest.layout
    pixels = f"{count(dataset.n, 'sample')}, {nbytes(dataset.n * recipe.image_nbytes)} of images"
    rows = [
        ("dataset", f"{dataset.path} ({FORMATS.get(dataset.format, dataset.format)})"),
        *_origin(recipe),
        ("size", pixels),
        ("layout", shard_sizes(layout.shards, layout.shard_size, layout.chunk_size)),
        ("made by", f"gpgen {manifest.gpgen_version}, sampling {manifest.sampling_version}"),
        ("recipe hash", f"sha256:{manifest.recipe_sha256}"),
        ("dataset hash", f"sha256:{manifest.manifest_sha256}"),
    ]
    output.say(details(rows), "", _table(counts), "", *_how_to_load(dataset))
    output.result(
        {
            "path": str(dataset.path),
            "format": dataset.format,
            "n": dataset.n,
            "recipe": recipe.to_dict(),
            "recipe_sha256": manifest.recipe_sha256,
            "counts": counts,
            "shards": layout.shards,
            "shard_size": layout.shard_size,
            "chunk_size": layout.chunk_size,
            "image_nbytes": recipe.image_nbytes,
            "manifest_sha256": manifest.manifest_sha256,
            "gpgen_version": manifest.gpgen_version,
            "sampling_version": manifest.sampling_version,
            "citation": manifest.citation,
        }
    )


def _origin(recipe: LabelledImages) -> list[tuple[str, str]]:
    """Return what makes the samples or, of imported ones, their source."""
    from gpgen.imported import Imported
    from gpgen.recipe import Recipe

    if isinstance(recipe, Recipe):
        return [
            ("recipe", f"{headline(recipe)}, seed {recipe.seed}"),
            ("components", "\n".join(map(component_line, recipe.components))),
        ]
    rows = [("imported", f"{size(recipe.shape)}, {recipe.dtype}; no seeds, nothing draws it again")]
    if isinstance(recipe, Imported):
        rows.append(("from", f"{recipe.source_name}, sha256:{recipe.source_sha256}"))
    return rows


def _counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the samples of each class in each split; they follow from the recipe and n."""
    import numpy as np

    recipe = dataset.recipe
    classes, splits = len(recipe.classes), tuple(recipe.splits)
    table = np.zeros(len(splits) * classes, np.int64)
    for start in range(0, dataset.n, _AT_ONCE):
        stop = min(start + _AT_ONCE, dataset.n)
        cells = recipe.split_codes(start, stop).astype(np.int64) * classes
        table += np.bincount(cells + recipe.labels(start, stop), minlength=len(table))
    rows = table.reshape(len(splits), classes).tolist()
    return {
        split: dict(zip(recipe.classes, row, strict=True))
        for split, row in zip(splits, rows, strict=True)
    }


def _table(counts: dict[str, dict[str, int]]) -> Table:
    """Lay the counts out, a row a class and a column a split."""
    from rich import table as tables
    from rich.text import Text

    table = tables.Table(box=None, pad_edge=True, padding=(0, 2), header_style="bold")
    table.add_column("class")
    for split in counts:
        table.add_column(Text(split), justify="right")
    table.add_column("all", justify="right")
    names = list(next(iter(counts.values())))
    for name in names[:_MOST_CLASSES]:
        cells = [split[name] for split in counts.values()]
        table.add_row(Text(name), *(f"{cell:,}" for cell in (*cells, sum(cells))))
    if len(names) > _MOST_CLASSES:
        table.add_row(f"... {len(names) - _MOST_CLASSES:,} more")
    totals = [sum(split.values()) for split in counts.values()]
    table.add_row("all", *(f"{total:,}" for total in (*totals, sum(totals))), style="bold")
    return table


def _how_to_load(dataset: Dataset) -> list[str]:
    path = str(dataset.path)
    lines = [
        "load it:",
        "  import gpgen",
        f"  ds = gpgen.open_dataset({path!r})",
        "  ds.image[0], ds.label[0], ds.length_scales[0]",
    ]
    if "://" in path:
        return lines
    if dataset.format == "zarr":
        lines.append(f'or: xarray.open_zarr({path!r}), zarr.open({path!r}, mode="r")')
    elif dataset.format == "hdf5":
        lines.append(f"or: h5py.File({path!r})")
    return lines
