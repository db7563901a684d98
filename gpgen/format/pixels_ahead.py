"""Reading images where each read waits for an answer: many are asked for at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpgen.format.base import Place, Reader
from gpgen.format.pixels import PixelReader
from gpgen.io.paths import OpenFile

__all__ = ["pixel_reader"]

_AT_ONCE = 16


def pixel_reader(reader: Reader) -> PixelReader:
    """Return what reads a dataset's images at random: from an object store, many at once."""
    if reader.path.is_remote:
        return _ConcurrentPixelReader(reader)
    return PixelReader(reader)


class _ConcurrentPixelReader(PixelReader):
    """A `PixelReader` of objects: no file stays open, and a batch's images come side by side.

    Parameters
    ----------
    reader
        The dataset.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def _read_all(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        if len(indices) < 2:
            super()._read_all(indices, out)
            return
        numbers = indices.tolist()
        threads = self._threads()
        waiting = [threads.submit(self._read, index, out[k]) for k, index in enumerate(numbers)]
        try:
            for k, index in enumerate(numbers):
                waiting[k].result()
                self._check(index, out[k])
        finally:
            for future in waiting:
                future.cancel()

    def _threads(self) -> ThreadPoolExecutor:
        """Return the threads that wait for answers; a forked child has none of its parent's."""
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(_AT_ONCE, "gpgen-reader")
            self._process = os.getpid()
        return self._pool

    def _file(self, shard: int) -> tuple[OpenFile, Place]:
        place = self._reader.place(shard)
        return place.path.opened(), place

    def _forget(self, shard: int) -> None:
        """No-op: no file stays open."""

    def close(self) -> None:
        """Shut the threads down; there are new ones when needed."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
