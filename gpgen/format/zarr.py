"""Zarr v3: one group in a folder, its image array sharded one file a shard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gpgen.format.base import Reader, Store
from gpgen.format.copying import take_shard_file
from gpgen.format.image_writing import new_file
from gpgen.format.job import FinishedShards, Job, ShardRecord
from gpgen.format.zarr_content import (
    dataset_nbytes,
    members,
    shard_name,
    shard_number,
    whole_shard_index,
    write_shard_to,
)
from gpgen.format.zarr_reader import ZarrReader
from gpgen.format.zarr_zip import ZippedZarrReader
from gpgen.io import files
from gpgen.io.paths import AnyPath
from gpgen.io.renaming import naming

__all__ = ["ZarrStore"]


# Where a dataset that is replaced waits to be removed, in the working folder.
_OLD = "old"


class ZarrStore(Store):
    """Makes one Zarr v3 group."""

    def nbytes(self, job: Job) -> int:
        """Return the exact bytes that the finished dataset takes."""
        return dataset_nbytes(job)

    def begin(self, job: Job) -> None:
        """Make the folder of the shards."""
        data = job.data.on_disk()
        files.make_folder(data / "image")
        files.sync_folder(data)

    def has_shard(self, job: Job, record: ShardRecord) -> bool:
        """Return whether a shard that the journal lists is still there."""
        path = job.data.on_disk() / shard_name(job.recipe, record.shard)
        return path.is_file() and path.stat().st_size == record.nbytes

    def write_shard(self, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
        """Draw a shard and write its file."""
        final = job.data.on_disk() / shard_name(job.recipe, shard)
        with new_file(job.temporary.on_disk(), final) as stream:
            return write_shard_to(stream, job, shard, check)

    def copy_shard(
        self, job: Job, shard: int, source: Reader, check: Callable[[], None]
    ) -> ShardRecord:
        """Take a shard's file over."""
        final = job.data.on_disk() / shard_name(job.recipe, shard)
        tail = whole_shard_index(job.recipe, job.layout)
        return take_shard_file(job, final, source, shard, tail, check)

    def commit(self, job: Job, finished: FinishedShards) -> None:
        """Write the small arrays and the metadata, the root's last; then rename."""
        self._complete(job, finished)
        final, aside = job.target.path.on_disk(), job.working.on_disk() / _OLD
        with naming(final, job.working.on_disk()):
            if os.path.lexists(final):
                files.remove_tree(aside)
                files.rename(final, aside)
            try:
                files.rename(job.data.on_disk(), final)
            except OSError:
                if aside.exists():  # better the old one than none
                    files.rename(aside, final)
                raise
        files.sync_folder(final.parent)

    def _complete(self, job: Job, finished: FinishedShards) -> None:
        folder, temporary = job.data.on_disk(), job.temporary.on_disk()
        folders = [folder]
        for name, data in members(job, finished):
            place = folder / name
            if place.parent not in folders:
                files.make_folder(place.parent)
                folders.append(place.parent)
            files.replace_file(place, data, temporary)
        for made in reversed(folders):
            files.sync_folder(made)

    def committed(self, job: Job) -> bool:
        """Return whether a commit was cut off after the rename."""
        return not job.data.on_disk().exists() and self.holds(job)

    def committing(self, job: Job) -> bool:
        """Return whether a commit was cut off between the two renames."""
        old = job.working.on_disk() / _OLD
        return old.exists() and not os.path.lexists(job.target.path.on_disk())

    def remove_unlisted(self, job: Job, finished: FinishedShards) -> None:
        """Remove shards that a killed run finished but didn't get to put on record."""
        for entry in os.scandir(job.data.on_disk() / "image"):
            number = shard_number(job.recipe, f"image/{entry.name}")
            if number is not None and not finished.lists(number):
                files.remove(Path(entry.path))

    def occupied(self, job: Job) -> AnyPath | None:
        """Return what stands where the dataset shall go, if anything does."""
        return job.target.path if os.path.lexists(job.target.path.on_disk()) else None

    def reader(self, path: AnyPath) -> Reader:
        """Open a finished dataset: a folder, a zip of one, or objects."""
        if not path.name.endswith(".zip") or path.is_dir():
            return ZarrReader(path)
        return ZippedZarrReader(path.on_disk())
