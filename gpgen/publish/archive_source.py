"""A folder made by `gpgen archive`, to be packaged or shown: the files of 2018 as they are."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.description.subject import Column, Subject
from gpgen.errors import DatasetError
from gpgen.exact.texture import length_scale_name
from gpgen.golkar2018.archive import PLAN, read_plan
from gpgen.golkar2018.archive_plan import ArchivePlan, sample_name
from gpgen.golkar2018.npy_header import parse_npy_header
from gpgen.io.failures import reading
from gpgen.publish.figure import TILES_A_ROW, sheet, shown_classes
from gpgen.publish.parts import Part
from gpgen.publish.sources import VERIFY, copy_file
from gpgen.publish.tables import csv_lines

__all__ = ["ArchiveSource", "archive_subject", "is_archive"]

_SAMPLES: Final = "samples.zip"
_ZIPS: Final = (_SAMPLES, "dataset.zip")


def is_archive(path: Path) -> bool:
    """Return whether a folder is one that `gpgen archive` made."""
    return (path / _SAMPLES).is_file() and (path / "SHA256SUMS").is_file()


def archive_subject(plan: ArchivePlan, fields: dict[str, Any], *, recipe_only: bool) -> Subject:
    """Describe an archive.

    Parameters
    ----------
    plan
        What it holds.
    fields
        What its archive.json says.
    recipe_only
        Whether the pixels are left out.
    """
    names = tuple(length_scale_name(scale) for scale, _ in plan.samples)
    counts = tuple(count for _, count in plan.samples)
    held = ", ".join(f"{count} of {name}" for name, count in zip(names, counts, strict=True))
    size = f"{plan.size} x {plan.size} pixels"
    crosses = ""
    if plan.crosses:
        classes = " and ".join(str(cross.classes) for cross in plan.crosses)
        crosses = f"; and {plan.images} sums of them (float32) in {classes} classes"
    return Subject(
        name="golkar2018",
        n=sum(counts),
        form="archive",
        shape=(plan.size, plan.size),
        dtype="float64",
        classes=names,
        counts=counts,
        splits={},
        summary=(
            f"{sum(counts)} synthetic textures of {size} (float64), by length-scale in pixels: "
            f"{held}{crosses}; in the files and formats of the dataset of Golkar and Cranmer "
            "(2018)."
        ),
        methods=(
            "Drawn with gpgen from the distribution that the program of 2018 defines: a "
            "Gaussian process on a coarse grid and a spline for long length-scales, a sum of "
            "such patches at random places for short ones. Not an exact Gaussian process: the "
            "variance of the short ones fluctuates from place to place, as in 2018."
        ),
        columns=(
            Column("index", ("sc:Integer",), "The sample's place in samples.zip"),
            Column("class", ("sc:Text",), "Its length-scale, in pixels"),
            Column("length_scale_1", ("sc:Float",), "Its length-scale, in pixels"),
            Column("version", ("sc:Integer",), "Its number among those of its length-scale"),
            Column("file", ("sc:Text",), "The file within samples.zip"),
        ),
        recipe=fields,
        recipe_sha256=hashlib.sha256(_canonical(fields)).hexdigest(),
        recipe_only=recipe_only,
        from_2018=True,
    )


class ArchiveSource:
    """The two zips of 2018.

    Parameters
    ----------
    path
        The folder.
    recipe_only
        Whether to leave the pixels out.

    Raises
    ------
    DatasetError
        If its files are missing, or don't say what they are.
    """

    def __init__(self, path: Path, recipe_only: bool) -> None:
        self.plan = read_plan(path)
        self.sha256 = _read_sums(path)
        self._path = path
        self._text = (path / PLAN).read_text(encoding="utf-8")
        sizes = [(path / name).stat().st_size for name in self.sha256]
        self.nbytes = 0 if recipe_only else sum(sizes)
        self.subject = archive_subject(self.plan, json.loads(self._text), recipe_only=recipe_only)

    def indices(self, label: int) -> range:
        """Return which samples a class has."""
        start = sum(self.subject.counts[:label])
        return range(start, start + self.subject.counts[label])

    def read(self, indices: Sequence[int]) -> npt.NDArray[np.float64]:
        """Read samples, shape (sample, y, x).

        Raises
        ------
        DatasetError
            If one is missing or damaged.
        """
        images = np.empty((len(indices), *self.subject.shape))
        samples = self._path / _SAMPLES
        try:
            with reading(samples), samples.open("rb") as s, zipfile.ZipFile(s) as archive:
                for image, index in zip(images, indices, strict=True):
                    name = sample_name(self.plan.size, *self.plan.members[index])
                    data = archive.read(name)  # which compares its CRC-32
                    header = parse_npy_header(data[:512], name)
                    pixels = np.frombuffer(data, header.dtype, offset=header.offset)
                    image[...] = pixels.reshape(header.shape)
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{samples} is damaged: {error}", VERIFY) from error
        return images

    @property
    def recipe_file(self) -> tuple[str, str]:
        """archive.json."""
        return PLAN, self._text

    def tables(self) -> Iterator[tuple[str, str, Iterable[bytes]]]:
        """Yield samples.csv."""
        rows: list[list[object]] = [[column.name for column in self.subject.columns]]
        for index, (scale, number) in enumerate(self.plan.members):
            name = length_scale_name(scale)
            file = sample_name(self.plan.size, scale, number)
            rows.append([index, name, name, number + 1, file])
        yield "samples.csv", "A line for each sample: length-scale and file", [csv_lines(rows)]

    def manifest(self) -> dict[str, Any]:
        """Return the zips' checksums."""
        return {"archive": self.sha256}

    def figure(self) -> bytes:
        """Return a contact sheet."""
        names, shown = self.subject.classes, shown_classes(len(self.subject.classes))
        rows = [list(self.read(self.indices(label)[:TILES_A_ROW])) for label in shown]
        return sheet([names[label] for label in shown], rows)

    def write_data(
        self, folder: Path, most_bytes: int, progress: Callable[[int], None]
    ) -> list[tuple[Part, str]]:
        """Copy the zips, checked."""
        written: list[tuple[Part, str]] = []
        for name, expected in self.sha256.items():
            path = self._path / name
            if self.subject.recipe_only:
                digest = _sha256(path)
            else:
                parts = copy_file(path, folder, name, most_bytes, progress)
                digest = parts[0].sha256 if len(parts) == 1 else _sha256(path)
                what = "The samples" if name == _SAMPLES else "Their sums, with labels"
                written += [(part, f"{what}, as in 2018") for part in parts]
            if digest != expected:
                raise DatasetError(f"{path} is damaged: its SHA-256 is another", VERIFY)
        return written


def _read_sums(path: Path) -> dict[str, str]:
    sums = {}
    for line in (path / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if name in _ZIPS:
            sums[name] = digest
    missing = [name for name in sums if not (path / name).is_file()]
    if missing or _SAMPLES not in sums:
        raise DatasetError(f"{path / (missing or [_SAMPLES])[0]} is missing", "make it again")
    return sums


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha256(path: Path) -> str:
    with reading(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
