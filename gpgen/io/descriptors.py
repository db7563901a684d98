"""Files that are kept open for speed, and given back when descriptors run out."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["Keeper", "keeps", "opened"]

# Together a fifth of a second.
_ATTEMPTS = 20
_PAUSE = 0.001


class Keeper(Protocol):
    """Something that keeps files open which it could open again."""

    def give_back(self) -> None:
        """Close them; called from any thread."""
        ...


class _Keepers:
    """All of the process's; a forked child must not wait for a lock of its parent's threads."""

    def __init__(self) -> None:
        self.all: weakref.WeakSet[Keeper] = weakref.WeakSet()
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.Lock()


_keepers = _Keepers()


def keeps(keeper: Keeper) -> None:
    """Register a keeper; it is forgotten when nothing else refers to it."""
    with _keepers.lock:
        _keepers.all.add(keeper)


def opened(opening: Callable[[], int]) -> int:
    """Return a new descriptor; where there are no more, have all keepers let go, and try again."""
    for attempt in range(_ATTEMPTS):
        try:
            return opening()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        with _keepers.lock:
            keepers = list(_keepers.all)
        for keeper in keepers:
            keeper.give_back()
        # Other threads may have been faster, and soon have read what they opened.
        time.sleep(attempt * _PAUSE)
    return opening()
