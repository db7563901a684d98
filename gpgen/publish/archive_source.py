"""A folder made by `gpgen archive`, to be packaged: the files of 2018 as they are."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from gpgen.errors import DatasetError, UsageError
from gpgen.publish.parts import Part
from gpgen.publish.sources import VERIFY, copy_file
from gpgen.publish.subject import Column, Subject
from gpgen.publish.tables import csv_lines

__all__ = ["PLAN", "ArchiveSource", "is_archive"]

PLAN: Final = "archive.json"
"""What `gpgen archive` was asked for; older ones lack it."""

_SAMPLES: Final = "samples.zip"
_ZIPS: Final = (_SAMPLES, "dataset.zip")
_SAMPLE: Final = re.compile(r"gp-samples/final_size-(\d+)_corr-([\d.]+)_v(\d+)\.npy")


def is_archive(path: Path) -> bool:
    """Return whether a folder is one that `gpgen archive` made."""
    return (path / _SAMPLES).is_file() and (path / "SHA256SUMS").is_file()


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
        If its files are damaged.
    UsageError
        If the pixels are to be left out and the folder doesn't say how to make them again.
    """

    def __init__(self, path: Path, recipe_only: bool) -> None:
        self._path = path
        self._sums = _read_sums(path)
        self._samples = _list_samples(path / _SAMPLES)
        plan = path / PLAN
        self._plan: dict[str, Any] | None = None
        if plan.is_file():
            self._plan = json.loads(plan.read_bytes())
        elif recipe_only:
            raise UsageError(
                f"{path} doesn't say with which seed it was made", "leave out --recipe-only"
            )
        names = [name for name in _ZIPS if name in self._sums]
        self.nbytes = 0 if recipe_only else sum((path / name).stat().st_size for name in names)
        self.subject = self._describe(recipe_only)

    def _describe(self, recipe_only: bool) -> Subject:
        size = self._samples[0][0]
        counts = Counter(scale for _, scale, _ in self._samples)
        held = ", ".join(f"{count} of {scale}" for scale, count in counts.items())
        plan = self._plan or {"size": size, "samples": dict(counts)}
        return Subject(
            name="golkar2018",
            n=len(self._samples),
            form="archive",
            shape=(size, size),
            dtype="float64",
            classes=tuple(counts),
            splits={},
            summary=(
                f"{len(self._samples)} synthetic textures of {size} x {size} pixels (float64), by "
                f"length-scale in pixels: {held}; and sums of two of them in four classes or more "
                "(float32), in the files and formats of the dataset of Golkar and Cranmer (2018)."
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
            recipe=plan,
            recipe_sha256=hashlib.sha256(_canonical(plan)).hexdigest(),
            recipe_only=recipe_only,
            from_2018=True,
        )

    @property
    def recipe_file(self) -> tuple[str, str]:
        """archive.json."""
        return PLAN, json.dumps(self.subject.recipe, indent=2) + "\n"

    def tables(self) -> Iterator[tuple[str, str, Iterable[bytes]]]:
        """Yield samples.csv."""
        rows: list[list[object]] = [[column.name for column in self.subject.columns]]
        rows += [
            [index, scale, scale, version,
             f"gp-samples/final_size-{size}_corr-{scale}_v{version}.npy"]
            for index, (size, scale, version) in enumerate(self._samples)
        ]  # fmt: skip
        yield "samples.csv", "A line for each sample: length-scale and file", [csv_lines(rows)]

    def manifest(self) -> dict[str, Any]:
        """Return the zips' checksums."""
        return {"archive": self._sums}

    def figure(self) -> bytes | None:
        """Return none."""
        return None

    def write_data(
        self, folder: Path, most_bytes: int, progress: Callable[[int], None]
    ) -> list[tuple[Part, str]]:
        """Copy the zips, checked."""
        written: list[tuple[Part, str]] = []
        for name, expected in self._sums.items():
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


def _list_samples(path: Path) -> list[tuple[int, str, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            matches = [_SAMPLE.fullmatch(name) for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} can't be read: {error}", "make it again") from error
    found = [(int(m[1]), m[2], int(m[3])) for m in matches if m]
    if not found:
        raise DatasetError(f"{path} holds no samples", "make it again with `gpgen archive`")
    return found


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
