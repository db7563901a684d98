"""The folder in which something grows, held by one process at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gpgen.errors import TargetError
from gpgen.io import files

__all__ = ["LOCK", "claimed", "empty"]

LOCK = "lock"


@contextlib.contextmanager
def claimed(working: Path, in_use: Callable[[], TargetError]) -> Iterator[int]:
    """Make the folder and hold its lock; leave nothing behind that can't be resumed.

    Parameters
    ----------
    working
        The folder; what can be resumed has a ``job.json`` in it.
    in_use
        Makes the error for a lock that another process holds.

    Yields
    ------
    int
        The lock's descriptor.

    Raises
    ------
    TargetError
        If another process holds the lock.
    """
    descriptor = _lock(working)
    if descriptor is None:
        raise in_use()
    try:
        yield descriptor
    finally:
        try:
            if not (working / "job.json").exists():
                # The lock last: whoever takes it next finds the folder empty, and is alone there.
                empty(working)
                files.remove_tree(working)
        finally:
            os.close(descriptor)


def _lock(working: Path) -> int | None:
    while True:
        files.make_folder(working)
        with contextlib.suppress(FileNotFoundError):  # the last run has just removed it
            return files.lock(working / LOCK)


def empty(working: Path) -> None:
    """Remove all that is in a folder but the lock, if the folder is still there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in list(working.iterdir()):
            if path.name != LOCK:
                files.remove_tree(path)
