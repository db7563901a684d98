"""Zarr v3 on an object store: each object put whole at its final name, the root's last."""

from __future__ import annotations

import contextlib
import os
import tempfile
from array import array
from collections.abc import Callable, Iterator
from typing import IO

from gpgen.errors import Argument, StorageError, TargetError, UsageError
from gpgen.format.base import Reader, Store
from gpgen.format.comparing import damaged
from gpgen.format.copying import copy_shard_to, stored_record
from gpgen.format.image_writing import Stream
from gpgen.format.job import FinishedShards, Job, ShardRecord
from gpgen.format.pixels import file_sha256
from gpgen.format.zarr_content import (
    ROOT,
    dataset_nbytes,
    members,
    shard_name,
    shard_nbytes,
    shard_number,
    whole_shard_index,
    write_shard_to,
)
from gpgen.format.zarr_reader import ZarrReader
from gpgen.io.failures import reading
from gpgen.io.object_path import ObjectPath
from gpgen.io.page_writing import PageWriter
from gpgen.io.paths import AnyPath

__all__ = ["ZarrObjectsStore"]

# What S3 takes in one put.
_MOST_BYTES = 5 * 2**30


class ZarrObjectsStore(Store):
    """Makes one Zarr v3 group on an object store."""

    def __init__(self) -> None:
        self._there: array[int] | None = None

    def nbytes(self, job: Job) -> int:
        """Return the exact bytes that the finished dataset takes."""
        return dataset_nbytes(job)

    def begin(self, job: Job) -> None:
        """Refuse shards that no store takes in one put."""
        nbytes = shard_nbytes(job.recipe, job.layout, 0)
        if nbytes > _MOST_BYTES:
            raise UsageError(
                f"a shard would have {nbytes / 1e9:.1f} GB, and an object can be put in one step "
                f"up to {_MOST_BYTES / 1e9:.1f} GB",
                f"give a smaller {Argument.SHARD_SIZE}",
            )

    def has_shard(self, job: Job, record: ShardRecord) -> bool:
        """Return whether a shard that the journal lists is still there."""
        if self._there is None:
            self._there = _shard_sizes(job)
        return self._there[record.shard] == record.nbytes

    def write_shard(self, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
        """Draw a shard into a scratch file of this machine, and put it with its SHA-256."""
        path = job.target.path.on_store() / shard_name(job.recipe, shard)
        with _scratch_file(job, shard) as scratch:
            with PageWriter(scratch.fileno(), None) as pages, Stream(pages) as stream:
                record = write_shard_to(stream, job, shard, check)
            check()
            path.upload(scratch.fileno(), record.sha256)
        return record

    def copy_shard(
        self, job: Job, shard: int, source: Reader, check: Callable[[], None]
    ) -> ShardRecord:
        """Have the store copy a shard; one that is elsewhere goes through a scratch file."""
        path = job.target.path.on_store() / shard_name(job.recipe, shard)
        record = _copied_by_the_store(source, shard, path)
        if record is None:
            with _scratch_file(job, shard) as scratch:
                tail = whole_shard_index(job.recipe, job.layout)
                with PageWriter(scratch.fileno(), None) as pages:
                    record = copy_shard_to(pages, 0, source, shard, tail, check)
                check()
                path.upload(scratch.fileno(), record.sha256)
        return record

    def commit(self, job: Job, finished: FinishedShards) -> None:
        """Put the small arrays and the metadata; the root's, which makes it a dataset, last."""
        sizes, target = _shard_sizes(job), job.target.path.on_store()
        for shard, nbytes in enumerate(sizes):
            if finished.record(shard).nbytes != nbytes:
                raise TargetError(
                    f"{target / shard_name(job.recipe, shard)} was removed or replaced while "
                    "the others were made",
                    f"run it again with {Argument.RESUME}",
                )
        for name, data in members(job, finished):
            if name != ROOT:
                (target / name).write_bytes(data)
                continue
            try:
                (target / name).create(data)
            except FileExistsError as error:
                raise TargetError(
                    f"{target / name} has appeared while {target} was being made",
                    f"move it away and run again with {Argument.RESUME}",
                ) from error

    def committed(self, job: Job) -> bool:
        """Return whether the dataset is whole, and only the working objects are left."""
        return self.holds(job)

    def occupied(self, job: Job) -> AnyPath | None:
        """Return what stands where the dataset shall go, if anything does."""
        target = job.target.path.on_store()
        if (target / ROOT).exists():
            return target
        if (job.working / "job.json").exists():
            return None  # what stands there are this job's own shards
        return target if next(target.members(), None) is not None else None

    def reader(self, path: AnyPath) -> Reader:
        """Open a finished dataset."""
        return ZarrReader(path)


def _copied_by_the_store(source: Reader, shard: int, path: ObjectPath) -> ShardRecord | None:
    """Have a shard copied to an object; ``None`` if its store is another, or refuses."""
    region = source.region(shard)
    if not region.path.is_remote:
        return None
    record = stored_record(source, shard)
    try:
        with reading(region.path):
            sha256 = path.copy_of(region.path.on_store())
    except StorageError:  # reading it will tell whether it is the store that fails
        return None
    if sha256 is None:
        # One byte more, so that an object that is too long is noticed.
        sha256 = bytes.fromhex(file_sha256(path, 0, record.nbytes + 1)[0])
    if sha256 != record.sha256:
        raise damaged(region, shard)
    return record


@contextlib.contextmanager
def _scratch_file(job: Job, shard: int) -> Iterator[IO[bytes]]:
    """Yield a file on this machine's disk for a shard, and say if it is that which fails."""
    try:
        with tempfile.TemporaryFile(prefix="gpgen-") as scratch:
            yield scratch
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        folder = tempfile.gettempdir()
        raise TargetError(
            f"shard {shard} of {job.target.path} can't be drawn in {folder}: {reason}",
            f"set TMPDIR to a folder with room for a shard, then use {Argument.RESUME}",
        ) from error


def _shard_sizes(job: Job) -> array[int]:
    """List the bucket once; return the bytes of each shard, 0 of one that isn't there."""
    sizes = array("q", bytes(8 * job.layout.shards))
    target = job.target.path.on_store()
    for path, nbytes in (target / "image").members():
        shard = shard_number(job.recipe, path.relative_to(target))
        if shard is not None and shard < len(sizes):
            sizes[shard] = nbytes
    return sizes
