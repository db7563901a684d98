"""How many work at once, and threads whose results come in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gpgen.whole_numbers import whole_number

__all__ = ["in_order", "worker_count"]

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
