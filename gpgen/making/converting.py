"""From one format to another: the same pixels, copied, and not drawn again.

A conversion is a job like any other, whose images are read instead of drawn. So it is atomic
and can be resumed, and what comes out is, byte for byte, what `make` would have written there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Dataset, open_dataset
from gpgen.dataset.samples import Samples
from gpgen.errors import Argument, UsageError
from gpgen.exporting import Exported, ExportTarget, Pictures, check_options, export
from gpgen.format import store_for
from gpgen.format.image_writing import never_stop
from gpgen.format.job import Job, ShardRecord
from gpgen.io.paths import Given
from gpgen.making.growing import check_sampling
from gpgen.making.planning import job_of
from gpgen.making.run import carry_out, check_again
from gpgen.progress import Follow
from gpgen.recipe import Recipe

__all__ = ["convert", "one_by_one"]


def convert(
    source: Given,
    out: Given,
    *,
    n: int | None = None,
    split: str | None = None,
    classes: str | int | Sequence[str | int] | None = None,
    samples: slice | Sequence[int] | npt.NDArray[Any] | None = None,
    pictures: Pictures | None = None,
    resume: bool = False,
    overwrite: bool = False,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    progress: Follow = None,
) -> Dataset | Exported:
    """Copy a dataset into another format.

    Every image is checked against its checksum as it is read.

    Parameters
    ----------
    source
        The dataset: whatever `open_dataset` opens.
    out
        The target: ``data.zarr``, ``data.h5``, ``data-{shard:05d}.h5``, or for tar files as the
        webdataset package reads them ``data-{shard:05d}.tar``. For other programs alone, and begun
        again if it was broken off: ``{split}-{shard:05d}.parquet``, as the datasets package reads
        it, and ``{split}-{shard:05d}.npz`` for NumPy, either field being optional; and
        ``pictures/``, a folder with a picture of each sample and the table ``metadata.csv``.
    n
        Copy only the first n samples; all if ``None``. What comes out is what `make` makes of n.
    split, classes, samples
        Which samples are copied, as for `Dataset.subset`; only to what is for other programs
        alone, since those of a dataset follow from their index.
    pictures
        What a folder's pictures are: grey PNG of 16 bits ("png16", if ``None``) or 8 ("png8"), or
        the pixels as they are ("npy").
    resume, overwrite, chunk_size, shard_size, progress
        As for `gpgen.make`.

    Returns
    -------
    Dataset or Exported
        The finished dataset, open; or what was written for other programs alone: ``path``, ``n``,
        ``files`` and ``nbytes``.

    Raises
    ------
    UsageError
        If an argument can't be fulfilled.
    MissingPackageError
        If the package that writes the target isn't installed.
    DatasetError
        If the source is missing, unfinished or damaged.
    StorageError
        If the source's disk or object store fails.
    TargetError
        If the target exists, is in use, does not fit, or differs from what is to be resumed.
    """
    target = ExportTarget.parse(out)
    choosing = split is not None or classes is not None or samples is not None
    if target is not None:
        check_again(resume=resume, overwrite=overwrite)
        check_options(target, pictures, chunk_size, shard_size)
        with open_dataset(source) as dataset:
            chosen: Samples = dataset if n is None else _first(n, dataset)
            if choosing:
                chosen = chosen.subset(samples, classes=classes, split=split)
            return export(
                chosen,
                target,
                pictures=pictures or "png16",
                shard_size=shard_size,
                overwrite=overwrite,
                progress=progress,
            )
    if pictures is not None:
        raise UsageError(
            f"pictures is {pictures!r}, but the target is no folder of pictures",
            f"leave out {Argument.PICTURES}, or write to a folder: 'pictures/'",
        )
    if choosing:
        raise UsageError(
            f"{str(out)!r} would be a dataset, whose samples follow from their index",
            "leave out split, classes and samples, or write Parquet, .npz or pictures",
        )
    with open_dataset(source) as dataset:
        check_sampling(dataset, "convert it with that version")
        job = job_of(
            ConvertedImages(dataset),
            dataset.n if n is None else n,
            out,
            chunk_size=chunk_size,
            shard_size=shard_size,
            overwrite=overwrite,
            gpgen_version=dataset.manifest.gpgen_version,
            roots=dataset.manifest.roots,
        )
        if job.target.manifest == dataset.path:
            raise UsageError(f"{dataset.path} is both source and target", "choose another target")
        _check_samples(job, dataset)
        return carry_out(job, one_by_one, resume=resume, progress=progress)


def _first(n: int, dataset: Dataset) -> Samples:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"n is {n!r}", "ask for 1 sample or more")
    if n > dataset.n:
        raise UsageError(
            f"n is {n}, and {dataset.path} has {dataset.n} samples", f"leave out {Argument.N}"
        )
    return dataset[:n] if n < dataset.n else dataset


def _check_samples(job: Job, dataset: Dataset) -> None:
    """Refuse more samples than there are, and a part of what is described as a whole."""
    if job.layout.n > dataset.n:
        raise UsageError(
            f"n is {job.layout.n}, and {dataset.path} has {dataset.n} samples",
            f"draw more of them: `gpgen make --n {job.layout.n} --out DST --reuse SRC`",
        )
    if job.layout.n < dataset.n and not isinstance(dataset.recipe, Recipe):
        raise UsageError(
            f"{dataset.path} was imported, and its description is that of all {dataset.n} images",
            f"leave out {Argument.N}, or import a source of fewer",
        )


class ConvertedImages:
    """A source of images (`gpgen.format.job.ImageSource`): read from a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.described = dataset.recipe

    def images(
        self,
        start: int,
        stop: int,
        out: npt.NDArray[Any] | None = None,  # noqa: ARG002
    ) -> npt.NDArray[Any]:
        """Read the images of samples start..stop-1, each checked against its checksum."""
        return self._dataset.read(np.arange(start, stop))


def one_by_one(
    job: Job,
    left: int,  # noqa: ARG001 - what `carry_out` gives
    missing: Iterator[int],
    finished: Callable[[list[ShardRecord]], None],
) -> None:
    """Copy the missing shards in turn: the disk is the bound, and one writer keeps it busy."""
    store = store_for(job.target.form, job.target.path)
    for shard in missing:
        finished([store.write_shard(job, shard, never_stop)])
