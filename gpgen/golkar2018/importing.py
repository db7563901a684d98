"""Importing the 2018 archive, or others of its form, as a dataset that gpgen reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError, UsageError
from gpgen.exact.finite import all_finite
from gpgen.golkar2018.import_source import LabelledFiles, open_source
from gpgen.imported import Imported
from gpgen.io.failures import reading
from gpgen.io.litter import is_litter
from gpgen.io.user_paths import AnyText, given
from gpgen.making.converting import one_by_one
from gpgen.making.planning import job_of
from gpgen.making.run import carry_out
from gpgen.progress import Follow

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
    progress: Follow = None,
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
        described = describe(opened, content_sha256(path), fractions)
        pixels: Any = dtype or described.dtype
        described = msgspec.structs.replace(described, dtype=pixels)
        job = job_of(
            ImportedImages(opened, described),
            len(opened.labels),
            out,
            chunk_size=chunk_size,
            shard_size=shard_size,
            overwrite=overwrite,
        )
        return carry_out(job, one_by_one, resume=resume, progress=progress)


class ImportedImages:
    """A source of images (`gpgen.format.job.ImageSource`): files of 2018, read in their order."""

    def __init__(self, source: LabelledFiles, described: Imported) -> None:
        self._source = source
        self.described = described
        self._images = source.images()
        self._position = 0

    def images(self, start: int, stop: int, out: npt.NDArray[Any] | None = None) -> Any:  # noqa: ANN401
        """Read images start..stop-1, shape (stop - start, y, x)."""
        if out is None:
            out = np.empty((stop - start, *self.described.shape), self.described.numpy_dtype)
        if start < self._position:
            self._images, self._position = self._source.images(), 0
        while self._position < start:
            next(self._images)
            self._position += 1
        for image in out:
            with np.errstate(over="ignore"):  # refused below
                image[...] = next(self._images)
            if not all_finite(image):
                raise DatasetError(
                    f"image {self._position} of {self.described.source_name} has pixels that are "
                    f"not finite in {image.dtype}",
                    "import a source without it",
                )
            self._position += 1
        return out


def describe(source: LabelledFiles, sha256: str, splits: Mapping[str, float]) -> Imported:
    """Describe a source as a dataset of its own precision."""
    labels = source.labels
    cyclic = all(label == i % len(source.class_names) for i, label in enumerate(labels))
    dtype: Any = source.dtype.name
    return Imported(
        name="imported",
        shape=source.shape,
        dtype=dtype,
        splits=dict(splits),
        class_names=source.class_names,
        source_kind="gp" if source.kind == "gp" else "npy",
        source_name=source.name,
        source_sha256=sha256,
        image_labels=() if cyclic else labels,
    )


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of a folder's files."""
    if path.is_file():
        with reading(path, "give it again"), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        name = file_path.relative_to(path).as_posix()
        if is_litter(name):
            continue
        digest.update(f"{content_sha256(file_path)}  {name}\n".encode())
    return digest.hexdigest()


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
