"""Writing a file once, with its SHA-256 and MD5, in parts that a service takes."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from gpgen.store import files as disk

__all__ = ["Part", "PartWriter", "copy_range"]

BLOCK: Final = 2**22
_AHEAD: Final = 2**26
"""Bytes after which the disk is asked to begin."""


@dataclass(frozen=True)
class Part:
    """A file that was written: its name, bytes and hashes."""

    name: str
    nbytes: int
    sha256: str
    md5: str


class PartWriter:
    """Writes what it is given to one file, or to several no longer than a limit.

    Both hashes are computed on threads of their own while the disk writes.

    Parameters
    ----------
    folder, name
        The file; its parts are called ``name.000``, ``name.001`` and so on.
    nbytes
        How long all will be.
    limit
        Bytes a part.
    """

    def __init__(self, folder: Path, name: str, nbytes: int, limit: int) -> None:
        self._folder, self._name, self._limit = folder, name, limit
        self._split = nbytes > limit
        self._pool = ThreadPoolExecutor(2)
        self._pending: list[Future[None]] = []
        self._descriptor = -1
        self.parts: list[Part] = []

    def __enter__(self) -> PartWriter:
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes; returns when nobody looks at them any more."""
        left = memoryview(data)
        while left:
            room = self._limit - self._written if self._split else len(left)
            if room == 0:
                self._end()
                self._begin()
                continue
            piece = left[: min(room, BLOCK)]
            pending = [
                self._pool.submit(self._sha256.update, piece),
                self._pool.submit(self._md5.update, piece),
            ]
            rest = piece
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            for future in pending:
                future.result()
            if self._written // _AHEAD != (self._written + len(piece)) // _AHEAD:
                # So that the disk has little left to do when all is to be safe on it.
                start = self._written // _AHEAD * _AHEAD
                disk.start_writeback(self._descriptor, start, _AHEAD)
            self._written += len(piece)
            left = left[len(piece) :]

    def finish(self) -> list[Part]:
        """Put the last part safely on the disk, and return all."""
        self._end()
        return self.parts

    def _begin(self) -> None:
        name = f"{self._name}.{len(self.parts):03d}" if self._split else self._name
        self._part = name
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._written = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._folder / name, flags, 0o666)

    def _end(self) -> None:
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        self.parts.append(
            Part(self._part, self._written, self._sha256.hexdigest(), self._md5.hexdigest())
        )


def copy_range(path: Path, writer: PartWriter, offset: int = 0, nbytes: int | None = None) -> int:
    """Copy a file, or a range of it, into a writer; return the bytes there were."""
    total, buffer = 0, memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        while nbytes is None or total < nbytes:
            want = BLOCK if nbytes is None else min(BLOCK, nbytes - total)
            count = stream.readinto(buffer[:want]) or 0
            if not count:
                break
            writer.write(buffer[:count])
            total += count
    return total
