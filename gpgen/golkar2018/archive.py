"""Making an archive in the form of Zenodo record 1252464: ``samples.zip`` and ``dataset.zip``.

Every member of a zip has its place before anything is drawn, so samples are drawn and written in
any order, by several threads; the crosses then read them back two at a time. It takes under a
minute, so a run that is broken off is not resumed: the folder gets its name when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import Argument, DatasetError, TargetError
from gpgen.exact.blas import one_blas_thread
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.golkar2018.gp_writing import write_gp
from gpgen.golkar2018.npy_header import HEADER_BYTES, npy_header
from gpgen.golkar2018.texture_sums import Cross
from gpgen.io import files
from gpgen.io.beside import put_in_place, working_folder
from gpgen.io.failures import reading, target_errors
from gpgen.io.output_files import check_folder, check_space, free_bytes
from gpgen.io.user_paths import AnyText, target_of
from gpgen.io.zip_writing import ZipMember
from gpgen.progress import Follow, Progress, Tell, following
from gpgen.workers import worker_count

__all__ = ["PLAN", "Archive", "make_archive", "read_plan"]

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


def make_archive(
    plan: ArchivePlan,
    out: AnyText,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Follow = None,
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
    overwrite
        Whether to replace what is at `out`.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress` of images, samples among
        them, after each.

    Raises
    ------
    TargetError
        If `out` is taken, is being made by another process, or the disk is too small.
    """
    count = worker_count(workers)
    target = target_of(out)
    _check_target(plan, target, overwrite)
    with (
        target_errors(str(target)),
        working_folder(target, "making") as folder,
        one_blas_thread(),
        following(progress) as tell,
    ):
        maker = _Maker(plan, folder, tell)
        maker.draw_samples(count)
        if plan.crosses:
            maker.sum_textures()
        sha256 = maker.write_checksums()
        put_in_place(folder, target)
    return Archive(target, sha256, plan.nbytes)


def _check_target(plan: ArchivePlan, target: Path, overwrite: bool) -> None:
    check_folder(target.parent)
    empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    if os.path.lexists(target) and not empty and not overwrite:
        raise TargetError(
            f"{target} exists", f"use {Argument.OVERWRITE}, or another {Argument.OUT}"
        )
    check_space(target, plan.nbytes, free_bytes(target.parent))


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


class _Maker:
    """Writes an archive's files into a folder."""

    def __init__(self, plan: ArchivePlan, folder: Path, tell: Tell) -> None:
        self.plan = plan
        self._folder = folder
        self._tell = tell
        self._done = 0

    def draw_samples(self, workers: int) -> None:
        """Make ``samples.zip``, its members in any order."""
        layout = self.plan.samples_zip
        crcs = [0] * len(layout.members)
        descriptor = files.create(self._folder / SAMPLES)
        try:
            files.truncate(descriptor, layout.size)
            with ThreadPoolExecutor(workers) as pool:
                futures = {pool.submit(self._draw, descriptor, i): i for i in range(len(crcs))}
                try:
                    for future in as_completed(futures):
                        crcs[futures[future]] = future.result()
                        self._advance()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
            files.write_at(descriptor, layout.directory(crcs), layout.directory_start)
            files.sync(descriptor)
        finally:
            os.close(descriptor)

    def _draw(self, descriptor: int, number: int) -> int:
        member = self.plan.samples_zip.members[number]
        pixels = self.plan.sample(*self.plan.members[number]).astype("<f8", copy=False)
        writer = _MemberWriter(descriptor, member)
        writer.write(npy_header((self.plan.size, self.plan.size)))
        writer.write(pixels.data.cast("B"))
        return writer.finish()

    def sum_textures(self) -> None:
        """Make ``dataset.zip``, the crosses, from ``samples.zip``."""
        source = files.open_existing(self._folder / SAMPLES)
        descriptor = files.create(self._folder / DATASET)
        try:
            layout = self.plan.dataset_zip
            crcs = []
            for cross, member in zip(self.plan.crosses, layout.members, strict=True):
                writer = _MemberWriter(descriptor, member)
                per_class = cross.images_per_class(dict(self.plan.samples))
                names = dict(enumerate(cross.classes))
                pairs = self._images(source, cross, per_class)
                write_gp(writer, pairs, per_class * cross.class_count, names)
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
            for label in range(cross.class_count):
                image = np.zeros((size, size))
                chosen = cross.samples_of(label, number, per_class)
                for key, weight in zip(chosen, cross.weights, strict=True):
                    if files.read_at(source, texture.data, places[key]) < texture.nbytes:
                        raise DatasetError(f"{self._folder / SAMPLES} was cut short", "start again")
                    image += texture * weight
                yield image.astype("<f4"), label
                self._advance()

    def write_checksums(self) -> dict[str, str]:
        """Write ``archive.json`` and ``SHA256SUMS``; return the zips' SHA-256."""
        names = [SAMPLES, DATASET] if self.plan.crosses else [SAMPLES]
        sha256 = {name: _sha256(self._folder / name) for name in names}
        content = {"archive_version": VERSION, **self.plan.to_dict()}
        plan = json.dumps(content, indent=2).encode() + b"\n"
        listed = {**sha256, PLAN: hashlib.sha256(plan).hexdigest()}
        lines = "".join(f"{digest}  {name}\n" for name, digest in listed.items())
        for name, data in ((PLAN, plan), (CHECKSUMS, lines.encode())):
            files.replace_file(self._folder / name, data, self._folder)
        return sha256

    def _advance(self) -> None:
        self._done += 1
        self._tell(Progress(self._done, len(self.plan.members) + self.plan.images, "image"))


class _MemberWriter:
    """Writes a member of a zip from its beginning to its end, then its header."""

    def __init__(self, descriptor: int, member: ZipMember) -> None:
        self._descriptor = descriptor
        self._member = member
        self._written = 0
        self._crc = 0

    def write(self, data: bytes | memoryview, /) -> None:
        """Append to the member's content."""
        files.write_at(self._descriptor, data, self._member.offset + self._written)
        self._crc = zlib.crc32(data, self._crc)
        self._written += len(data)

    def finish(self) -> int:
        """Write the header, once all content is there, and return the content's CRC-32."""
        assert self._written == self._member.size  # noqa: S101 - else the zip would be broken
        files.write_at(self._descriptor, self._member.header(self._crc), self._member.start)
        return self._crc


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
