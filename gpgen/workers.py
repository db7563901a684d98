"""How many work at once; threads whose results come in order; what starts a Python process."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gpgen.whole_numbers import whole_number

__all__ = ["has_python", "in_order", "python_calling", "worker_count"]

T = TypeVar("T")
R = TypeVar("R")


def worker_count(workers: int | None) -> int:
    """Return the number of workers asked for, or the cores that this process may use."""
    if workers is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    return whole_number("workers", workers, 1, "give 1 or more")


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R]:
    """Yield what a function makes of each item, in threads that are a few items ahead.

    Close the iterator to leave the rest undone.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def has_python() -> bool:
    """Return whether this program can start a Python: one that is frozen has none of its own."""
    return bool(sys.executable) and not hasattr(sys, "frozen")


def python_calling(module: str, function: str, *numbers: int) -> list[str]:
    """Return the command line of a Python that finds what this one does and calls a function.

    It is no child of multiprocessing, so that it doesn't import the caller's program, which needs
    no main guard then, and may be started by a process that may not have children.
    """
    call = f"from {module} import {function}; {function}(*map(int, sys.argv[2:]))"
    program = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); {call}"
    path = json.dumps([str(place) for place in sys.path])
    # Without -P a user's json.py in the current folder would be imported for Python's.
    return [sys.executable, "-P", "-c", program, path, *map(str, numbers)]
