"""A folder made by `gpgen archive`, to be packaged: the files of 2018 as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gpgen.contact_sheet.content import ContactSheet
from gpgen.contact_sheet.png import sheet_png
from gpgen.description.archive_description import describe_archive
from gpgen.errors import DatasetError
from gpgen.exact.texture import length_scale_name
from gpgen.golkar2018.archive import PLAN, SAMPLES
from gpgen.golkar2018.archive_plan import sample_name
from gpgen.golkar2018.archive_reading import ArchiveReader
from gpgen.publish.deposit import hash_file
from gpgen.publish.part_writer import Part
from gpgen.publish.sources import VERIFY, copy_file
from gpgen.publish.tables import csv_lines

__all__ = ["ArchiveSource"]


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
        self._archive = archive = ArchiveReader(path)
        sizes = [(path / name).stat().st_size for name in archive.sha256]
        self.nbytes = 0 if recipe_only else sum(sizes)
        self.description = describe_archive(archive.plan, archive.fields, recipe_only=recipe_only)

    @property
    def recipe_file(self) -> tuple[str, str]:
        """archive.json."""
        return PLAN, self._archive.plan_text

    def tables(self) -> Iterator[tuple[str, str, Iterable[bytes]]]:
        """Yield samples.csv."""
        plan = self._archive.plan
        rows: list[list[object]] = [[column.name for column in self.description.columns]]
        for index, (scale, number) in enumerate(plan.members):
            name = length_scale_name(scale)
            rows.append([index, name, name, number + 1, sample_name(plan.size, scale, number)])
        yield "samples.csv", "A line for each sample: length-scale and file", [csv_lines(rows)]

    def manifest(self) -> dict[str, Any]:
        """Return the zips' checksums."""
        return {"archive": self._archive.sha256}

    def figure(self, classes: Sequence[str]) -> bytes:
        """Return a contact sheet."""
        archive = self._archive
        sheet = ContactSheet.read(
            archive.classes, archive.labels, len(archive), archive.read, classes=classes
        )
        return sheet_png(sheet)

    def write_data(
        self, folder: Path, most_bytes: int, progress: Callable[[int], None]
    ) -> list[tuple[Part, str]]:
        """Copy the zips, checked."""
        written: list[tuple[Part, str]] = []
        for name, expected in self._archive.sha256.items():
            path = self._archive.path / name
            parts = []
            if not self.description.recipe_only:
                parts = copy_file(path, folder, name, most_bytes, progress)
                what = "The samples" if name == SAMPLES else "Their sums, with labels"
                written += [(part, f"{what}, as in 2018") for part in parts]
            digest = parts[0].sha256 if len(parts) == 1 else hash_file(path)[1]
            if digest != expected:
                raise DatasetError(f"{path} is damaged: its SHA-256 is another", VERIFY)
        return written
