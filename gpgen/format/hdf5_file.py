"""The anatomy of an HDF5 file: which bytes stand where, before any data is there.

h5py lays the file out in memory, with every dataset contiguous and allocated
but nothing in it. What comes out is the metadata's bytes and each dataset's
offset; data is then written at those offsets without HDF5, by any number of
workers. Without timestamps, and with the library's format pinned, equal
contents make equal bytes.

In front stands a user block, which HDF5 skips: one line of text with the
SHA-256 of every byte that is neither user block nor image, so that a flipped
bit is noticed in places where HDF5 itself keeps no checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gpgen.errors import DatasetError
from gpgen.format.base import Problem
from gpgen.format.hdf5_input import Hdf5Input
from gpgen.format.layout import Layout
from gpgen.format.manifest import (
    FORMAT_VERSION,
    VERIFY,
    Manifest,
    SmallArray,
    checksum_arrays,
    derived_arrays,
    newer,
    read_manifest,
)
from gpgen.format.pixels import file_sha256, read_rows, unread
from gpgen.io import files
from gpgen.io.failures import reading, unreadable
from gpgen.io.local_path import LocalPath
from gpgen.labelled_images import LabelledImages

__all__ = [
    "USER_BLOCK",
    "Hdf5Dataset",
    "Skeleton",
    "check_user_block",
    "lay_out",
    "manifest_arrays",
    "write_small_arrays",
    "write_user_block",
]

USER_BLOCK = 4096
# A page: so that no two workers write to one page, and a memory map is aligned.
_ALIGNMENT = 4096
_BLOCK_ROWS = 2**20
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable."
_LINE = re.compile(rb"gpgen (\d+) n=(\d+) image=(\d+)\+(\d+) sha256=([0-9a-f]{64})\n")


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """An HDF5 file without its data.

    Parameters
    ----------
    metadata
        (offset, bytes) of each piece of metadata, in order, none overlapping.
    offsets
        Byte at which each dataset begins.
    nbytes
        Length of the file.
    """

    metadata: tuple[tuple[int, bytes], ...]
    offsets: dict[str, int]
    nbytes: int


class _SparseFile(io.RawIOBase):
    """A file in memory that keeps what is written to it and nothing of the holes."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.size = 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        raw = bytes(data)
        self.pieces.append((self._position, raw))
        self._position += len(raw)
        self.size = max(self.size, self._position)
        return len(raw)

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        buffer[:] = self._content(self._position, len(buffer))
        self._position += len(buffer)
        return len(buffer)

    def _content(self, start: int, length: int) -> bytes:
        out = bytearray(length)
        for offset, raw in self.pieces:
            low, high = max(offset, start), min(offset + len(raw), start + length)
            if low < high:
                out[low - start : high - start] = raw[low - offset : high - offset]
        return bytes(out)

    def extents(self) -> tuple[tuple[int, bytes], ...]:
        """Return what was written, later over earlier, as pieces that don't touch."""
        spans: list[list[int]] = []
        for offset, raw in sorted(self.pieces):
            if spans and offset <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], offset + len(raw))
            else:
                spans.append([offset, offset + len(raw)])
        return tuple((low, self._content(low, high - low)) for low, high in spans)


def _create_dataset(group: h5py.Group, array: SmallArray) -> int:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(array.dtype)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, array.name.encode(), kind, space, properties))
    for axis, name in enumerate(array.dimensions):
        dataset.dims[axis].label = name
    for key, value in array.attributes.items():
        dataset.attrs[key] = value
    return int(dataset.id.get_offset())


def _name_dimensions(file: h5py.Group, arrays: Sequence[SmallArray]) -> None:
    """Give the axes names that netCDF's readers see: a dimension scale, without values, for each.

    As netCDF-4 stores dimensions that are no variables.
    """
    lengths = {
        name: length
        for array in arrays
        for name, length in zip(array.dimensions, array.shape, strict=True)
    }
    for name, length in lengths.items():
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_obj_track_times(False)
        space = h5py.h5s.create_simple((length,))
        scale = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32BE, space, properties)
        h5py.h5ds.set_scale(scale, f"{_NO_VARIABLE}{length:10d}".encode())
    for array in arrays:
        for axis, name in enumerate(array.dimensions):
            h5py.h5ds.attach_scale(file[array.name].id, file[name].id, axis)


def lay_out(
    attributes: dict[str, Any],
    arrays: Sequence[SmallArray],
    *,
    user_block: int = USER_BLOCK,
    own_pages: bool = False,
) -> Skeleton:
    """Return the skeleton of a file with these root attributes and datasets, in order.

    With `own_pages` a small dataset, too, begins on a page, behind those before it.
    """
    memory, offsets = _SparseFile(), {}
    with h5py.File(
        memory,
        "w",
        libver=("v110", "v110"),
        userblock_size=user_block,
        alignment_threshold=1 if own_pages else _ALIGNMENT,
        alignment_interval=_ALIGNMENT,
        track_order=False,
    ) as file:
        for key, value in sorted(attributes.items()):
            if isinstance(value, dict):
                file.attrs[key] = json.dumps(value, ensure_ascii=False)
            elif isinstance(value, list):
                file.attrs.create(key, value, dtype=h5py.string_dtype())
            else:
                file.attrs[key] = value
        for array in arrays:
            offsets[array.name] = _create_dataset(file, array)
        _name_dimensions(file, arrays)
    return Skeleton(memory.extents(), offsets, memory.size)


def manifest_arrays(recipe: LabelledImages, layout: Layout) -> tuple[SmallArray, ...]:
    """Return all small arrays of a dataset; the rows of the checksums are the caller's."""
    return (*derived_arrays(recipe, layout.n), *checksum_arrays(layout))


def write_small_arrays(descriptor: int, skeleton: Skeleton, arrays: Sequence[SmallArray]) -> None:
    """Write the arrays' rows at their offsets, a block at a time."""
    for array in arrays:
        for start in range(0, array.shape[0], _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, array.shape[0])
            offset = skeleton.offsets[array.name] + start * array.row_nbytes
            files.write_at(descriptor, array.block(start, stop), offset)


def _outside_sha256(path: LocalPath, image: tuple[int, int], nbytes: int) -> str:
    """Hash every byte that is neither in the user block nor in the image's (offset, bytes)."""
    offset, length = image
    first, _ = file_sha256(path, USER_BLOCK, max(offset - USER_BLOCK, 0))
    start = max(offset + length, USER_BLOCK)
    second, _ = file_sha256(path, start, max(nbytes - start, 0))
    return hashlib.sha256(f"{nbytes} {first} {second}".encode()).hexdigest()


def _user_block(n: int, image: tuple[int, int], sha256: str) -> bytes:
    line = f"gpgen {FORMAT_VERSION} n={n} image={image[0]}+{image[1]} sha256={sha256}\n"
    return line.encode().ljust(USER_BLOCK, b"\0")


def write_user_block(descriptor: int, path: LocalPath, n: int, image: tuple[int, int]) -> None:
    """Write the first block of a file that is otherwise complete."""
    digest = _outside_sha256(path, image, os.fstat(descriptor).st_size)
    files.write_at(descriptor, _user_block(n, image, digest), 0)


def check_user_block(path: LocalPath) -> Iterator[Problem]:
    """Check every byte outside the image by the user block, without trusting HDF5 to read it."""
    try:
        with files.open_stream(path) as file:
            block = file.read(USER_BLOCK)
            nbytes = os.fstat(file.fileno()).st_size
    except OSError as error:
        yield unread(path.name, error)
        return
    match = _LINE.match(block)
    if match is None:
        yield Problem(path.name, "damaged: the first block is not gpgen's")
        return
    version, n, offset, length = (int(match.group(k)) for k in range(1, 5))
    image = (offset, length)
    if version > FORMAT_VERSION:
        yield Problem(path.name, newer(version), "unclear")
        return
    if offset + length > nbytes:
        yield Problem(path.name, "damaged: it ends before its images do")
        return
    if block != _user_block(n, image, _outside_sha256(path, image, nbytes)):
        yield Problem(path.name, "damaged: the bytes outside the images are not the first block's")


class Hdf5Dataset:
    """The metadata of an HDF5 dataset or manifest file, read once; holds no open file."""

    def __init__(self, path: LocalPath) -> None:
        self.path = self.root = path
        self.mark = path.mark()
        attributes, self._datasets = read_hdf5(path)
        self.manifest: Manifest
        self.recipe: LabelledImages
        self.manifest, self.recipe = read_manifest(attributes, str(path))
        arrays = manifest_arrays(self.recipe, self.manifest.layout)
        self._arrays = {array.name: array for array in arrays}
        for array in arrays:
            self.offset(array)

    def offset(self, array: SmallArray) -> int:
        """Return where a dataset begins, if it is what the manifest makes us expect."""
        return dataset_offset(self.path, self._datasets, array)

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows of a small array as they stand on the disk."""
        array = self._arrays[name]
        offset = self.offset(array) + start * array.row_nbytes
        return read_rows(self.path, array, offset, max(stop - start, 0))

    def array_file(self, name: str, row: int) -> LocalPath:  # noqa: ARG002 - the same file for all
        """Return the file to be named when a small array is wrong."""
        return self.path


Found = dict[str, tuple[tuple[int, ...], np.dtype[Any], int | None]]


def read_hdf5(path: LocalPath) -> tuple[dict[str, Any], Found]:
    """Return the root attributes of a file, and each dataset's shape, type and offset.

    Raises
    ------
    DatasetError
        If it is missing, or HDF5 can't make sense of it.
    StorageError
        If the system can't read it.
    """
    attributes: dict[str, Any] = {}
    found: Found = {}
    source: Hdf5Input | None = None
    try:
        with Hdf5Input(path) as source, h5py.File(source, "r") as file:
            for key, value in file.attrs.items():
                attributes[key] = _plain(key, value)
            for name in file:
                # Only what stands in this file: a link could lead to any other.
                if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                    continue
                dataset = file[name]
                if isinstance(dataset, h5py.Dataset):
                    found[name] = dataset.shape, dataset.dtype, dataset.id.get_offset()
    except Exception as error:  # whatever h5py raises for what HDF5 makes of damage
        # Its frames hold a property list that refers to `source`. If the error outlives the
        # interpreter, HDF5 closes that list at exit and calls Python, which is gone: a crash.
        traceback.clear_frames(error.__traceback__)
        if isinstance(error, MemoryError):
            raise
        failure = error if source is None else source.failure
        if isinstance(failure, OSError) and failure.errno is not None:
            raise unreadable(path, failure) from error
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(f"{path} can't be read as HDF5: {reason}", VERIFY) from error
    return attributes, found


def _plain(key: str, value: Any) -> Any:  # noqa: ANN401 - what h5py gives
    if key == "recipe":
        return json.loads(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def dataset_offset(path: LocalPath, found: Found, array: SmallArray) -> int:
    """Return where a dataset begins, if it has the shape and type expected."""
    shape, dtype, offset = found.get(array.name, ((), np.dtype("u1"), None))
    if shape != array.shape or dtype != array.dtype or offset is None:
        raise DatasetError(f"{path}: {array.name} is missing or not as in the manifest", VERIFY)
    with reading(path):
        nbytes = path.stat().st_size
    if offset + array.nbytes > nbytes:
        raise DatasetError(f"{path} ends early", VERIFY)
    return offset
