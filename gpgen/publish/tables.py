"""What is in a dataset, as files that every tool reads: samples.csv, shards.csv, crc32c.npy."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

import numpy as np

from gpgen.description.dataset_description import DatasetDescription
from gpgen.exact.texture import length_scale_name
from gpgen.format.base import Reader
from gpgen.golkar2018.npy_header import npy_header
from gpgen.recipe import Recipe
from gpgen.sampling import seeds

__all__ = ["csv_lines", "image_checksums", "samples_table", "shards_table"]

_ROWS: Final = 2**14


def samples_table(
    recipe: Recipe, n: int, description: DatasetDescription, shard_size: int, files: list[str]
) -> Iterator[bytes]:
    """Yield samples.csv in pieces: a line for each sample.

    Parameters
    ----------
    recipe, n
        The dataset.
    description
        Names the columns.
    shard_size
        Samples a shard.
    files
        The file of each shard.
    """
    yield csv_lines([[column.name for column in description.columns]])
    names, splits = recipe.classes, tuple(recipe.splits)
    for start in range(0, n, _ROWS):
        stop = min(start + _ROWS, n)
        numbers = recipe.length_scale_array(start, stop).reshape(stop - start, -1)
        if recipe.texture.draws_weights:
            numbers = np.column_stack([numbers, recipe.weight_array(start, stop)])
        columns = zip(
            range(start, stop),
            recipe.labels(start, stop).tolist(),
            numbers.tolist(),
            seeds(recipe.seed, start, stop).tolist(),
            recipe.split_codes(start, stop).tolist(),
            strict=True,
        )
        yield csv_lines(
            [
                [
                    index,
                    label,
                    names[label],
                    *map(length_scale_name, row),
                    seed,
                    splits[split],
                    files[index // shard_size],
                ]
                for index, label, row, seed, split in columns
            ]
        )


def shards_table(reader: Reader, files: list[str]) -> Iterator[bytes]:
    """Yield shards.csv in pieces: what each shard must hash to once it is made again."""
    yield csv_lines([["shard", "file", "first", "samples", "sha256"]])
    layout = reader.manifest.layout
    for start in range(0, layout.shards, _ROWS):
        stop = min(start + _ROWS, layout.shards)
        hashes = np.asarray(reader.rows("shard_sha256", start, stop))
        rows = []
        for shard, digest in zip(range(start, stop), hashes, strict=True):
            first, last = layout.bounds(shard)
            rows.append([shard, files[shard], first, last - first, digest.tobytes().hex()])
        yield csv_lines(rows)


def image_checksums(reader: Reader) -> Iterator[bytes]:
    """Yield crc32c.npy in pieces: little-endian uint32, one for each image."""
    n = reader.manifest.n
    yield npy_header((n,), "<u4")
    for start in range(0, n, _ROWS):
        yield reader.rows("crc32c", start, min(start + _ROWS, n)).astype("<u4").tobytes()


def csv_lines(rows: list[list[object]]) -> bytes:
    """Return rows as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
