"""A stored shard's bytes compared with what they must be, as they come.

An image of a shard that is taken over is trusted like one that is read: its CRC-32C is the
manifest's. What a format puts between and behind the images follows from these, and is compared
byte by byte. A CRC-32C takes a tenth of the time of a SHA-256, which is left to `verify`. Where a
file holds more than that, its SHA-256 is taken.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from gpgen.errors import DatasetError
from gpgen.format.base import Place, Reader, Region
from gpgen.format.image_writing import Check, crc32c
from gpgen.format.job import ShardRecord
from gpgen.io.failures import VERIFY

__all__ = ["Parts", "compare", "damaged"]

Parts = Generator[memoryview, None, None]


def damaged(region: Region, shard: int) -> DatasetError:
    """Return the error that says of a shard that its bytes are others than were written."""
    return DatasetError(f"{region.path}: shard {shard} is damaged", VERIFY)


def compare(
    parts: Parts, source: Reader, record: ShardRecord, tail: bytes | None, check: Check
) -> None:
    """Compare a whole shard's bytes with what a finished dataset says of them.

    Parameters
    ----------
    parts
        The bytes of its region. Others that follow are damage, too.
    source
        The dataset, whose checksums were checked.
    record
        What they are, see `gpgen.format.copying.stored_record`.
    tail
        What stands behind the images, if nothing else does but, between them, checksums of
        chunks. ``None`` if the file holds more: then its SHA-256 is compared.
    check
        Called now and then; what it raises ends the comparison.

    Raises
    ------
    DatasetError
        If they are others.
    """
    with contextlib.closing(parts):
        each = _each(parts, check)
        if tail is None:
            whole = _sha256(each) == record.sha256
        else:
            crcs = np.frombuffer(record.crc32c, "<u4")
            whole = _follows(_Bytes(each), source.place(record.shard), crcs, tail)
    if not whole:
        raise damaged(source.region(record.shard), record.shard)


def _each(parts: Parts, check: Check) -> Iterator[memoryview]:
    for part in parts:
        check()
        yield part


def _sha256(parts: Iterator[memoryview]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


class _Bytes:
    """Bytes that come in parts, taken in pieces."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self._part: NDArray[np.uint8] = np.empty(0, np.uint8)

    def pieces(self, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the next bytes, fewer only at the end; each piece is overwritten by the next."""
        while nbytes:
            while not len(self._part):
                part = next(self._parts, None)
                if part is None:
                    return
                self._part = np.frombuffer(part, np.uint8)
            piece, self._part = self._part[:nbytes], self._part[nbytes:]
            nbytes -= len(piece)
            yield piece

    def are(self, expected: bytes) -> bool:
        """Return whether these bytes come next."""
        return b"".join(piece.tobytes() for piece in self.pieces(len(expected))) == expected

    def end(self) -> bool:
        """Return whether there are no more."""
        return next(self.pieces(1), None) is None


def _follows(stored: _Bytes, place: Place, crcs: NDArray[np.uint32], tail: bytes) -> bool:
    """Return whether a shard's bytes are those of images with these checksums, and the tail."""
    chunk = place.chunk_size
    several = chunk is not None and chunk > 1
    of_chunk = 0
    for position, crc in enumerate(crcs.tolist(), 1):
        of_image, left = 0, place.image_nbytes
        for piece in stored.pieces(left):
            left -= len(piece)
            of_image = crc32c(piece, of_image)
            of_chunk = crc32c(piece, of_chunk) if several else of_image
        if left or of_image != crc:
            return False
        if chunk is not None and position % chunk == 0:
            if not stored.are(of_chunk.to_bytes(place.gap, "little")):
                return False
            of_chunk = 0
    return stored.are(tail) and stored.end()
