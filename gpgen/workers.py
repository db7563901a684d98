"""How many work at once."""

from __future__ import annotations

import os

from gpgen.errors import UsageError

__all__ = ["worker_count"]


def worker_count(workers: int | None) -> int:
    """Return the number of workers asked for, or the cores that this process may use."""
    if workers is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise UsageError(f"workers is {workers!r}", "give 1 or more")
    return workers
