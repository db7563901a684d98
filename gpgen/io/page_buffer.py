"""Memory for files that are read and written past the page cache."""

from __future__ import annotations

import contextlib
import mmap

__all__ = ["page_buffer"]


def page_buffer(nbytes: int) -> mmap.mmap:
    """Return memory that begins with a page, is cheap to get, and isn't there in forked children.

    Of huge pages where the system has them: to clear 4 MiB in small ones takes it 2 ms. A child
    that is forked while a disk writes into private memory could otherwise get what is read.

    Parameters
    ----------
    nbytes
        How much; whole megabytes for huge pages.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, nbytes)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in (getattr(mmap, "MADV_HUGEPAGE", None), getattr(mmap, "MADV_DONTFORK", None)):
        if advice is not None:
            with contextlib.suppress(OSError):  # a kernel without
                memory.madvise(advice)
    return memory
