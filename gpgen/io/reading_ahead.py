"""A file from front to back: while one part is looked at, the next one is read.

Past the page cache where that can be done. What gpgen writes goes past it, too, so a dataset is
seldom there; and the processor neither fills the cache nor copies out of it, which takes as long as
hashing does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gpgen.io import files
from gpgen.io.page_buffer import page_buffer

__all__ = ["parts_of"]

_PART_BYTES: Final = 2**21
_PAGE: Final = mmap.PAGESIZE


def parts_of(descriptor: int, offset: int, nbytes: int) -> Generator[memoryview, None, None]:
    """Yield the bytes of a file from ``offset`` on, each part overwritten when the next is taken.

    Parameters
    ----------
    descriptor
        The file, open for reading. How it is read afterwards, by whoever, is left as it was.
    offset, nbytes
        The range; fewer bytes come only where the file ends.

    Raises
    ------
    OSError
        If the system can't read it.
    """
    stop, buffers = offset + nbytes, [memoryview(page_buffer(_PART_BYTES)) for _ in range(2)]
    with (
        _past_the_cache(descriptor, offset % _PAGE == 0),
        ThreadPoolExecutor(1, "gpgen-reader") as reader,
    ):
        begun = reader.submit(_filled, descriptor, buffers[0], offset)
        while offset < stop:
            got = min(begun.result(), stop - offset)
            buffers.reverse()
            offset += got
            whole = got == _PART_BYTES
            if whole and offset < stop:
                begun = reader.submit(_filled, descriptor, buffers[0], offset)
            yield buffers[1][:got]
            if not whole:
                return


@contextlib.contextmanager
def _past_the_cache(descriptor: int, wanted: bool) -> Iterator[None]:
    """Have a descriptor read past the page cache, if the file system does that."""
    before = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    flag = getattr(os, "O_DIRECT", 0) if wanted else 0
    try:
        if flag:
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETFL, before | flag)
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, before)


def _filled(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Fill whole pages from an offset; return the bytes read, fewer only at the file's end."""
    done = 0
    while done < len(buffer):
        try:
            got = os.preadv(descriptor, [buffer[done:]], offset + done)
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            direct = getattr(os, "O_DIRECT", 0)
            if error.errno != errno.EINVAL or not flags & direct:
                raise
            # Larger blocks than pages, or the odd bytes at the end.
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~direct)
            got = files.read_at(descriptor, buffer[done:], offset + done)
        if got == 0:
            break
        done += got
    return done
