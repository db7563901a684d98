"""Writing a file once, with its SHA-256 and MD5, in parts that a service takes."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from gpgen.io import files as disk
from gpgen.io.page_buffer import page_buffer

__all__ = ["BLOCK", "MOST_PARTS", "Part", "PartWriter"]

BLOCK: Final = 2**22
_BUFFERS: Final = 8

MOST_PARTS: Final = 1000
"""Parts are numbered with three digits."""


class Readable(Protocol):
    """A file open for reading without a buffer of its own."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


@dataclass(frozen=True)
class Part:
    """A file that was written: its name, bytes and hashes."""

    name: str
    nbytes: int
    sha256: str
    md5: str


@dataclass
class _Buffer:
    """A block of memory, and the tasks that still read it."""

    data: memoryview
    users: list[Future[None]] = field(default_factory=list)

    def wait(self) -> None:
        for user in self.users:
            user.result()
        self.users = []


class PartWriter:
    """Writes what it is given to one file, or to several no longer than a limit.

    The bytes go round in a ring of buffers. Each of the two hashes and the disk has a thread
    of its own, which follows at its own pace, so that the slowest of them, MD5, sets the speed
    wherever there are cores for all. Whole buffers are written past the page cache.

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
        self._threads = [ThreadPoolExecutor(1) for _ in range(3)]
        # Of memory that begins with a page, as writing past the cache needs.
        memory = memoryview(page_buffer(_BUFFERS * BLOCK))
        self._ring = deque(_Buffer(memory[k * BLOCK : (k + 1) * BLOCK]) for k in range(_BUFFERS))
        self._filled = 0
        self._descriptor = -1
        self._direct: int | None = None
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
        for thread in self._threads:
            thread.shutdown(wait=True, cancel_futures=True)
        self._close()

    def write(self, data: bytes) -> None:
        """Write bytes."""
        left = memoryview(data)
        while left:
            room = self._room()
            count = min(len(room), len(left))
            room[:count] = left[:count]
            self._advance(count)
            left = left[count:]

    def copy(self, stream: Readable, nbytes: int) -> int:
        """Write what a stream gives, `nbytes` at most; return how many there were."""
        total = 0
        while total < nbytes:
            count = stream.readinto(self._room()[: nbytes - total])
            if not count:
                break
            self._advance(count)
            total += count
        return total

    def finish(self) -> list[Part]:
        """Write and sync the last part, and return all."""
        self._end()
        return self.parts

    def _room(self) -> memoryview:
        """Return free memory for the next bytes, beginning a new part if the last one is full."""
        left = BLOCK
        if self._split:
            left = self._limit - self._written - self._filled
            if left == 0:
                self._end()
                self._begin()
                left = self._limit
        return self._ring[0].data[self._filled :][:left]

    def _advance(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled == BLOCK:
            self._hand_over()

    def _hand_over(self) -> None:
        """Hand the buffer to the hashes and the disk, and wait until the next one is free."""
        buffer = self._ring.popleft()
        piece = buffer.data[: self._filled]
        put = partial(_put, self._descriptor, self._direct, self._written)
        steps: tuple[Callable[[memoryview], None], ...] = (
            self._sha256.update,
            self._md5.update,
            put,
        )
        buffer.users = [
            thread.submit(step, piece) for thread, step in zip(self._threads, steps, strict=True)
        ]
        self._ring.append(buffer)
        self._written += self._filled
        self._filled = 0
        self._ring[0].wait()

    def _begin(self) -> None:
        self._part = f"{self._name}.{len(self.parts):03d}" if self._split else self._name
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._written = 0
        path = self._folder / self._part
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o666)
        self._direct = disk.open_direct(path)

    def _end(self) -> None:
        if self._filled:
            self._hand_over()
        for buffer in self._ring:
            buffer.wait()
        os.fsync(self._descriptor)
        self._close()
        self.parts.append(
            Part(self._part, self._written, self._sha256.hexdigest(), self._md5.hexdigest())
        )

    def _close(self) -> None:
        for descriptor in (self._descriptor, self._direct):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._descriptor, self._direct = -1, None


def _put(descriptor: int, direct: int | None, offset: int, piece: memoryview) -> None:
    """Write a piece to its place, past the page cache where that can be done."""
    pages = offset % mmap.PAGESIZE == 0 and len(piece) % mmap.PAGESIZE == 0
    if direct is None or not pages or not disk.write_direct(direct, piece, offset):
        disk.write_at(descriptor, piece, offset)
