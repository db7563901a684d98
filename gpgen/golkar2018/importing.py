"""Importing the 2018 archive, or others of its form, as a dataset that gpgen reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gpgen.errors import UsageError
from gpgen.golkar2018.imported import content_sha256, describe
from gpgen.golkar2018.sources import open_source
from gpgen.making import Progress, make
from gpgen.paths import AnyText, given

if TYPE_CHECKING:
    from gpgen.dataset import Dataset

__all__ = ["import_dataset", "parse_splits"]


def import_dataset(
    source: AnyText,
    out: AnyText,
    *,
    dtype: str | None = None,
    splits: Mapping[str, float] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Dataset:
    """Turn a ``.gp`` file or ``.npy`` samples into a Zarr or HDF5 dataset.

    Labels and length-scales come from the class names. There are no seeds, since nothing
    draws the images again.

    Parameters
    ----------
    source
        A ``.gp`` file, a folder of ``.npy`` samples, or a zip of either.
    out
        The target: ``data.zarr``, ``data.h5`` or ``data-{shard:05d}.h5``.
    dtype
        The pixels' type, "float32" or "float64"; the source's own if ``None``.
    splits
        Names and fractions; 80, 10 and 10 % of each class if ``None``.
    resume, overwrite, chunk_size, shard_size, progress
        As for `gpgen.make`.

    Raises
    ------
    UsageError, TargetError
        As for `gpgen.make`.
    DatasetError
        If the source is anything else, damaged, or can't be trusted.
    """
    if dtype not in (None, "float32", "float64"):
        raise UsageError(f"dtype is {dtype!r}", 'use "float32" or "float64"')
    path = given(source)
    fractions = splits or {"train": 0.8, "validation": 0.1, "test": 0.1}
    with open_source(path) as opened:
        recipe = describe(opened, content_sha256(path), fractions)
        count = len(opened.labels)
    pixels: Any = dtype or recipe.dtype
    recipe = msgspec.structs.replace(recipe, path=str(path), dtype=pixels)
    return make(
        recipe,
        count,
        out,
        workers=1,
        resume=resume,
        overwrite=overwrite,
        chunk_size=chunk_size,
        shard_size=shard_size,
        progress=progress,
    )


def parse_splits(texts: Sequence[str]) -> dict[str, float] | None:
    """Read splits written like ``train=0.8``; ``None`` if there are none.

    Raises
    ------
    UsageError
        For anything else.
    """
    splits = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            splits[name] = float(share)
        except ValueError:
            raise UsageError(f"a split is given as {text!r}", "write it like train=0.8") from None
    return splits or None
