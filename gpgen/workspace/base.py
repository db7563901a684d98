"""What making a dataset does differently on a disk and on an object store.

A format (`Store`) knows what bytes a dataset has; a site knows how an unfinished one is kept:
who may work on it, what is on record, and what becomes of the working folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from gpgen.format.job import Job
from gpgen.format.layout import Target
from gpgen.workspace.journal import Journal

__all__ = ["Site"]


class Site(Protocol):
    """A disk or an object store."""

    def check(self, target: Target, *, overwrite: bool) -> None:
        """Refuse a target that can't be written to, touching nothing.

        Raises
        ------
        TargetError, StorageError, UsageError
            What is wrong with it.
        """
        ...

    def free_bytes(self, target: Target) -> int | None:
        """Return how many bytes may be written there; ``None`` if there is no such number."""
        ...

    def claim(self, job: Job) -> AbstractContextManager[None]:
        """Keep other processes away; at the end, if no job is on record, leave nothing behind.

        Raises
        ------
        TargetError
            If another process is known to be making the target.
        """
        ...

    def begin(self, job: Job) -> None:
        """Remove what an earlier job left, and make room for a new one.

        By default nothing: what an earlier job left has other names.
        """
        return

    def record(self, job: Job) -> None:
        """Put a job that has begun on record: from here it can be resumed.

        Raises
        ------
        TargetError
            If another run has put one on record meanwhile.
        """
        ...

    def resume(self, job: Job) -> None:
        """Remove what a killed run of the job left half-written; by default nothing."""
        return

    def journal(self, job: Job) -> Journal:
        """Open the job's journal for adding."""
        ...

    def journal_lines(self, job: Job) -> Iterator[bytes]:
        """Yield the lines of the job's journal, however it is kept."""
        ...

    def check_record(self, job: Job) -> None:
        """Refuse to finish a job when another has come in its place.

        Raises
        ------
        TargetError
            If what is on record is another job, or none. By default it can't be: the job's
            claim keeps others away.
        """
        return

    def forget(self, job: Job, *, failed: bool) -> None:
        """Take the job off the record: it is finished, or failed with nothing to resume."""
        ...
