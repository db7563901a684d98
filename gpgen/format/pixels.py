"""Reading what is stored: every byte checked, nothing kept open across processes."""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gpgen.errors import DatasetError
from gpgen.exact.finite import not_finite_bytes
from gpgen.format.base import Kind, Place, Problem, Reader
from gpgen.format.image_writing import crc32c
from gpgen.format.manifest import SmallArray
from gpgen.format.replacing import check_unchanged, same_dataset
from gpgen.io.descriptors import keeps
from gpgen.io.failures import VERIFY, is_damage, reason, unreadable
from gpgen.io.paths import AnyPath, OpenFile

__all__ = [
    "PixelReader", "check_file", "file_sha256", "images_not_finite", "read_rows", "unread",
]  # fmt: skip

_READ_BYTES = 2**22
_OPEN_FILES = 64
_CRC_ROWS = 2**16


def read_rows(path: AnyPath, array: SmallArray, offset: int, count: int) -> NDArray[Any]:
    """Read ``count`` rows of a small array that begin at byte ``offset`` of a file.

    Raises
    ------
    DatasetError
        If the file is missing or too short.
    """
    out = np.empty((count, *array.shape[1:]), array.dtype)
    view = memoryview(cast("Any", out.reshape(-1).view("u1")))
    try:
        with contextlib.closing(path.opened()) as opened:
            got = opened.read_at(view, offset)
    except OSError as error:
        raise unreadable(path, error) from error
    if got != out.nbytes:
        raise DatasetError(f"{path} ends early", VERIFY)
    return out


def file_sha256(
    path: AnyPath,
    offset: int,
    nbytes: int,
    check: Callable[[int, memoryview], None] | None = None,
) -> tuple[str, int]:
    """Hash a range of a file; return the hex digest and the bytes there were.

    ``check`` is given each few MiB, and the byte of the file at which they begin.
    """
    digest, total = hashlib.sha256(), 0
    buffer = memoryview(bytearray(min(_READ_BYTES, max(nbytes, 1))))
    with contextlib.closing(path.opened()) as opened:
        while total < nbytes:
            part = buffer[: min(len(buffer), nbytes - total)]
            got = opened.read_at(part, offset + total)
            digest.update(part[:got])
            if check is not None:
                check(offset + total, part[:got])
            total += got
            if got < len(part):
                break
    return digest.hexdigest(), total


def unread(name: str, error: OSError) -> Problem:
    """Return what is wrong with a file that can't be read."""
    kind: Kind = "damage" if is_damage(error) else "unclear"
    return Problem(name, f"can't be read: {reason(error)}", kind)


def images_not_finite(
    place: Place, count: int, itemsize: int, begin: int, data: memoryview
) -> list[int]:
    """Return which of a shard's images hold infinity or NaN, as far as they lie in a part of it.

    Parameters
    ----------
    place
        Where the images lie.
    count
        How many there are.
    itemsize
        Bytes of a pixel.
    begin, data
        Bytes of the file, and where they begin.
    """
    run = place.chunk_size or count
    stride = run * place.image_nbytes + place.gap
    found: set[int] = set()
    first = max(0, (begin - place.offset) // stride)
    for image in range(first * run, count, run):
        start = place.of(image)
        stop = start + min(run, count - image) * place.image_nbytes
        low, high = max(start, begin), min(stop, begin + len(data))
        if start >= begin + len(data):
            break
        high -= (high - low) % 2  # a file that was cut off may end within two bytes
        if low < high:
            part = data[low - begin : high - begin]
            pixels = not_finite_bytes(part, low - start, itemsize)
            found.update((image + pixels * itemsize // place.image_nbytes).tolist())
    return sorted(found)


def check_file(folder: AnyPath, name: str, sha256: str) -> Iterator[Problem]:
    """Check a file's SHA-256."""
    path = folder / name
    try:
        digest, _ = file_sha256(path, 0, path.size())
    except FileNotFoundError:
        yield Problem(name, "missing")
    except OSError as error:
        yield unread(name, error)
    else:
        if digest != sha256:
            yield Problem(name, "damaged: its SHA-256 is not the manifest's")


class PixelReader:
    """Reads images at random, each checked against its CRC-32C in the manifest.

    The checksums stand in the manifest and not beside the pixels, so that a
    shard in the place of another is noticed too. Not for several threads at once.

    Parameters
    ----------
    reader
        The dataset.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._layout = reader.manifest.layout
        self._open: OrderedDict[int, tuple[OpenFile, Place]] = OrderedDict()
        self._crcs: OrderedDict[int, NDArray[np.uint32]] = OrderedDict()
        keeps(self)

    def read_into(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read the images of ``indices``, all within range, into ``out`` (k, *shape).

        Raises
        ------
        DatasetError
            If a file is missing or an image is damaged, or the dataset was replaced.
        StorageError
            If the system can't read a file.
        """
        with same_dataset(self._reader):
            self._read_all(indices, out)

    def _read_all(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        # In the order in which they lie on the disk.
        order = np.argsort(indices, kind="stable") if len(indices) > 1 else range(len(indices))
        for k in order:
            index, image = int(indices[k]), out[k]
            self._read(index, image)
            self._check(index, image)

    def _read(self, index: int, image: NDArray[Any]) -> None:
        """Read an image as it is stored."""
        shard, position = divmod(index, self._layout.shard_size)
        opened, place = self._file(shard)
        try:
            got = opened.read_at(cast("Any", image).data.cast("B"), place.of(position))
        except OSError as error:
            raise unreadable(place.path, error) from error
        if got != image.nbytes:
            self._forget(shard)
            raise DatasetError(f"{place.path} ends before sample {index}", VERIFY)

    def _check(self, index: int, image: NDArray[Any]) -> None:
        """Compare an image with its checksum."""
        if crc32c(image) != self._crc(index):
            shard = index // self._layout.shard_size
            _, place = self._file(shard)
            self._forget(shard)
            raise DatasetError(f"{place.path}: sample {index} is damaged", VERIFY)

    def _file(self, shard: int) -> tuple[OpenFile, Place]:
        found = self._open.get(shard)
        if found is None:
            place = self._reader.place(shard)
            try:
                found = place.path.opened(), place
            except OSError as error:
                raise unreadable(place.path, error) from error
        # Only now: who waits for a descriptor must not hold on to what `give_back` lets go.
        kept = self._open
        kept.pop(shard, None)
        if len(kept) >= _OPEN_FILES:
            kept.popitem(last=False)
        kept[shard] = found
        return found

    def _forget(self, shard: int) -> None:
        self._open.pop(shard, None)

    def give_back(self) -> None:
        """Let go of all files, from any thread; each is closed once no image is read from it."""
        self._open = OrderedDict()

    def _crc(self, index: int) -> int:
        block, position = divmod(index, _CRC_ROWS)
        values = self._crcs.get(block)
        if values is None:
            stop = min((block + 1) * _CRC_ROWS, self._layout.n)
            values = self._reader.rows("crc32c", block * _CRC_ROWS, stop)
            # Else the images of a dataset that has come in its place would pass for this one's.
            check_unchanged(self._reader)
            if len(self._crcs) >= _OPEN_FILES:
                self._crcs.popitem(last=False)
            self._crcs[block] = values
        return int(values[position])

    def close(self) -> None:
        """Close all files; they are opened again when needed."""
        self.give_back()
