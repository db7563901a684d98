"""What kind of export a name asks for, and which files it stands for."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from typing import Final, Literal

from gpgen.errors import UsageError
from gpgen.io.http_path import HttpPath
from gpgen.io.local_path import LocalPath
from gpgen.io.object_path import ObjectPath
from gpgen.io.paths import Given
from gpgen.io.user_paths import target_of, text_of

__all__ = ["ExportForm", "ExportTarget"]

ExportForm = Literal["parquet", "npz", "pictures"]

_SUFFIXES: Final[dict[str, ExportForm]] = {".parquet": "parquet", ".npz": "npz"}
_OF_DATASETS: Final = (".zarr", ".h5", ".hdf5", ".tar")
_FIELD: Final = re.compile(r"\{(split|shard)(?::0?(\d{1,2})d?)?\}")
_FORMS: Final = (
    "name it like '{split}-{shard:05d}.parquet', 'data-{shard:05d}.parquet' or data.parquet"
)


@dataclasses.dataclass(frozen=True)
class ExportTarget:
    """Where an export goes.

    Parameters
    ----------
    path
        Absolute path of a file, with the fields ``{split}`` and ``{shard:05d}`` still in its name,
        or of a folder of pictures.
    form
        The kind of files.
    """

    path: LocalPath
    form: ExportForm

    @classmethod
    def parse(cls, out: Given) -> ExportTarget | None:
        """Return the target that a name stands for; ``None`` if it is no export's.

        Raises
        ------
        UsageError
            If it is on an object store, its fields can't be, or nothing tells its format.
        """
        text = str(out) if isinstance(out, ObjectPath | HttpPath) else text_of(out)
        suffix = os.path.splitext(text.rstrip("/"))[1].lower()  # noqa: PTH122 - of an address too
        form = _SUFFIXES.get(suffix)
        if text.endswith("/") and suffix not in _OF_DATASETS:
            form = "pictures"
        if form is None and not suffix and "{" not in text and "://" not in text:
            raise UsageError(
                f"no format belongs to the target {text!r}",
                "name it like data.zarr, or for a folder of pictures like pictures/",
            )
        if form is None:
            return None
        if "://" in text:
            raise UsageError(
                f"{text!r} is on an object store, and exports are written to a disk",
                "choose a path here, and upload the files with the store's own tool",
            )
        path = target_of(text)
        if form == "pictures":
            return cls(path, form)
        fields = [field for field, _ in _FIELD.findall(path.name)]
        left = _FIELD.sub("", path.name)
        if "{" in left or "}" in left or "{" in str(path.parent) or len(set(fields)) < len(fields):
            raise UsageError(
                f"{text!r} may have one field {{split}} and one {{shard}}, in the file's name",
                _FORMS,
            )
        return cls(path, form)

    def has(self, field: str) -> bool:
        """Return whether the name has the field "split" or "shard"."""
        return any(found == field for found, _ in _FIELD.findall(self.path.name))

    def file_name(self, split: str, shard: int) -> str:
        """Return the name of one file."""

        def value(match: re.Match[str]) -> str:
            if match[1] == "split":
                return split
            return f"{shard:0{int(match[2] or 1)}d}"

        return _FIELD.sub(value, self.path.name)

    def existing(self, splits: tuple[str, ...]) -> Iterator[LocalPath]:
        """Yield the files that are there under this target's names, sorted.

        Parameters
        ----------
        splits
            The splits' names.
        """
        choice = "|".join(map(re.escape, splits))
        parts = [re.escape(part) for part in _FIELD.split(self.path.name)[::3]]
        values = [
            rf"({choice})" if f == "split" else r"\d+" for f, _ in _FIELD.findall(self.path.name)
        ]
        pattern = re.compile("".join(a + b for a, b in zip(parts, [*values, ""], strict=True)))
        names = sorted(entry.name for entry in os.scandir(self.path.parent))
        yield from (self.path.with_name(name) for name in names if pattern.fullmatch(name))
