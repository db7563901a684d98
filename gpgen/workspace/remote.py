"""Making on an object store: everything at its final name, and the root's metadata last.

Nothing there can be renamed or locked. A dataset exists once its root ``zarr.json`` does, which
is put when all the rest is there. Beside the objects of the dataset stand, until then::

    data.zarr.making/job.json                 what is being made; put only if there is none yet
    data.zarr.making/recipe-<identity>.toml   the recipe, for the command that resumes
    data.zarr.making/journal-<identity>/...   the lines of the journal

Two runs of one job put the same bytes under the same names, so that a run which was taken for
dead and goes on does no harm. What a run of another job left, or still puts there, has another
name, for the identity is a hash of all that decides the bytes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from gpgen.errors import Argument, TargetError, UsageError
from gpgen.format.job import Job, ShardRecord
from gpgen.format.layout import Target
from gpgen.io.object_path import ObjectPath
from gpgen.workspace.base import Site
from gpgen.workspace.journal import Journal, line_of
from gpgen.workspace.record import read_job

__all__ = ["Bucket"]


# Objects of the journal that are read at once, and that are joined to one.
_READERS = 16
_JOINED = 256


class Bucket(Site):
    """A bucket: nothing is locked or renamed, and one conditional put decides between two jobs."""

    def __init__(self) -> None:
        self._begun: bytes | None = None

    def check(self, target: Target, *, overwrite: bool) -> None:
        """Refuse to overwrite, a bucket that isn't there, and credentials that don't open it."""
        if overwrite:
            raise UsageError(
                "nothing on an object store can take another's place in one step, so overwriting "
                f"{target.path} would remove it before the new one is whole",
                f"remove it yourself, or choose another {Argument.OUT}",
            )
        (target.working.on_store() / "job.json").exists()

    def free_bytes(self, target: Target) -> None:
        """Return ``None``: an object store tells no limit."""

    def claim(self, job: Job) -> AbstractContextManager[None]:  # noqa: ARG002
        """No-op: S3 can't detect a live writer; `record` keeps other jobs away."""
        return contextlib.nullcontext()

    def record(self, job: Job) -> None:
        """Put ``job.json``, which a conditional put lets only one run do."""
        job.recipe_file.on_store().write_bytes(job.recipe.to_toml().encode())
        # The run's own mark tells an answer that was lost from another run that was faster.
        content = job.to_json(run=secrets.token_hex(8))
        try:
            (_working(job) / "job.json").create(content)
        except FileExistsError as error:
            raise TargetError(
                f"another run has just begun to make {job.target.path}",
                f"wait for it, or if it has died continue with {Argument.RESUME}",
            ) from error
        self._begun = content

    def journal(self, job: Job) -> Journal:
        """Return a journal that is kept in the bucket, with a copy on this disk to work with."""
        return _BucketJournal(job, self.journal_lines(job))

    def journal_lines(self, job: Job) -> Iterator[bytes]:
        """Yield the lines of all the journal's objects."""
        paths = (path for path, _ in _journal(job).members())
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            while batch := list(itertools.islice(paths, 4 * _READERS)):
                for data in pool.map(_read_if_there, batch):
                    yield from data.splitlines(keepends=True)

    def check_record(self, job: Job) -> None:
        """Refuse to finish when the job was removed, and another begun perhaps."""
        begun = read_job(job.working)
        if begun is None or begun.identity != job.identity:
            raise TargetError(
                f"{job.working} was removed or replaced while {job.target.path} was being made",
                f"see who else makes it, or choose another {Argument.OUT}",
            )

    def forget(self, job: Job, *, failed: bool) -> None:
        """Remove the working objects, ``job.json`` last; keep all if a failed run has put data.

        A failed run forgets only what it has begun itself: what it resumed may be another's work.
        """
        last = _working(job) / "job.json"
        if failed:
            data = next(job.target.path.on_store().members(), None)
            if self._begun is None or data is not None or _read_if_there(last) != self._begun:
                return
        ObjectPath.remove(path for path, _ in _working(job).members() if path != last)
        ObjectPath.remove([last])


def _working(job: Job) -> ObjectPath:
    return job.working.on_store()


def _journal(job: Job) -> ObjectPath:
    return _working(job) / f"journal-{job.identity[:16]}"


def _read_if_there(path: ObjectPath) -> bytes:
    # Its run may have finished meanwhile, or put it into a longer one.
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


class _BucketJournal(Journal):
    """A journal whose every addition is an object before it counts.

    Parameters
    ----------
    job
        The job whose shards it lists.
    lines
        What it lists already.
    """

    def __init__(self, job: Job, lines: Iterable[bytes]) -> None:
        self._folder = _journal(job)
        self._run = secrets.token_hex(4)
        self._count = 0
        self._parts: list[tuple[ObjectPath, bytes]] = []
        self._copy: Any = tempfile.NamedTemporaryFile(prefix="gpgen-journal-")  # noqa: SIM115
        try:
            self._copy.writelines(lines)
            self._copy.flush()
            super().__init__(job, Path(self._copy.name))
        except BaseException:
            self._copy.close()
            raise

    def add(self, records: Iterable[ShardRecord]) -> None:
        """Add finished shards and wait until they are in the bucket."""
        records = list(records)
        lines = b"".join(map(line_of, records))
        self._parts.append((self._put("part", lines), lines))
        if len(self._parts) == _JOINED:
            # A million objects would take hours to read again, one request each.
            self._put("joined", b"".join(lines for _, lines in self._parts))
            ObjectPath.remove(path for path, _ in self._parts)
            self._parts.clear()
        super().add(records)

    def _put(self, kind: str, lines: bytes) -> ObjectPath:
        path = self._folder / f"{self._count:08d}-{self._run}-{kind}.jsonl"
        self._count += 1
        path.write_bytes(lines)
        return path

    def close(self) -> None:
        """Close and remove the copy."""
        super().close()
        self._copy.close()
