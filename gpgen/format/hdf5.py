"""One self-contained HDF5 file, its images contiguous.

Each worker writes its samples at their place in the one file, so no bytes are
copied twice and no two workers write the same page (shards begin on pages
when the images fill pages). Until the commit the file lacks every byte of HDF5's own
metadata, so nothing opens it; then it gets them, and its name.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator

from gpgen.format.base import Place, Problem, Reader, Region, Store
from gpgen.format.copying import copy_shard_to
from gpgen.format.hdf5_file import (
    USER_BLOCK,
    Hdf5Dataset,
    Skeleton,
    check_user_block,
    lay_out,
    manifest_arrays,
    write_small_arrays,
    write_user_block,
)
from gpgen.format.image_writing import Stream, write_images
from gpgen.format.job import FinishedShards, Job, ShardRecord
from gpgen.format.layout import Layout
from gpgen.format.manifest import SmallArray, derived_arrays, image_array, root_attributes, seal
from gpgen.io import files
from gpgen.io.local_path import LocalPath
from gpgen.io.page_writing import PageWriter
from gpgen.io.paths import AnyPath
from gpgen.io.renaming import naming
from gpgen.labelled_images import LabelledImages

__all__ = ["Hdf5Reader", "Hdf5Store"]


@functools.lru_cache(maxsize=8)
def _skeleton(recipe: LabelledImages, layout: Layout, version: str, roots: str | None) -> Skeleton:
    *derived, crc, sha = manifest_arrays(recipe, layout)
    attributes = seal(root_attributes(recipe, layout, version, roots))
    # The image comes late, so that all that opening needs lies together in front.
    return lay_out(attributes, [*derived, image_array(recipe, layout.n), crc, sha])


def skeleton_of(job: Job) -> Skeleton:
    """Return the layout of a job's file."""
    return _skeleton(job.recipe, job.layout, job.gpgen_version, job.roots)


class Hdf5Store(Store):
    """Makes one HDF5 file."""

    def _path(self, job: Job) -> LocalPath:
        return job.data.on_disk() / "file"

    def nbytes(self, job: Job) -> int:
        """Return the exact bytes that the finished dataset takes."""
        return skeleton_of(job).nbytes

    def begin(self, job: Job) -> None:
        """Make the file at its full length, all holes."""
        path = self._path(job)
        if path.exists():
            return
        name = files.temporary_name(job.temporary.on_disk(), path.name)
        descriptor = files.create(name)
        try:
            files.truncate(descriptor, skeleton_of(job).nbytes)
            files.sync(descriptor)
        finally:
            os.close(descriptor)
        files.rename(name, path)
        files.sync_folder(path.parent)

    def has_shard(self, job: Job, record: ShardRecord) -> bool:  # noqa: ARG002
        """Return whether the file is still there."""
        path = self._path(job)
        return path.is_file() and path.stat().st_size == skeleton_of(job).nbytes

    def write_shard(self, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
        """Draw a shard and write it at its place.

        A worker taken for dead may write the same place at the same time:
        it writes the same bytes.
        """
        start, stop = job.layout.bounds(shard)
        with (
            self._opened(job, shard) as (pages, offset),
            Stream(pages, offset) as stream,
        ):
            crcs = write_images(stream, job, start, stop, check)
            sha256 = stream.finish()
        return ShardRecord(shard, sha256, stream.nbytes, crcs.tobytes())

    def copy_shard(
        self, job: Job, shard: int, source: Reader, check: Callable[[], None]
    ) -> ShardRecord:
        """Copy a shard's pixels from their place in one file to that in another."""
        with self._opened(job, shard) as (pages, offset):
            return copy_shard_to(pages, offset, source, shard, b"", check)

    @contextlib.contextmanager
    def _opened(self, job: Job, shard: int) -> Iterator[tuple[PageWriter, int]]:
        """Open the file for writing; yield what writes it, and where a shard begins."""
        start, _ = job.layout.bounds(shard)
        offset = skeleton_of(job).offsets["image"] + start * job.recipe.image_nbytes
        descriptor = files.open_existing(self._path(job), write=True)
        try:
            with PageWriter(descriptor, self._path(job)) as pages:
                yield pages, offset
        finally:
            os.close(descriptor)

    def commit(self, job: Job, finished: FinishedShards) -> None:
        """Write all but the images, then give the file its name."""
        skeleton, path = skeleton_of(job), self._path(job)
        arrays = [*derived_arrays(job.recipe, job.layout.n), *finished.arrays()]
        image = skeleton.offsets["image"], job.layout.n * job.recipe.image_nbytes
        descriptor = files.open_existing(path, write=True)
        try:
            complete_file(descriptor, path, skeleton, arrays, image)
        finally:
            os.close(descriptor)
        final = job.target.path.on_disk()
        with naming(final, job.working.on_disk()):
            files.rename(path, final)
        files.sync_folder(final.parent)

    def committed(self, job: Job) -> bool:
        """Return whether a commit was cut off after the rename."""
        return not self._path(job).exists() and self.holds(job)

    def occupied(self, job: Job) -> LocalPath | None:
        """Return what stands where the dataset shall go, if anything does."""
        path = job.target.path.on_disk()
        return path if os.path.lexists(path) else None

    def reader(self, path: AnyPath) -> Reader:
        """Open a finished dataset."""
        return Hdf5Reader(path.on_disk())

    def check_first(self, path: AnyPath) -> Iterator[Problem]:
        """Check what can be checked before HDF5 reads the file."""
        return check_user_block(path.on_disk())


def complete_file(
    descriptor: int,
    path: LocalPath,
    skeleton: Skeleton,
    arrays: list[SmallArray],
    image: tuple[int, int],
) -> None:
    """Write the small arrays, HDF5's metadata and the user block, and sync."""
    write_small_arrays(descriptor, skeleton, arrays)
    for offset, raw in skeleton.metadata:
        files.write_at(descriptor, raw, offset)
    n = next(array.shape[0] for array in arrays if array.name == "label")
    write_user_block(descriptor, path, n, image)
    files.sync(descriptor)


class Hdf5Reader(Hdf5Dataset):
    """A finished HDF5 file."""

    def __init__(self, path: LocalPath) -> None:
        super().__init__(path)
        image = image_array(self.recipe, self.manifest.n)
        self._image = self.offset(image)

    def place(self, shard: int) -> Place:
        """Return where a shard's images lie."""
        start, _ = self.manifest.layout.bounds(shard)
        nbytes = self.recipe.image_nbytes
        return Place(self.path, self._image + start * nbytes, nbytes)

    def region(self, shard: int) -> Region:
        """Return the shard's range of the file."""
        start, stop = self.manifest.layout.bounds(shard)
        nbytes = self.recipe.image_nbytes
        offset = self._image + start * nbytes
        return Region(self.path, offset, (stop - start) * nbytes, whole_file=False)

    def problems(self) -> Iterator[Problem]:
        """Return nothing more: the user block has covered every byte outside the images."""
        if self._image < USER_BLOCK:
            yield Problem(self.path.name, "damaged: the images overlap the first block")
