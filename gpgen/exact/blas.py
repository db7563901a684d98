"""Limit BLAS to one thread while several threads draw, and restore its number afterwards."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import threadpoolctl

__all__ = ["one_blas_thread"]

_lock = threading.Lock()
_users = 0
_limited: list[tuple[Any, int]] = []


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Give BLAS one thread while this context, or another of its kind, is open.

    OpenBLAS has one number for the whole process. So the first to come sets it and the last to
    leave restores it, unless somebody else has set it since.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            blas = threadpoolctl.ThreadpoolController().select(user_api="blas")
            for library in blas.lib_controllers:
                _limited.append((library, library.num_threads))
                _set_number(library, 1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _restore()


def _restore() -> None:
    for library, before in _limited:
        if library.num_threads == 1:
            _set_number(library, before)
    _limited.clear()


def _set_number(library: Any, number: int) -> None:  # noqa: ANN401 - threadpoolctl's
    """Set it from whatever thread.

    Since 3.8 threadpoolctl lets the thread that was first alone set OpenBLAS's number, and does
    nothing, without a word, in others. The first to come here is seldom the last to leave.
    """
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)
    library.set_num_threads(number)
    if release is not None:
        release(force=True)


def _in_forked_child() -> None:
    """Restore the number: the threads that wanted the limit don't exist in a forked child."""
    global _lock, _users
    _lock, _users = threading.Lock(), 0
    _restore()


os.register_at_fork(after_in_child=_in_forked_child)
