"""Shards that begin with samples of a smaller dataset: taken over, and what is damaged drawn."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Dataset
from gpgen.errors import DatasetError, DatasetWarning, TargetError, warn_caller
from gpgen.format import store_for
from gpgen.format.base import Problem
from gpgen.format.image_writing import Check, crc32c
from gpgen.format.job import ImageSource, Job, ShardRecord
from gpgen.format.replacing import check_unchanged
from gpgen.io.failures import VERIFY
from gpgen.making.in_threads import Lane, make_in_threads

__all__ = ["take"]

_NAMED = 5


def take(
    dataset: Dataset,
    job: Job,
    workers: int,
    shards: Iterator[int],
    finished: Callable[[list[ShardRecord]], Any],
    *,
    all_shards: bool,
) -> Iterator[int]:
    """Make the shards that begin with a dataset's samples, in threads of this process.

    Parameters
    ----------
    dataset
        The dataset: the first samples of the job.
    job
        What to make; its images are those that are drawn.
    workers
        How many at once, and as many of the others.
    shards
        Numbers of the shards to make, ascending.
    finished
        Told of each few finished shards.
    all_shards
        Whether to make the others, too, at the same time: while those wait for the disk, the
        processor draws.

    Returns
    -------
    iterator of int
        The shards that are left.

    Raises
    ------
    DatasetError
        If the dataset is damaged beside its images, was drawn otherwise than this gpgen draws, or
        was replaced meanwhile.
    TargetError
        If something in it would be lost.

    Warns
    -----
    DatasetWarning
        Of damaged shards.
    """
    _check(dataset, job)
    begun = -(-dataset.n // job.layout.shard_size)
    first, second = itertools.tee(shards)
    stored = itertools.takewhile(lambda shard: shard < begun, first)
    others = itertools.dropwhile(lambda shard: shard < begun, second)
    taking = _Taking(dataset, job)
    try:
        lanes = [Lane(stored, taking.write_shard), *([Lane(others)] if all_shards else [])]
        make_in_threads(job, workers, lanes, finished)
    finally:
        taking.warn()
    check_unchanged(dataset.reader)
    _problems(dataset)  # the checksums that were taken over are those that were checked
    return others


def _check(dataset: Dataset, job: Job) -> None:
    """Refuse a dataset whose checksums can't be relied on, or that holds what would be lost."""
    reader = dataset.reader
    check_unchanged(reader)
    for problem in _problems(dataset):
        if problem.kind == "unclear" and job.extends:
            raise TargetError(
                f"{problem.file} in {dataset.path} {problem.what}, and would be lost",
                "move it away, then run the same command again",
            )
    last = dataset.n - 1
    image = _source(job).images(last, last + 1)[0]
    if crc32c(image) != int(reader.rows("crc32c", last, last + 1)[0]):
        raise DatasetError(
            f"{dataset.path} holds other pixels than this gpgen draws: sample {last} differs",
            "make it anew",
        )


def _problems(dataset: Dataset) -> list[Problem]:
    """Refuse damage beside the images; return what else is wrong."""
    problems: list[Problem] = [*store_for(dataset.format).check_first(dataset.path)]
    problems += dataset.reader.problems()
    for problem in problems:
        if problem.kind == "damage":
            raise DatasetError(f"{dataset.path}: {problem.file} {problem.what}", VERIFY)
    return problems


class _Taking:
    """How a shard is made of another dataset's samples.

    Parameters
    ----------
    dataset, job
        As for `take`.
    """

    def __init__(self, dataset: Dataset, job: Job) -> None:
        self.described = job.recipe
        self._dataset = dataset
        self._drawn = _source(job)
        self._store = store_for(job.target.form, job.target.path)
        layout = dataset.manifest.layout
        same = dataclasses.replace(layout, n=job.layout.n) == job.layout
        self._copied = layout.n // layout.shard_size if same and self._alike(job) else 0
        self._damaged: dict[int, str] = {}
        self._lock = threading.Lock()

    def _alike(self, job: Job) -> bool:
        return self._dataset.format == job.target.form

    def write_shard(self, job: Job, shard: int, check: Check) -> ShardRecord:
        """Copy a shard as it is, or else read its images."""
        if shard < self._copied:
            try:
                record = self._store.copy_shard(job, shard, self._dataset.reader, check)
            except DatasetError as error:
                self._note(shard, shard, error)
            else:
                if record is not None:
                    return record
        return self._store.write_shard(dataclasses.replace(job, images=self), shard, check)

    def images(
        self, start: int, stop: int, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Read images; draw those that are damaged, and those that the dataset hasn't.

        This makes it a source of images, `gpgen.format.job.ImageSource`.
        """
        if out is None:
            out = np.empty((stop - start, *self.described.shape), self.described.numpy_dtype)
        stored = min(max(start, self._dataset.n), stop)
        if start < stored:
            try:
                out[: stored - start] = self._dataset.read(np.arange(start, stored))
            except DatasetError as error:
                size = self._dataset.manifest.shard_size
                self._note(start // size, (stored - 1) // size, error)
                stored = start
        if stored < stop:
            out[stored - start :] = self._drawn.images(stored, stop, out[stored - start :])
        return out

    def _note(self, first: int, last: int, error: DatasetError) -> None:
        """Note damage in some of the dataset's shards, unless it is another one by now."""
        check_unchanged(self._dataset.reader)
        with self._lock:
            for shard in range(first, last + 1):
                self._damaged.setdefault(shard, error.message)

    def warn(self) -> None:
        """Say what was damaged."""
        if not self._damaged:
            return
        found = sorted(self._damaged)
        named = ", ".join(map(str, found[:_NAMED])) + (", ..." if len(found) > _NAMED else "")
        warn_caller(
            f"{self._dataset.path} is damaged in shard {named} ({self._damaged[found[0]]}); what "
            "is damaged was drawn again",
            DatasetWarning,
        )


def _source(job: Job) -> ImageSource:
    if job.images is None:
        raise ValueError("the job has no source of images")
    return job.images
