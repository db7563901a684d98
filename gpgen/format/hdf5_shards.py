"""One HDF5 file a shard, and a manifest file of the same pattern.

A shard is complete in itself: images, labels, seeds, checksums and recipe. The
manifest holds the same small arrays for all samples and the SHA-256 of each
shard's file; without it there is no dataset.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from gpgen.errors import Argument, DatasetError, TargetError, UsageError
from gpgen.format.base import Place, Problem, Reader, Region, Store
from gpgen.format.hdf5 import complete_file
from gpgen.format.hdf5_file import (
    Hdf5Dataset,
    Skeleton,
    check_user_block,
    dataset_offset,
    lay_out,
    manifest_arrays,
    read_hdf5,
)
from gpgen.format.image_writing import new_file, write_images
from gpgen.format.job import FinishedShards, Job, ShardRecord
from gpgen.format.layout import Format, Layout, Target
from gpgen.format.manifest import (
    VERIFY,
    SmallArray,
    checksum_arrays,
    derived_arrays,
    image_array,
    root_attributes,
    seal,
)
from gpgen.io import files
from gpgen.io.local_path import LocalPath
from gpgen.io.paths import AnyPath

__all__ = ["Hdf5ShardsReader", "Hdf5ShardsStore"]


def _shard_skeleton(job: Job, shard: int) -> tuple[Skeleton, list[SmallArray]]:
    """Return a shard file's layout and its small arrays, the CRC-32C left out."""
    recipe, layout = job.recipe, job.layout
    start, stop = layout.bounds(shard)
    attributes: dict[str, Any] = root_attributes(recipe, layout, job.gpgen_version, job.roots)
    attributes |= {"format": "gpgen-shard", "shard": shard, "first_sample": start}

    def shifted(array: SmallArray) -> SmallArray:
        return dataclasses.replace(
            array,
            shape=(stop - start, *array.shape[1:]),
            rows=lambda low, high: array.rows(start + low, start + high),
        )

    arrays = [shifted(array) for array in derived_arrays(recipe, layout.n)]
    crc, _ = checksum_arrays(Layout(stop - start, stop - start, None))
    # The checksums come last: they are known when all images are written, front to back. HDF5 would
    # fill gaps with what is small, so each array has pages of its own.
    arrays_in_order = [*arrays, image_array(recipe, stop - start), crc]
    skeleton = lay_out(attributes, arrays_in_order, user_block=0, own_pages=True)
    return skeleton, arrays


class Hdf5ShardsStore(Store):
    """Makes HDF5 files after a pattern."""

    def _shard_path(self, job: Job, shard: int) -> LocalPath:
        return job.data.on_disk() / job.target.shard_name(shard)

    def _manifest_skeleton(self, job: Job) -> Skeleton:
        attributes = root_attributes(job.recipe, job.layout, job.gpgen_version, job.roots)
        attributes = seal({**attributes, "shard_pattern": job.target.path.name})
        return lay_out(attributes, manifest_arrays(job.recipe, job.layout))

    def nbytes(self, job: Job) -> int:
        """Return the exact bytes that the finished dataset takes."""
        last = job.layout.shards - 1
        sizes = [_shard_skeleton(job, shard)[0].nbytes for shard in sorted({0, last})]
        return sizes[0] * last + sizes[-1] + self._manifest_skeleton(job).nbytes

    def has_shard(self, job: Job, record: ShardRecord) -> bool:
        """Return whether a shard that the journal lists is still there."""
        path = self._shard_path(job, record.shard)
        if not path.is_file() and self._committing(job).exists():
            path = job.target.path.on_disk().with_name(path.name)
        return path.is_file() and path.stat().st_size == record.nbytes

    def write_shard(self, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
        """Draw a shard and write its file, front to back."""
        recipe = job.recipe
        start, stop = job.layout.bounds(shard)
        skeleton, arrays = _shard_skeleton(job, shard)
        pieces = list(skeleton.metadata)
        pieces += [(skeleton.offsets[a.name], a.block(0, stop - start)) for a in arrays]
        image = skeleton.offsets["image"]
        after = image + (stop - start) * recipe.image_nbytes
        with new_file(job.temporary.on_disk(), self._shard_path(job, shard)) as stream:
            for offset, raw in sorted(piece for piece in pieces if piece[0] < image):
                stream.write([bytes(offset - stream.offset), raw])
            stream.write([bytes(image - stream.offset)])
            crcs = write_images(stream, job, start, stop, check)
            pieces.append((skeleton.offsets["crc32c"], crcs.tobytes()))
            for offset, raw in sorted(piece for piece in pieces if piece[0] >= after):
                stream.write([bytes(offset - stream.offset), raw])
            stream.write([bytes(skeleton.nbytes - stream.offset)])
            sha256 = stream.finish()
        return ShardRecord(shard, sha256, stream.nbytes, crcs.tobytes())

    def _committing(self, job: Job) -> LocalPath:
        return job.data.on_disk() / "committing"

    def commit(self, job: Job, finished: FinishedShards) -> None:
        """Write the manifest; move the shards to their names, and the manifest last."""
        target, marker, data = job.target, self._committing(job), job.data.on_disk()
        manifest, final = data / target.manifest.name, target.manifest.on_disk()
        if not marker.exists():
            self._write_manifest(job, finished, manifest)
            files.replace_file(marker, b"", job.temporary.on_disk())
            files.sync_folder(data)
        folder = final.parent
        # From here the old dataset, if there is one, is replaced: first it ceases to be one.
        files.remove(final)
        for name in [entry.name for entry in os.scandir(folder)]:
            number = target.shard_number(name)
            if number is not None and number >= job.layout.shards:
                files.remove(folder / name)
        files.sync_folder(folder)
        for shard in range(job.layout.shards):
            path = self._shard_path(job, shard)
            if path.exists():
                files.rename(path, folder / path.name)
            elif not (folder / path.name).exists():
                raise TargetError(
                    f"{path} was removed while the dataset was being completed",
                    f"run it again with {Argument.RESUME}",
                )
        files.sync_folder(folder)
        files.rename(manifest, final)
        files.sync_folder(folder)

    def _write_manifest(self, job: Job, finished: FinishedShards, path: LocalPath) -> None:
        skeleton = self._manifest_skeleton(job)
        arrays = [*derived_arrays(job.recipe, job.layout.n), *finished.arrays()]
        descriptor = files.create(path)
        try:
            files.truncate(descriptor, skeleton.nbytes)
            complete_file(descriptor, path, skeleton, arrays, (0, 0))
        finally:
            os.close(descriptor)

    def committed(self, job: Job) -> bool:
        """Return whether a commit was cut off after the manifest had its name."""
        manifest = job.data.on_disk() / job.target.manifest.name
        return self._committing(job).exists() and not manifest.exists()

    def committing(self, job: Job) -> bool:
        """Return whether a commit was cut off after the old dataset had ceased to be one."""
        return self._committing(job).exists() and not self.committed(job)

    def remove_unlisted(self, job: Job, finished: FinishedShards) -> None:
        """Remove shards that a killed run finished but didn't get to put on record."""
        for entry in os.scandir(job.data.on_disk()):
            number = job.target.shard_number(entry.name)
            if number is not None and not finished.lists(number):
                files.remove(LocalPath(entry.path))

    def occupied(self, job: Job) -> LocalPath | None:
        """Return what stands where the dataset shall go, if anything does."""
        if self._committing(job).exists() and (job.working / "job.json").exists():
            return None  # what stands there are this job's own shards
        manifest = job.target.manifest.on_disk()
        folder = manifest.parent
        if os.path.lexists(manifest):
            return manifest
        with os.scandir(folder) as entries:
            names = (entry.name for entry in entries)
            found = next((n for n in names if job.target.shard_number(n) is not None), None)
        return None if found is None else folder / found

    def reader(self, path: AnyPath) -> Reader:
        """Open a finished dataset by its manifest file."""
        return Hdf5ShardsReader(path.on_disk())

    def check_first(self, path: AnyPath) -> Iterator[Problem]:
        """Check what can be checked before HDF5 reads the file."""
        return check_user_block(path.on_disk())


class Hdf5ShardsReader(Hdf5Dataset):
    """A finished dataset of HDF5 shards, by its manifest file."""

    form: ClassVar[Format] = "hdf5-shards"

    def __init__(self, path: LocalPath) -> None:
        super().__init__(path)
        pattern = self.manifest.shard_pattern
        target = None
        if pattern is not None and LocalPath(pattern).name == pattern:
            with contextlib.suppress(UsageError):
                target = Target.parse(path.with_name(pattern))
        if target is None or (target.form, target.manifest) != (self.form, path):
            raise DatasetError(f"{path}: the manifest does not name its shards", VERIFY)
        self._target = target

    def _shard_path(self, shard: int) -> LocalPath:
        return self.path.with_name(self._target.shard_name(shard))

    def place(self, shard: int) -> Place:
        """Return where a shard's images lie.

        Raises
        ------
        DatasetError
            If the file is missing or is another dataset's, or another shard.
        """
        path = self._shard_path(shard)
        attributes, found = read_hdf5(path)
        expected = {
            "format": "gpgen-shard",
            "recipe_sha256": self.manifest.recipe_sha256,
            "n": self.manifest.n,
            "shard_size": self.manifest.shard_size,
            "shard": shard,
        }
        for key, value in expected.items():
            if attributes.get(key) != value:
                raise DatasetError(
                    f"{path} does not belong to the dataset: its {key} is "
                    f"{repr(attributes.get(key))[:60]}, not {value!r}",
                    VERIFY,
                )
        start, stop = self.manifest.layout.bounds(shard)
        offset = dataset_offset(path, found, image_array(self.recipe, stop - start))
        return Place(path, offset, self.recipe.image_nbytes)

    def region(self, shard: int) -> Region:
        """Return the shard's file."""
        return Region(self._shard_path(shard), 0, None, whole_file=True)

    def problems(self) -> Iterator[Problem]:
        """Look for shards that don't belong; the user block has covered the manifest."""
        for entry in sorted(os.scandir(self.path.parent), key=lambda entry: entry.name):
            number = self._target.shard_number(entry.name)
            if number is not None and number >= self.manifest.layout.shards:
                yield Problem(entry.name, "does not belong to the dataset", "unclear")
