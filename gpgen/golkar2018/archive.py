"""Making an archive in the form of Zenodo record 1252464: ``samples.zip`` and ``dataset.zip``.

Every member of a zip has its place before anything is drawn, so samples are drawn
and written in any order, by several threads; the crosses then read them back two at
a time. All grows in ``OUT.making/`` and gets its name at the end. The journal lists
the samples that are safely on the disk: what was lost when a run broke off is drawn
again, and the bytes are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.blas import one_blas_thread
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.golkar2018.archive_files import MemberWriter, SampleJournal, open_or_create
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.golkar2018.crosses import Cross
from gpgen.golkar2018.gp_writing import write_gp
from gpgen.golkar2018.npy import HEADER_BYTES, npy_header
from gpgen.paths import AnyText, target_of
from gpgen.store import files
from gpgen.store.claiming import check_rename, claimed, naming
from gpgen.store.failures import reading, target_errors

__all__ = ["PLAN", "Archive", "ArchiveProgress", "make_archive", "read_plan"]

SAMPLES: Final = "samples.zip"
DATASET: Final = "dataset.zip"
PLAN: Final = "archive.json"
"""What was asked for: all that is needed to make the archive again."""

CHECKSUMS: Final = "SHA256SUMS"
VERSION: Final = 1
"""Changes whenever the bytes of a plan would."""


@dataclass(frozen=True)
class Archive:
    """A finished archive.

    Attributes
    ----------
    path
        The folder.
    sha256
        Of ``samples.zip`` and ``dataset.zip``, by name.
    nbytes
        Bytes of both.
    """

    path: Path
    sha256: dict[str, str]
    nbytes: int


@dataclass(frozen=True)
class ArchiveProgress:
    """How far an archive is.

    Attributes
    ----------
    done, total
        Samples drawn and images crossed.
    bytes_done
        Bytes of them.
    elapsed
        Seconds since this run began.
    """

    done: int
    total: int
    bytes_done: int
    elapsed: float


Report = Callable[[ArchiveProgress], None]


def make_archive(
    plan: ArchivePlan,
    out: AnyText,
    *,
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report | None = None,
) -> Archive:
    """Make an archive: the same plan gives the same bytes, wherever and however it is made.

    Parameters
    ----------
    plan
        What to make.
    out
        The folder to make. It appears once it is whole.
    workers
        Threads; by default as many as the machine has cores for this process.
    resume
        Whether to go on with what a broken-off run has left in ``OUT.making``.
    overwrite
        Whether to replace what is at `out`, and forget what a broken-off run has left.
    progress
        Called after each sample and image.

    Raises
    ------
    TargetError
        If `out` is taken, is being made by another process, or the disk is too small.
    UsageError
        If a run to be resumed had another plan.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers can't make anything", "use at least 1")
    target = target_of(out)
    job = _Job(plan, target, target.with_name(target.name + ".making"), progress)
    with target_errors(str(target)), job.locked():
        if resume and job.is_finished(overwrite):
            return job.commit()
        job.check_disk()
        job.begin(resume=resume, overwrite=overwrite)
        with one_blas_thread():
            job.draw_samples(workers or len(os.sched_getaffinity(0)))
        job.deal_crosses()
        return job.commit()


def read_plan(folder: Path) -> ArchivePlan:
    """Return what an archive was made from.

    Raises
    ------
    DatasetError
        If its archive.json is missing or damaged, or of a version with other pixels.
    """
    path = folder / PLAN
    again = "make it again with `gpgen archive`"
    with reading(path, again):
        raw = path.read_bytes()
    try:
        fields = json.loads(raw)
        version = fields["archive_version"]
        plan = ArchivePlan.from_dict(fields)
    except (
        ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError,
    ) as error:  # fmt: skip
        raise DatasetError(f"{path} can't be read: {error}", again) from error
    if version != VERSION:
        raise DatasetError(
            f"{path} is of version {version}, and this gpgen makes version {VERSION}",
            "use the version of gpgen that made it",
        )
    return plan


class _Job:
    """One archive being made in its working folder."""

    def __init__(
        self, plan: ArchivePlan, target: Path, working: Path, progress: Report | None
    ) -> None:
        self.plan = plan
        self.target = target
        self.working = working
        self.data = working / "data"
        self._progress = progress
        self._began = time.monotonic()
        self._done = 0
        self._bytes = 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        if not self.target.parent.is_dir():
            raise TargetError(f"{self.target.parent} isn't a folder", "create it first")
        in_use = TargetError(f"{self.target} is being made by another process", "wait for it")
        with claimed(self.working, lambda: in_use):
            yield

    def is_finished(self, overwrite: bool) -> bool:
        """Return whether a run broke off in its last steps, or there was nothing left to do."""
        if not (self.working / "job.json").exists():
            # Killed while it removed what it no longer needed.
            return not overwrite and self._is_this(self.target / PLAN)
        if not self._same_job():
            return False
        if not self.data.exists():
            return (self.target / CHECKSUMS).exists()
        return (self.data / CHECKSUMS).exists() and (overwrite or self._target_is_free())

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        if not overwrite and not self._target_is_free():
            raise TargetError(f"{self.target} exists", "use --overwrite, or another --out")
        begun = (self.working / "job.json").exists()
        if begun and not resume and not overwrite:
            raise TargetError(
                f"{self.working} holds an archive that isn't finished",
                "use --resume to finish it, or --overwrite to start again",
            )
        if begun and resume and not self._same_job():
            raise UsageError(
                f"{self.working} was begun with other options or another version of gpgen",
                "resume with the same ones, or use --overwrite to start again",
            )
        check_rename(self.working, self.target)
        if not (begun and resume):
            # Without its job.json the rest isn't taken for something to resume.
            for name in ("job.json", "journal.jsonl"):
                files.remove(self.working / name)
            files.remove_tree(self.data)
            files.make_folder(self.data)
            content = json.dumps(self._content(), indent=2).encode()
            files.replace_file(self.working / "job.json", content, self.working)
            files.sync_folder(self.working)

    def check_disk(self) -> None:
        begun = self.data.iterdir() if self.data.is_dir() else ()
        written = sum(path.stat().st_blocks * 512 for path in begun if path.is_file())
        free = shutil.disk_usage(self.working).free + written
        if self.plan.nbytes > free:
            raise TargetError(
                f"{self.target} needs {self.plan.nbytes / 1e9:.2f} GB, {free / 1e9:.2f} are free",
                "free some space, or choose another --out",
            )

    def draw_samples(self, workers: int) -> None:
        members = self.plan.samples_zip.members
        if not (self.data / SAMPLES).exists():
            files.remove(self.working / "journal.jsonl")
        descriptor = open_or_create(self.data / SAMPLES)
        journal = SampleJournal(self.working / "journal.jsonl", len(members))
        try:
            # The names must be on the disk before the journal says anything of their content.
            files.sync_folder(self.data)
            files.sync_folder(self.working)
            files.truncate(descriptor, self.plan.samples_zip.size)
            self._advance(len(journal.crcs), members[0].size)
            missing = [i for i in range(len(members)) if i not in journal.crcs]
            with ThreadPoolExecutor(workers) as pool:
                futures = {pool.submit(self._draw, descriptor, i): i for i in missing}
                try:
                    for future in as_completed(futures):
                        journal.add(futures[future], future.result())
                        self._advance(1, members[0].size)
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
            crcs = [journal.crcs[i] for i in range(len(members))]
            directory = self.plan.samples_zip.directory(crcs)
            files.write_at(descriptor, directory, self.plan.samples_zip.directory_start)
            files.sync(descriptor)
        finally:
            os.close(descriptor)
            journal.close()

    def _draw(self, descriptor: int, number: int) -> int:
        member = self.plan.samples_zip.members[number]
        pixels = self.plan.sample(*self.plan.members[number]).astype("<f8", copy=False)
        header = npy_header(self.plan.size)
        data = pixels.data.cast("B")
        crc = zlib.crc32(data, zlib.crc32(header))
        files.write_at(descriptor, member.header(crc) + header, member.start)
        files.write_at(descriptor, data, member.offset + len(header))
        files.sync(descriptor)
        return crc

    def deal_crosses(self) -> None:
        """Make ``dataset.zip`` from ``samples.zip``, from its beginning to its end."""
        source = files.open_existing(self.data / SAMPLES)
        descriptor = open_or_create(self.data / DATASET)
        try:
            files.truncate(descriptor, 0)
            layout = self.plan.dataset_zip
            crcs = []
            for cross, member in zip(self.plan.crosses, layout.members, strict=True):
                writer = MemberWriter(descriptor, member)
                per_class = cross.images_per_class(dict(self.plan.samples))
                names = dict(enumerate(cross.class_names))
                pairs = self._images(source, cross, per_class)
                write_gp(writer, pairs, per_class * cross.classes, names)
                crcs.append(writer.finish())
            files.write_at(descriptor, layout.directory(crcs), layout.directory_start)
            files.sync(descriptor)
        finally:
            os.close(source)
            os.close(descriptor)

    def _images(
        self, source: int, cross: Cross, per_class: int
    ) -> Iterator[tuple[npt.NDArray[np.float32], int]]:
        places = {
            key: member.offset + HEADER_BYTES
            for key, member in zip(self.plan.members, self.plan.samples_zip.members, strict=True)
        }
        size = self.plan.size
        texture = np.empty((size, size), dtype="<f8")
        for number in range(per_class):
            # One image of each class in turn, so that every beginning is balanced.
            for label in range(cross.classes):
                image = np.zeros((size, size))
                chosen = cross.samples_of(label, number, per_class)
                for key, weight in zip(chosen, cross.weights, strict=True):
                    if files.read_at(source, texture.data, places[key]) < texture.nbytes:
                        raise DatasetError(f"{self.data / SAMPLES} was cut short", "start again")
                    image += texture * weight
                yield image.astype("<f4"), label
                self._advance(1, 4 * size * size)

    def commit(self) -> Archive:
        """Write the checksums and give the archive its name, unless it has it already."""
        names = [SAMPLES, DATASET] if self.plan.crosses else [SAMPLES]
        place = self.data if self.data.exists() else self.target
        sha256 = {name: _sha256(place / name) for name in names}
        if place == self.data:
            self._publish(names, sha256)
        files.remove(self.working / "job.json")  # and `locked` removes the rest
        return Archive(self.target, sha256, self.plan.nbytes)

    def _publish(self, names: list[str], sha256: dict[str, str]) -> None:
        plan = json.dumps(self._content(), indent=2).encode() + b"\n"
        files.replace_file(self.data / PLAN, plan, self.working)
        listed = {**sha256, PLAN: hashlib.sha256(plan).hexdigest()}
        lines = "".join(f"{digest}  {name}\n" for name, digest in listed.items())
        files.replace_file(self.data / CHECKSUMS, lines.encode(), self.working)
        for path in list(self.data.iterdir()):
            if path.name not in {*names, PLAN, CHECKSUMS}:
                files.remove(path)
        files.sync_folder(self.data)
        with naming(self.target, self.working):
            if not self._target_is_free():
                files.rename(self.target, files.temporary_name(self.working, "replaced"))
            files.rename(self.data, self.target)
        files.sync_folder(self.target.parent)

    def _target_is_free(self) -> bool:
        if not os.path.lexists(self.target):
            return True
        empty = self.target.is_dir() and not self.target.is_symlink()
        return empty and not any(self.target.iterdir())

    def _content(self) -> dict[str, object]:
        return {"archive_version": VERSION, **json.loads(json.dumps(self.plan.to_dict()))}

    def _same_job(self) -> bool:
        return self._is_this(self.working / "job.json")

    def _is_this(self, path: Path) -> bool:
        """Return whether a file describes the archive that is asked for."""
        try:
            return bool(json.loads(path.read_bytes()) == self._content())
        except (OSError, ValueError):
            return False

    def _advance(self, count: int, nbytes: int) -> None:
        self._done += count
        self._bytes += count * nbytes
        if self._progress is not None and count:
            total = len(self.plan.members) + self.plan.images
            elapsed = time.monotonic() - self._began
            self._progress(ArchiveProgress(self._done, total, self._bytes, elapsed))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
