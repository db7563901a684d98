"""The keys of a Zarr dataset that nobody has stored, and the bytes of each.

What they are, `gpgen.format` says: the functions that write a dataset's files write these. Nothing
is drawn to tell whether there is a key, and how long it is.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from gpgen._version import __version__
from gpgen.errors import ClusterError, DatasetError
from gpgen.exact.offered_roots import roots_sha256
from gpgen.format.image_writing import batch_size, never_stop
from gpgen.format.job import Job
from gpgen.format.layout import Layout, Target
from gpgen.format.manifest import (
    SmallArray,
    checksum_arrays,
    derived_arrays,
    virtual_attributes,
)
from gpgen.format.zarr_content import (
    CRC_BYTES,
    ROOT,
    array_documents,
    chunk_nbytes,
    root_file,
    shard_index,
    shard_name,
    shard_nbytes,
    shard_number,
    small_block,
    write_chunks,
)
from gpgen.format.zarr_metadata import (
    block_name,
    block_number,
    render,
    root_document,
    rows_a_block,
)
from gpgen.io.local_path import LocalPath
from gpgen.recipe import Recipe
from gpgen.sampling import DrawnImages
from gpgen.virtual_store.drawing import DRAWING, Piece

__all__ = ["Checksums", "VirtualKeys"]

_LONGEST_KEY: Final = 100


@dataclass(frozen=True, eq=False)
class Checksums:
    """What a dataset's manifest says of its pixels, which no recipe foretells.

    Parameters
    ----------
    crc32c
        Of each image's bytes, uint32, shape (n,).
    shard_sha256
        Of each shard's file, uint8, shape (shards, 32).
    files
        The SHA-256 of each file beside the shards, as the manifest lists them.
    """

    crc32c: npt.NDArray[np.uint32]
    shard_sha256: npt.NDArray[np.uint8]
    files: dict[str, str]

    def arrays(self, layout: Layout) -> tuple[SmallArray, ...]:
        """Return them as the dataset's arrays."""
        values: tuple[npt.NDArray[Any], ...] = (self.crc32c, self.shard_sha256)
        return tuple(
            SmallArray(a.name, a.shape, a.dtype, a.dimensions, functools.partial(_rows, array))
            for a, array in zip(checksum_arrays(layout), values, strict=True)
        )


def _rows(array: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
    return array[start:stop]


class VirtualKeys:
    """A dataset's keys. Pickles, and survives a fork.

    Parameters
    ----------
    recipe
        What is drawn.
    layout
        How it is cut.
    checksums
        What makes it the same as a stored dataset; without them it is virtual and unsealed.
    gpgen_version
        The version that made the stored dataset.

    Attributes
    ----------
    draw_elsewhere : callable or None
        What draws a chunk, given its first sample, in the place of this thread.
    """

    def __init__(
        self,
        recipe: Recipe,
        layout: Layout,
        checksums: Checksums | None = None,
        gpgen_version: str = __version__,
    ) -> None:
        self.recipe, self.layout, self.checksums = recipe, layout, checksums
        target = Target(LocalPath("/virtual.zarr"), "zarr")
        images = DrawnImages(recipe)
        self._job = Job(
            target,
            recipe,
            layout,
            gpgen_version=gpgen_version,
            images=images,
            roots=roots_sha256(recipe.texture),
        )
        arrays = derived_arrays(recipe, layout.n)
        if checksums is not None:
            arrays += checksums.arrays(layout)
        self._arrays = {array.name: array for array in arrays}
        documents = array_documents(recipe, layout, arrays)
        self._files = {f"{name}/{ROOT}": render(document) for name, document in documents.items()}
        self.draw_elsewhere: Callable[[int], memoryview] | None = None
        if checksums is None:
            attributes = virtual_attributes(recipe, layout, self._job.roots)
            self._files[ROOT] = render(root_document(attributes, documents))
        else:
            self._files[ROOT] = root_file(self._job, documents, self._in_order(checksums.files))
        # The root names the recipe, the layout, and the hashes of all that is known of the pixels.
        self.identity = hashlib.sha256(self._files[ROOT]).hexdigest()

    def _in_order(self, files: dict[str, str]) -> dict[str, str]:
        """Return the hashes of the files beside the shards in the order of the writer."""
        names = [
            block_name(array, block)
            for array in self._arrays.values()
            for block in range(_blocks(array))
        ]
        return {name: files[name] for name in (*names, *self._files)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VirtualKeys) and other.identity == self.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __reduce__(self) -> tuple[Callable[..., VirtualKeys], tuple[Any, ...]]:
        version = self._job.gpgen_version
        return _sent, (self.identity, self.recipe, self.layout, self.checksums, version)

    @property
    def manifest_sha256(self) -> str | None:
        """The hash that seals the manifest, ``None`` if none does."""
        found: str | None = json.loads(self._files[ROOT])["attributes"].get("manifest_sha256")
        return found

    def damaged(self) -> bool:
        """Return whether the checksums are not those that the manifest seals."""
        checksums = self.checksums
        return checksums is not None and any(
            hashlib.sha256(small_block(array, block)).hexdigest()
            != checksums.files[block_name(array, block)]
            for array in checksums.arrays(self.layout)
            for block in range(_blocks(array))
        )

    def nbytes(self, key: str) -> int | None:
        """Return the bytes of a key, ``None`` if there is none; nothing is drawn."""
        if len(key) > _LONGEST_KEY:
            return None
        if key in self._files:
            return len(self._files[key])
        shard = self._shard(key)
        if shard is not None:
            return shard_nbytes(self.recipe, self.layout, shard)
        found = self._block(key)
        return None if found is None else rows_a_block(found[0]) * found[0].row_nbytes + CRC_BYTES

    def _shard(self, key: str) -> int | None:
        shard = shard_number(self.recipe, key)
        return shard if shard is not None and shard < self.layout.shards else None

    def _block(self, key: str) -> tuple[SmallArray, int] | None:
        array = self._arrays.get(key.partition("/")[0])
        number = None if array is None else block_number(array, key)
        return None if array is None or number is None else (array, number)

    def pieces(self, key: str, start: int, stop: int) -> Iterator[memoryview | Piece]:
        """Yield what has, or draws, the bytes of a key from ``start`` to ``stop``, in order.

        Parameters
        ----------
        key
            One that there is.
        start, stop
            From 0 to `nbytes`.
        """
        shard = self._shard(key)
        if shard is not None:
            yield from self._shard_pieces(shard, start, stop)
        elif key in self._files:
            yield memoryview(self._files[key])[start:stop]
        else:
            found = self._block(key)
            assert found is not None  # noqa: S101 - the caller has asked
            yield functools.partial(self._small, *found, start, stop)

    def _shard_pieces(self, shard: int, start: int, stop: int) -> Iterator[memoryview | Piece]:
        size, chunk = self.chunk_nbytes, self.layout.chunk_size or 1
        first, last = self.layout.bounds(shard)
        count = -(-(last - first) // chunk)
        for k in range(min(start // size, count), min(-(-stop // size), count)):
            low, high = max(start - k * size, 0), min(stop - k * size, size)
            yield functools.partial(self._chunk, first + k * chunk, low, high)
        begin = count * size
        if stop > begin:
            index = shard_index(self.layout, range(size, begin + 1, size))
            yield memoryview(index)[max(start - begin, 0) : stop - begin]

    def _chunk(self, first: int, start: int, stop: int) -> memoryview:
        """Return a part of the chunk that begins with a sample."""
        draw = self.draw_elsewhere or self._drawn_chunk
        return DRAWING.kept((self.identity, "image", first), lambda: draw(first))[start:stop]

    @property
    def chunk_nbytes(self) -> int:
        """The length of a chunk of images."""
        return chunk_nbytes(self.recipe, self.layout)

    def _drawn_chunk(self, first: int) -> memoryview:
        chunk = np.empty(self.chunk_nbytes, "u1")
        self.draw_chunk(first, chunk)
        return memoryview(cast("Any", chunk)).toreadonly()

    def draw_chunk(self, first: int, out: npt.NDArray[np.uint8]) -> None:
        """Draw a chunk in this thread.

        Parameters
        ----------
        first
            Its first sample.
        out
            Where to: of `chunk_nbytes`.

        Raises
        ------
        DatasetError
            If it isn't the deposit's, or can't be drawn.
        """
        last = min(first + (self.layout.chunk_size or 1), self.layout.n)
        sink, crcs = _Chunk(out), np.empty(last - first, "<u4")
        room = None
        if last - first <= batch_size(self.recipe):  # drawn where they shall stand
            drawn = out[: (last - first) * self.recipe.image_nbytes]
            room = drawn.view(self.recipe.numpy_dtype).reshape(-1, *self.recipe.shape)
        write_chunks(sink, self._job, first, last, crcs, never_stop, room)
        if self.checksums is not None:
            wrong = np.flatnonzero(crcs != self.checksums.crc32c[first:last])
            if len(wrong):
                raise DatasetError(
                    f"sample {first + int(wrong[0])} as it is drawn here is not the deposit's",
                    f"use gpgen {self._job.gpgen_version}, and report this as a bug",
                )

    def _small(self, array: SmallArray, block: int, start: int, stop: int) -> memoryview:
        name = (self.identity, array.name, block)
        return DRAWING.kept(name, lambda: memoryview(small_block(array, block)))[start:stop]

    def folder(self, name: str) -> Iterator[str]:
        """Yield the names in a folder, the root's ``""``; of images there may be billions."""
        if name == "":
            yield from (ROOT, "image", *self._arrays)
        elif name == "image":
            yield ROOT
            yield from (
                shard_name(self.recipe, k).partition("/")[2] for k in range(self.layout.shards)
            )
        elif name in self._arrays:
            array = self._arrays[name]
            yield ROOT
            yield from (block_name(array, k).partition("/")[2] for k in range(_blocks(array)))

    def keys(self) -> Iterator[str]:
        """Yield all keys."""
        yield ROOT
        for name in (*self._arrays, "image"):
            yield from (f"{name}/{file}" for file in self.folder(name))


def _sent(identity: str, recipe: Recipe, *others: Any) -> VirtualKeys:  # noqa: ANN401 - as above
    """Return the keys that another process has sent.

    Raises
    ------
    ClusterError
        If what is drawn here is another dataset.
    """
    keys = VirtualKeys(recipe, *others)
    if keys.identity != identity:
        raise ClusterError(
            f"{recipe.name!r} would be another dataset in this process than in the one that sent "
            "it: gpgen, or the package of a kernel, has another version here",
            "install the same versions everywhere, and start again what ran meanwhile",
        )
    return keys


def _blocks(array: SmallArray) -> int:
    return -(-array.shape[0] // rows_a_block(array))


class _Chunk:
    """A chunk in memory, written like the part of a shard's file that it is."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self.data = data
        self.offset = 0

    def write(self, buffers: Sequence[Any]) -> None:
        """Take the bytes of arrays, unless they stand in their place already."""
        for buffer in buffers:
            part = np.frombuffer(buffer, "u1")
            place = self.data[self.offset : self.offset + len(part)]
            if part.__array_interface__["data"][0] != place.__array_interface__["data"][0]:
                place[:] = part
            self.offset += len(part)
