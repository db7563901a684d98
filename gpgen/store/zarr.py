"""Zarr v3, written directly: one group, its image array sharded one file a shard.

A shard file is, by the sharding codec's specification
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/): the
inner chunks, each its little-endian bytes and their CRC-32C, then an index of
(offset, length) for every chunk and the index's own CRC-32C. Without
compression that is a few lines, streams in one batch of memory, and depends on
no other library's version.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpgen.errors import DatasetError
from gpgen.recipe import Recipe
from gpgen.store import files
from gpgen.store.interface import Place, Problem, Reader, Region
from gpgen.store.job import Job, ShardRecord
from gpgen.store.journal import Journal
from gpgen.store.manifest import (
    VERIFY,
    Manifest,
    SmallArray,
    checksum_arrays,
    derived_arrays,
    read_manifest,
    root_attributes,
    seal,
)
from gpgen.store.reading import check_file, read_rows
from gpgen.store.stream import Stream, batches, crc32c, new_file
from gpgen.store.zarr_metadata import (
    BLOCK_ROWS,
    block_names,
    image_document,
    render,
    root_document,
    small_document,
)

__all__ = ["ZarrReader", "ZarrStore"]

_CRC_BYTES = 4
_ROOT = "zarr.json"


class ZarrStore:
    """Makes one Zarr v3 group."""

    def _shard_path(self, folder: Path, recipe: Recipe, shard: int) -> Path:
        return folder / "image" / f"c.{shard}{'.0' * len(recipe.shape)}"

    def nbytes(self, job: Job) -> int:
        """Return the exact bytes that the finished dataset takes."""
        layout, chunk = job.layout, job.layout.chunk_size or 1
        per_shard = layout.shard_size // chunk
        chunks = -(-layout.n // chunk)
        total = chunks * (chunk * job.recipe.image_nbytes + _CRC_BYTES)
        total += layout.shards * (16 * per_shard + _CRC_BYTES)
        arrays = (*derived_arrays(job.recipe, layout.n), *checksum_arrays(layout))
        for array in arrays:
            blocks = len(block_names(array))
            rows = min(array.shape[0], BLOCK_ROWS)
            total += blocks * (rows * array.row_nbytes + _CRC_BYTES)
        names = [name for array in arrays for name in block_names(array)]
        documents = {array.name: small_document(array) for array in arrays}
        documents["image"] = image_document(job.recipe, layout)
        names += [f"{name}/{_ROOT}" for name in documents]
        attributes = root_attributes(job.recipe, layout, job.gpgen_version)
        attributes["files"] = dict.fromkeys(names, "0" * 64)
        total += sum(len(render(document)) for document in documents.values())
        return total + len(render(root_document(seal(attributes), documents)))

    def begin(self, job: Job) -> None:
        """Make the folder of the shards."""
        files.make_folder(job.data / "image")
        files.sync_folder(job.data)

    def has_shard(self, job: Job, record: ShardRecord) -> bool:
        """Return whether a shard that the journal lists is still there."""
        path = self._shard_path(job.data, job.recipe, record.shard)
        return path.is_file() and path.stat().st_size == record.nbytes

    def write_shard(self, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
        """Draw a shard and write its file."""
        recipe, layout = job.recipe, job.layout
        final = self._shard_path(job.data, recipe, shard)
        start, stop = layout.bounds(shard)
        crcs = np.empty(stop - start, "<u4")
        with new_file(job.temporary, final) as stream:
            ends = _write_chunks(stream, job, start, stop, crcs, check)
            index = np.full((layout.shard_size // (layout.chunk_size or 1), 2), 2**64 - 1, "<u8")
            index[: len(ends), 0] = [0, *ends[:-1]]
            index[: len(ends), 1] = np.diff([0, *ends])
            raw = index.tobytes()
            stream.write([raw, crc32c(raw).to_bytes(4, "little")])
            sha256 = stream.finish()
        return ShardRecord(shard, sha256, stream.nbytes, crcs.tobytes())

    def commit(self, job: Job, journal: Journal) -> None:
        """Write the small arrays and the metadata, the root's last; then rename."""
        if not self.committed(job):
            self._complete(job, journal)
            final, aside = job.target.path, job.working / "old"
            if os.path.lexists(final):
                files.remove_tree(aside)
                files.rename(final, aside)
            files.rename(job.data, final)
            files.sync_folder(final.parent)

    def _complete(self, job: Job, journal: Journal) -> None:
        layout, folder = job.layout, job.data
        arrays = (*derived_arrays(job.recipe, layout.n), *journal.arrays())
        documents: dict[str, Any] = {"image": image_document(job.recipe, layout)}
        hashes: dict[str, str] = {}
        for array in arrays:
            documents[array.name] = small_document(array)
            files.make_folder(folder / array.name)
            for block, name in enumerate(block_names(array)):
                hashes[name] = _write_block(job, array, block, folder / name)
        for name, document in documents.items():
            data = render(document)
            files.replace_file(folder / name / _ROOT, data, job.temporary)
            hashes[f"{name}/{_ROOT}"] = hashlib.sha256(data).hexdigest()
            files.sync_folder(folder / name)
        attributes = root_attributes(job.recipe, layout, job.gpgen_version)
        attributes["files"] = hashes
        root = render(root_document(seal(attributes), documents))
        files.replace_file(folder / _ROOT, root, job.temporary)
        files.sync_folder(folder)

    def committed(self, job: Job) -> bool:
        """Return whether a commit was cut off after the rename."""
        return not job.data.exists() and (job.target.path / _ROOT).is_file()

    def occupied(self, job: Job) -> Path | None:
        """Return what stands where the dataset shall go, if anything does."""
        return job.target.path if os.path.lexists(job.target.path) else None

    def reader(self, path: Path) -> Reader:
        """Open a finished dataset: a folder, or a zip of one."""
        if path.is_dir():
            return ZarrReader(path)
        from gpgen.store.zarr_zip import ZippedZarrReader

        return ZippedZarrReader(path)

    def check_first(self, path: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Find nothing: reading JSON needs no trust."""
        return iter(())


def _write_chunks(
    stream: Stream,
    job: Job,
    start: int,
    stop: int,
    crcs: NDArray[np.uint32],
    check: Callable[[], None],
) -> list[int]:
    """Write the images from ``start`` to ``stop`` as chunks; return where each chunk ends."""
    chunk = job.layout.chunk_size or 1
    ends: list[int] = []
    running = 0
    for first, images in batches(job, start, stop, check):
        parts: list[Any] = []
        begun, size = 0, 0
        for k, image in enumerate(images):
            position = first + k - start
            crcs[position] = crc32c(image)
            running = crc32c(image, running) if chunk > 1 else int(crcs[position])
            if (position + 1) % chunk == 0:
                tail = running.to_bytes(4, "little")
                parts += [images[begun : k + 1], tail]
                size = sum(memoryview(part).nbytes for part in parts)
                ends.append(stream.offset + size)
                begun, running = k + 1, 0
        if begun < len(images):
            parts.append(images[begun:])
        stream.write(parts)
    missing = -(stop - start) % chunk
    if missing:
        # Zarr's chunks are whole: beyond the array's end they hold the fill value.
        blank = bytes(job.recipe.image_nbytes)
        for _ in range(missing):
            running = crc32c(blank, running)
            stream.write([blank])
        stream.write([running.to_bytes(4, "little")])
        ends.append(stream.offset)
    return ends


def _write_block(job: Job, array: SmallArray, block: int, path: Path) -> str:
    rows = min(array.shape[0], BLOCK_ROWS)
    start = block * rows
    stop = min(start + rows, array.shape[0])
    data = array.block(start, stop)
    data += bytes((rows - (stop - start)) * array.row_nbytes)
    data += crc32c(data).to_bytes(4, "little")
    files.replace_file(path, data, job.temporary)
    return hashlib.sha256(data).hexdigest()


class ZarrReader:
    """A finished Zarr group."""

    def __init__(self, path: Path) -> None:
        self.path = path
        where = str(path / _ROOT)
        try:
            self._root: dict[str, Any] = json.loads(self.document(_ROOT))
            attributes = self._root["attributes"]
            attributes.get("format")
        except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{where} can't be read: {error}", VERIFY) from error
        self.manifest: Manifest
        self.recipe: Recipe
        self.manifest, self.recipe = read_manifest(attributes, where)
        if self.manifest.chunk_size is None:
            raise DatasetError(f"{where}: the manifest lacks chunk_size", VERIFY)
        layout = self.manifest.layout
        if -(-layout.n // BLOCK_ROWS) > len(self.manifest.files):
            # Else a forged number would make a list of files that fills the memory.
            raise DatasetError(f"{where}: the manifest does not list all its files", VERIFY)
        arrays = (*derived_arrays(self.recipe, layout.n), *checksum_arrays(layout))
        self._arrays = {array.name: array for array in arrays}

    # What a zip does otherwise

    def document(self, name: str) -> bytes:
        """Return what is in a file of metadata."""
        return files.read_whole(self.path / name)

    def span(self, name: str) -> tuple[Path, int]:
        """Return the file in which a file of the dataset lies, and where it begins."""
        return self.path / name, 0

    def named(self, name: str) -> Path:
        """Return the file to be named when a file of the dataset is wrong."""
        return self.path / name

    def names(self) -> Iterator[str]:
        """Return the names of all files that are there."""
        for folder, _, names in os.walk(self.path):
            for name in sorted(names):
                yield str((Path(folder) / name).relative_to(self.path))

    def check(self, name: str, sha256: str) -> Iterator[Problem]:
        """Check a file's SHA-256."""
        return check_file(self.path, name, sha256)

    # What both share

    def shard_name(self, shard: int) -> str:
        """Return a shard's file, within the dataset."""
        return f"image/c.{shard}{'.0' * len(self.recipe.shape)}"

    def shard_nbytes(self, shard: int) -> int:
        """Return the length of a shard's file."""
        layout, chunk = self.manifest.layout, self.manifest.chunk_size or 1
        start, stop = layout.bounds(shard)
        chunks = -(-(stop - start) // chunk)
        nbytes = chunks * (chunk * self.recipe.image_nbytes + _CRC_BYTES)
        return nbytes + layout.shard_size // chunk * 16 + _CRC_BYTES

    def place(self, shard: int) -> Place:
        """Return where a shard's images lie."""
        path, offset = self.span(self.shard_name(shard))
        return Place(path, offset, self.recipe.image_nbytes, self.manifest.chunk_size, _CRC_BYTES)

    def region(self, shard: int) -> Region:
        """Return the shard's file."""
        path, offset = self.span(self.shard_name(shard))
        return Region(path, offset, self.shard_nbytes(shard), whole_file=path != self.path)

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows of a small array as they stand on the disk."""
        array, parts = self._arrays[name], []
        rows = min(array.shape[0], BLOCK_ROWS)
        for block, file in enumerate(block_names(array)):
            low, high = max(start, block * rows), min(stop, (block + 1) * rows)
            if low < high:
                path, begin = self.span(file)
                offset = begin + (low - block * rows) * array.row_nbytes
                parts.append(read_rows(path, array, offset, high - low))
        return np.concatenate(parts) if parts else np.empty((0, *array.shape[1:]), array.dtype)

    def array_file(self, name: str) -> Path:
        """Return the file to be named when a small array is wrong."""
        return self.named(name)

    def problems(self) -> Iterator[Problem]:
        """Check the metadata, the small arrays and the list of files."""
        listed = self.manifest.files
        for name in ("image", *self._arrays):
            expected = [f"{name}/{_ROOT}"]
            if name in self._arrays:
                expected += block_names(self._arrays[name])
            for file in expected:
                if file not in listed:
                    yield self._problem(_ROOT, f"does not list {file}")
                else:
                    yield from self.check(file, listed[file])
        yield from self._root_problems()
        known = {_ROOT, *listed}
        layout = self.manifest.layout
        for file in self.names():
            if file not in known and not self._is_shard(file, layout.shards):
                yield self._problem(file, "does not belong to the dataset")

    def _problem(self, name: str, what: str) -> Problem:
        if self.named(name) == self.path:
            return Problem(self.path.name, f"{name} {what}")
        return Problem(name, what)

    def _is_shard(self, file: str, shards: int) -> bool:
        parts = file.removeprefix("image/c.").split(".")
        if not file.startswith("image/c.") or not parts[0].isdecimal():
            return False
        shard = int(parts[0])
        return shard < shards and self.shard_name(shard) == file

    def _root_problems(self) -> Iterator[Problem]:
        try:
            documents = {
                name: json.loads(self.document(f"{name}/{_ROOT}"))
                for name in ("image", *self._arrays)
            }
            expected = render(root_document(self._root["attributes"], documents))
            found = self.document(_ROOT)
        except (OSError, ValueError, RecursionError):
            return  # named already, as a file that is missing or damaged
        if found != expected:
            yield self._problem(_ROOT, "damaged: it does not agree with its arrays' metadata")
