"""A file object for HDF5 that checks what passes, for HDF5 itself trusts what it reads.

HDF5 2.0 never comes back from a global heap, where it keeps texts of variable length, that
holds an object of no size: one page of zeros in the wrong place, as a broken disk leaves it,
and opening the file hangs for ever. So each heap that passes by is checked first.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from gpgen.io import files

__all__ = ["Hdf5Input"]

# "GCOL", version 1, three zeros, then the heap's bytes as a number of eight; its objects are
# number (2), references (2), zeros (4), size (8), content in multiples of eight. Texts hold no
# zeros, so that none looks like a heap. (HDF5 File Format Specification, section III.E.)
_HEAP = b"GCOL\x01\0\0\0"
_HEADER = 16
_MOST_BYTES = 2**30


class Hdf5Input(io.RawIOBase):
    """A file for h5py to read metadata from.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    failure
        The system's error while reading, if there was one.

    Raises
    ------
    OSError
        If there is no regular file; while reading, if a heap would be read for ever, or more is
        read than any metadata takes.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        self._descriptor = descriptor = files.open_existing(path)
        self._nbytes = os.fstat(descriptor).st_size
        self._position = 0
        self._read = 0
        self._checked: set[int] = set()
        self.failure: OSError | None = None

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it has positions."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._nbytes}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        """Read at the position, having looked at the heaps that begin there."""
        # A heap's first bytes may have come with the last read.
        before = min(self._position, len(_HEAP) - 1)
        whole = bytearray(before + len(buffer))
        got = self._read_at(memoryview(whole), self._position - before)
        whole = whole[:got]
        self._read += got
        if self._read > _MOST_BYTES:
            raise OSError("there is more of it than any metadata takes")
        place = whole.find(_HEAP)
        while place >= 0:
            self._check_heap(self._position - before + place)
            place = whole.find(_HEAP, place + 1)
        count = max(got - before, 0)
        buffer[:count] = whole[before:]
        self._position += count
        return count

    def _check_heap(self, start: int) -> None:
        if start in self._checked:
            return
        self._checked.add(start)
        nbytes = int.from_bytes(self._bytes(start + 8, 8), "little")
        if not _HEADER <= nbytes <= min(files.MOST_METADATA, self._nbytes - start):
            return  # HDF5 refuses it: it doesn't fit the file
        heap = self._bytes(start, nbytes)
        place = _HEADER
        while place + _HEADER <= nbytes:
            number = int.from_bytes(heap[place : place + 2], "little")
            size = int.from_bytes(heap[place + 8 : place + 16], "little")
            # Object 0 is what is free, its header included.
            step = size if number == 0 else _HEADER + (size + 7) // 8 * 8
            if step < _HEADER or place + step > nbytes:
                raise OSError(f"the heap at byte {start} is damaged")
            place += step

    def _bytes(self, start: int, length: int) -> bytes:
        buffer = bytearray(length)
        return bytes(buffer[: self._read_at(memoryview(buffer), start)])

    def _read_at(self, buffer: memoryview, offset: int) -> int:
        if self._descriptor is None:
            raise ValueError("the file is closed")
        try:
            return files.read_at(self._descriptor, buffer, offset)
        except OSError as error:
            self.failure = error  # what h5py makes of it no longer says why
            raise

    def close(self) -> None:
        """Close the file, if it could be opened."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().close()
