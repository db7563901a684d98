"""Making on a disk: a working folder beside the target, a lock, a journal that is a file."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from gpgen.errors import Argument, TargetError
from gpgen.format.job import Job
from gpgen.format.layout import Target
from gpgen.io import files
from gpgen.io.output_files import check_folder, free_bytes, is_writable
from gpgen.io.renaming import check_rename
from gpgen.workspace.base import Workspace
from gpgen.workspace.journal import Journal
from gpgen.workspace.record import store_job

__all__ = ["LOCK", "Disk"]

LOCK = "lock"
"""The file in the working folder that the process which makes the dataset holds locked."""


class Disk(Workspace):
    """A file system: a folder is locked, and what has grown in it is renamed."""

    def check(self, target: Target, *, overwrite: bool) -> None:  # noqa: ARG002
        """Refuse a folder that is missing or not writable."""
        folder = _folder(target)
        check_folder(folder)
        if not is_writable(folder):
            raise TargetError(
                f"the folder {folder} is not writable",
                f"choose another {Argument.OUT}, or change its permissions",
            )
        longest = len(os.fsencode(target.working.name))
        most = os.pathconf(folder, "PC_NAME_MAX")
        if longest > most:
            raise TargetError(
                f"{target.path} would grow in a folder whose name has {longest} bytes, and {most} "
                "are the most there",
                f"choose a shorter {Argument.OUT}",
            )

    def free_bytes(self, target: Target) -> int:
        """Return how many bytes may still be written under the target's folder."""
        return free_bytes(_folder(target))

    @contextlib.contextmanager
    def claim(self, job: Job) -> Iterator[None]:
        """Make the working folder and hold its lock; remove it if nothing is left to resume."""
        working = _working(job)
        lock = _lock(working)
        if lock is None:
            raise _in_use(job)
        try:
            owner = f"process {os.getpid()} on {socket.gethostname()}"
            files.truncate(lock, 0)
            files.write_at(lock, owner.encode(), 0)
            yield
        finally:
            try:
                # A shared folder may be gone, which the error in flight tells.
                if working.exists() and not (working / "job.json").exists():
                    # The lock last: whoever takes it next finds the folder empty, and is alone.
                    _empty(working)
                    files.remove_tree(working)
            finally:
                os.close(lock)

    def begin(self, job: Job) -> None:
        """Empty the working folder."""
        working = _working(job)
        files.remove(working / "job.json")
        _empty(working)
        files.make_folder(job.temporary.on_disk())
        files.make_folder(job.data.on_disk())
        check_rename(working, job.target.path.on_disk())

    def record(self, job: Job) -> None:
        """Write ``job.json``."""
        store_job(job)
        files.sync_folder(_working(job).parent)

    def resume(self, job: Job) -> None:
        """Remove what a killed run left half-written."""
        if not job.data.on_disk().is_dir():
            raise TargetError(
                f"{job.data}, where the dataset grew, is gone", job.working.how_to_start_again()
            )
        files.remove_tree(job.temporary.on_disk())
        files.make_folder(job.temporary.on_disk())
        check_rename(_working(job), job.target.path.on_disk())

    def journal(self, job: Job) -> Journal:
        """Open the job's journal for adding."""
        return Journal(job)

    def journal_lines(self, job: Job) -> Iterator[bytes]:
        """Yield the journal's lines."""
        with (
            contextlib.suppress(OSError),
            files.open_stream(_working(job) / "journal.jsonl") as lines,
        ):
            yield from lines

    def forget(self, job: Job, *, failed: bool) -> None:  # noqa: ARG002
        """Take the job off the record; `claim` removes the rest."""
        files.remove(_working(job) / "job.json")


def _folder(target: Target) -> Path:
    return target.path.on_disk().parent


def _working(job: Job) -> Path:
    return job.working.on_disk()


def _lock(working: Path) -> int | None:
    """Make the working folder and lock it; ``None`` if another process holds the lock."""
    while True:
        files.make_folder(working)
        try:
            return files.lock(working / LOCK)
        except FileNotFoundError:  # the last run has just removed it
            continue
        except BaseException:
            files.remove_empty(working)
            raise


def _empty(working: Path) -> None:
    """Remove all that is in the working folder but the lock."""
    for path in list(working.iterdir()):
        if path.name != LOCK:
            files.remove_tree(path)


def _in_use(job: Job) -> TargetError:
    """Return the error that says who is making the target."""
    owner = "another process"
    with contextlib.suppress(OSError):
        owner = (_working(job) / LOCK).read_text() or owner
    return TargetError(
        f"{job.target.path} is being made by {owner}",
        f"wait for it, or stop it and use {Argument.RESUME}",
    )
