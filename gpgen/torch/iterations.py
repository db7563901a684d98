"""Numbers for the iterations over a dataset, in whatever processes it is iterated.

A DataLoader iterates a dataset in each of its workers, which can't tell the first iteration from
the second: new workers are copies of a dataset that was never iterated, and workers that persist
don't know of those that ended. So the count lies in a file without a name, which all copies of
the dataset share. A lock on it ends with the process that holds it, so a killed worker stops none.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from tempfile import TemporaryFile
from typing import Any, NamedTuple
from weakref import finalize

__all__ = ["Iterations", "Place"]


class Place(NamedTuple):
    """A place in the stream of batches: an iteration, and batches of it on each rank."""

    iteration: int
    seen: int


class Iterations:
    """The iterations over a dataset, on each rank.

    Parameters
    ----------
    first_batch
        Where each of them begins.
    known
        What is known already, by rank.
    """

    def __init__(self, first_batch: int, known: dict[str, Any] | None = None) -> None:
        self._use(first_batch, _unnamed_file())
        with self._locked() as counts:
            counts.update(known or {})

    def _use(self, first_batch: int, file: int) -> None:
        self._first_batch, self._file = first_batch, file
        finalize(self, os.close, file)

    def begin(self, rank: int, together: str, worker: int, workers: int) -> Place:
        """Return where a worker begins: with the others of its DataLoader in the same iteration.

        Parameters
        ----------
        rank
            Of this process, or of that whose worker it is.
        together
            What only workers of one DataLoader have in common, in one iteration. A user's seed
            may repeat it, so each of the `workers` is let into an iteration once.
        worker, workers
            This worker, of how many.
        """
        with self._locked() as counts:
            count = self._count(counts, rank)
            place, begun = count["open"].pop(together, (None, [worker]))
            if worker in begun:
                place, begun = count["next"], []
                count["current"], count["next"] = place, (place[0] + 1, self._first_batch)
            begun.append(worker)
            if len(begun) < workers:
                count["open"][together] = place, begun
            return Place(*place)

    def current(self, rank: int) -> Place:
        """Return where the iteration that began last began, or where the first one will."""
        with self._locked() as counts:
            return Place(*self._count(counts, rank)["current"])

    def next(self, rank: int) -> Place:
        """Return where the next iteration will begin."""
        with self._locked() as counts:
            return Place(*self._count(counts, rank)["next"])

    def set_next(self, rank: int, place: Place) -> None:
        """Have the next iteration begin somewhere else."""
        with self._locked() as counts:
            counts[str(rank)] = {"next": place, "current": place, "open": {}}

    def _count(self, counts: dict[str, Any], rank: int) -> Any:  # noqa: ANN401 - as it is in JSON
        first = 0, self._first_batch
        return counts.setdefault(str(rank), {"next": first, "current": first, "open": {}})

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            size = os.fstat(self._file).st_size
            counts = json.loads(os.pread(self._file, size, 0) or "{}")
            yield counts
            os.pwrite(self._file, json.dumps(counts).encode().ljust(size), 0)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __reduce__(self) -> Any:  # noqa: ANN401 - `object`'s
        """Share the file with a process that is being started; any other copy counts for itself."""
        if get_spawning_popen() is not None:
            return _shared, (self._first_batch, DupFd(self._file))
        with self._locked() as counts:
            return Iterations, (self._first_batch, counts)


def _shared(first_batch: int, file: Any) -> Iterations:  # noqa: ANN401 - a DupFd
    iterations = Iterations.__new__(Iterations)
    iterations._use(first_batch, file.detach())
    return iterations


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gpgen-iterations")
    with TemporaryFile() as file:
        return os.dup(file.fileno())
