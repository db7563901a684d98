"""Samples to a file, a batch at a time, hashed on the way.

Memory is one batch and the sampler's own. The kernel is told to start writing
to the disk as we go, so that the disk works while the CPU draws and the sync
at the end has little left to wait for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for
from gpgen.store import files

__all__ = [
    "BATCH_BYTES",
    "Check",
    "Stream",
    "batch_size",
    "batches",
    "crc32c",
    "new_file",
    "write_images",
]

# A batch stays in the CPU's cache between drawing, checksums and writing.
BATCH_BYTES = 2**20
_WRITEBACK_BYTES = 2**25

Check = Callable[[], None]


def crc32c(data: Any, start: int = 0) -> int:  # noqa: ANN401 - any buffer
    """Return the CRC-32C of a buffer, continuing from that of what precedes it."""
    return int(google_crc32c.extend(start, data))


def batch_size(recipe: Recipe) -> int:
    """Return how many samples are drawn at once."""
    return max(1, BATCH_BYTES // recipe.image_nbytes)


def batches(
    recipe: Recipe, start: int, stop: int, check: Check
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Draw the samples from ``start`` to ``stop``, a batch at a time.

    Parameters
    ----------
    recipe
        The recipe.
    start, stop
        Indices.
    check
        Called before each batch; what it raises ends the drawing.

    Yields
    ------
    int
        Index of the batch's first sample.
    ndarray
        The batch ``(samples, *shape)``, overwritten by the next.
    """
    sampler = sampler_for(recipe)
    size = min(batch_size(recipe), stop - start)
    buffer = np.empty((size, *recipe.shape), recipe.numpy_dtype)
    for first in range(start, stop, size):
        check()
        last = min(first + size, stop)
        yield first, sampler.images(first, last, out=buffer[: last - first])


class Stream:
    """A descriptor written from front to back, with the SHA-256 of what went through.

    Parameters
    ----------
    descriptor
        Open for writing, positioned at ``offset``.
    offset
        Where writing begins, in bytes.
    """

    def __init__(self, descriptor: int, offset: int = 0) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.nbytes = 0
        self._digest = hashlib.sha256()
        self._pushed = offset

    def write(self, buffers: Sequence[Any]) -> None:
        """Write and hash ``buffers``, arrays or bytes."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        for view in views:
            self._digest.update(view)
        size = sum(map(len, views))
        files.write(self.descriptor, views)
        self.nbytes += size
        self.offset += size
        if self.offset - self._pushed >= _WRITEBACK_BYTES:
            files.start_writeback(self.descriptor, self._pushed, self.offset - self._pushed)
            self._pushed = self.offset

    def sha256(self) -> bytes:
        """Return the digest of all that was written."""
        return self._digest.digest()


def write_images(
    stream: Stream, recipe: Recipe, start: int, stop: int, check: Check
) -> NDArray[np.uint32]:
    """Draw the samples from ``start`` to ``stop`` into a stream; return each one's CRC-32C."""
    crcs = np.empty(stop - start, "<u4")
    for first, images in batches(recipe, start, stop, check):
        for position, image in enumerate(images, first - start):
            crcs[position] = crc32c(image)
        stream.write([images])
    return crcs


@contextlib.contextmanager
def new_file(temporary: Path, final: Path) -> Iterator[Stream]:
    """Write a file that appears as ``final`` only once whole and safely on the disk."""
    name = files.temporary_name(temporary, final.name)
    descriptor = files.create(name)
    try:
        yield Stream(descriptor)
        files.sync(descriptor)
    except BaseException:
        os.close(descriptor)
        files.remove(name)
        raise
    os.close(descriptor)
    files.rename(name, final)
    files.sync_folder(final.parent)
