"""Samples to a file, a batch at a time, hashed on the way.

Memory is one batch, two buffers and the sampler's own, whatever a shard's size.
The disk works while the CPU draws, and the sync at the end has little left to
wait for.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from gpgen.format.job import Job
from gpgen.io import files
from gpgen.io.page_buffer import page_buffer
from gpgen.io.page_writing import PageWriter
from gpgen.labelled_images import LabelledImages

__all__ = [
    "BATCH_BYTES",
    "Check",
    "Stream",
    "batch_size",
    "batches",
    "crc32c",
    "never_stop",
    "new_file",
    "new_pages",
    "write_images",
]

# A batch stays in the CPU's cache between drawing, checksums and writing.
BATCH_BYTES = 2**20
_BUFFER_BYTES = 2**22
_PAGE = mmap.PAGESIZE

Check = Callable[[], None]


def never_stop() -> None:
    """Be the check of a shard that is written to its end, whatever happens elsewhere."""


def crc32c(data: Any, start: int = 0) -> int:  # noqa: ANN401 - any buffer
    """Return the CRC-32C of a buffer, continuing from that of what precedes it."""
    return int(google_crc32c.extend(start, data))


def batch_size(recipe: LabelledImages) -> int:
    """Return how many samples are drawn at once."""
    return max(1, BATCH_BYTES // recipe.image_nbytes)


def batches(
    job: Job, start: int, stop: int, check: Check, buffer: NDArray[Any] | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Draw (or copy) the samples from ``start`` to ``stop``, a batch at a time.

    Parameters
    ----------
    job
        What is made.
    start, stop
        Indices.
    check
        Called before each batch; what it raises ends the drawing.
    buffer
        Room for a batch.

    Yields
    ------
    int
        Index of the batch's first sample.
    ndarray
        The batch ``(samples, *shape)``, overwritten by the next.
    """
    recipe, source = job.recipe, job.images
    if source is None:
        raise ValueError("the job has no source of images")
    size = min(batch_size(recipe), stop - start)
    if buffer is None:
        buffer = np.empty((size, *recipe.shape), recipe.numpy_dtype)
    for first in range(start, stop, size):
        check()
        last = min(first + size, stop)
        yield first, source.images(first, last, out=buffer[: last - first])


class Stream:
    """A file written from front to back, with the SHA-256 of what went through.

    Bytes gather in two buffers in turn; while one fills, a thread hashes the other and writes
    it, past the page cache where that can be done. Close it, or use it as a context manager.

    Parameters
    ----------
    pages
        Writes the file.
    offset
        Byte at which writing begins.
    """

    def __init__(self, pages: PageWriter, offset: int = 0) -> None:
        self.nbytes = 0
        self._digest = hashlib.sha256()
        # The first byte of a buffer belongs at ``_base``, a whole number of pages; ``_begin``
        # and ``_end`` are where its contents do.
        self._base = offset // _PAGE * _PAGE
        self._begin = self._end = offset - self._base
        self._buffer, self._other = (page_buffer(_BUFFER_BYTES) for _ in range(2))
        self._pages = pages
        self._writer = ThreadPoolExecutor(1, "gpgen-writer")
        self._pending: Future[None] | None = None

    @property
    def offset(self) -> int:
        """Where the next byte goes."""
        return self._base + self._end

    def write(self, buffers: Sequence[Any]) -> None:
        """Add ``buffers``, arrays or bytes."""
        for buffer in buffers:
            left = memoryview(buffer).cast("B")
            self.nbytes += len(left)
            while left:
                part = left[: _BUFFER_BYTES - self._end]
                self._buffer[self._end : self._end + len(part)] = part
                self._end += len(part)
                left = left[len(part) :]
                if self._end == _BUFFER_BYTES:
                    self._hand_over()

    def finish(self) -> bytes:
        """Wait until all bytes are on the disk; return their SHA-256."""
        self._hand_over()
        self._wait()
        self._pages.finish()
        return self._digest.digest()

    def _hand_over(self) -> None:
        """Pass the buffer to the writing thread, and go on with the other."""
        self._wait()
        full = memoryview(self._buffer)[self._begin : self._end]
        self._pending = self._writer.submit(self._put, full, self._base + self._begin)
        self._buffer, self._other = self._other, self._buffer
        self._base += self._end
        self._begin = self._end = 0

    def _wait(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def _put(self, buffer: memoryview, offset: int) -> None:
        """Hash and write a buffer."""
        with buffer:
            self._digest.update(buffer)
            self._pages.write(buffer, offset)

    def close(self) -> None:
        """Give back the buffers and the thread."""
        with contextlib.suppress(Exception):
            self._wait()
        self._writer.shutdown()
        for buffer in (self._buffer, self._other):
            # The traceback of a failed write still looks at its buffer: that error is the one to
            # be seen, and the buffer goes when it does.
            with contextlib.suppress(BufferError):
                buffer.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def write_images(
    stream: Stream, job: Job, start: int, stop: int, check: Check
) -> NDArray[np.uint32]:
    """Write the samples from ``start`` to ``stop`` into a stream; return each one's CRC-32C."""
    crcs = np.empty(stop - start, "<u4")
    for first, images in batches(job, start, stop, check):
        for position, image in enumerate(images, first - start):
            crcs[position] = crc32c(image)
        stream.write([images])
    return crcs


@contextlib.contextmanager
def new_file(temporary: Path, final: Path) -> Iterator[Stream]:
    """Write a file that appears as ``final``, whole, once its stream was finished."""
    with new_pages(temporary, final) as pages, Stream(pages) as stream:
        yield stream


@contextlib.contextmanager
def new_pages(temporary: Path, final: Path) -> Iterator[PageWriter]:
    """Write a file that appears as ``final`` at the end; it is open for reading, too."""
    name = files.temporary_name(temporary, final.name)
    descriptor = files.create(name)
    try:
        try:
            with PageWriter(descriptor, name) as pages:
                yield pages
        finally:
            os.close(descriptor)
    except BaseException:
        files.remove(name)
        raise
    files.rename(name, final)
    files.sync_folder(final.parent)
