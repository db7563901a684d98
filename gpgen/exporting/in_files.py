"""Exports in one file or several: written beside their place, and renamed when all are whole."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from gpgen.dataset.samples import Samples
from gpgen.errors import Argument, TargetError
from gpgen.exporting.files import Exported
from gpgen.exporting.targets import ExportTarget
from gpgen.io import files
from gpgen.io.beside import working_folder
from gpgen.io.output_files import check_folder, check_space, free_bytes

__all__ = ["write_files"]

FILE_BYTES: Final = 500_000_000
"""Of a file, at most, where the name has ``{shard}``, unless one sample is larger."""


class Writer(Protocol):
    """What each module that writes a kind of file has."""

    MAGIC: bytes
    """With which a file begins."""

    def row_nbytes(self, samples: Samples) -> int:
        """Return about the bytes of a sample in a file."""

    def write(
        self,
        path: Path,
        samples: Samples,
        start: int,
        stop: int,
        *,
        with_split: bool,
        told: Callable[[int], None],
    ) -> None:
        """Write a file.

        Parameters
        ----------
        path
            The file, which isn't there yet.
        samples
            A dataset or a view.
        start, stop
            Positions within `samples`.
        with_split
            Whether the file says each sample's split.
        told
            Is called with the number of samples after each few.
        """


@dataclasses.dataclass(frozen=True)
class _Part:
    """One file: positions within some samples."""

    name: str
    samples: Samples
    start: int
    stop: int


def write_files(
    chosen: Samples,
    target: ExportTarget,
    *,
    shard_size: int | None,
    overwrite: bool,
    told: Callable[[int], None],
) -> Exported:
    """Write samples to the files that a target stands for.

    Parameters
    ----------
    chosen
        The samples.
    target
        Where they go.
    shard_size, overwrite
        As for `gpgen.exporting.export`.
    told
        Is called with a number of samples when so many more are written.
    """
    writer = _writer(target)
    row = writer.row_nbytes(chosen)
    parts = list(_parts(chosen, target, shard_size or max(1, FILE_BYTES // row)))
    place = target.path.parent
    check_folder(place)
    new = {part.name for part in parts}
    old = _replaceable(target, chosen.splits, new, writer.MAGIC, overwrite=overwrite)
    check_space(target.path, len(chosen) * row, free_bytes(place))
    nbytes = 0
    with working_folder(target.path, "converting") as folder:
        for part in parts:
            path = folder / part.name
            writer.write(
                path,
                part.samples,
                part.start,
                part.stop,
                with_split=not target.has("split"),
                told=told,
            )
            nbytes += path.stat().st_size
        _put_in_place(folder, place, parts, old)
    return Exported(target.path, len(chosen), len(parts), nbytes)


def _writer(target: ExportTarget) -> Writer:
    """Return what writes such files."""
    if target.form == "parquet":
        from gpgen.exporting import parquet

        return parquet
    from gpgen.exporting import npz

    return npz


def _parts(chosen: Samples, target: ExportTarget, rows: int) -> Iterator[_Part]:
    """Yield the files to be written; a split without samples gets none."""
    for name in chosen.splits if target.has("split") else [""]:
        mine = chosen.subset(split=name) if name else chosen
        step = rows if target.has("shard") else max(1, len(mine))
        for shard, start in enumerate(range(0, len(mine), step)):
            stop = min(start + step, len(mine))
            yield _Part(target.file_name(name, shard), mine, start, stop)


def _replaceable(
    target: ExportTarget, splits: tuple[str, ...], new: set[str], magic: bytes, *, overwrite: bool
) -> list[Path]:
    """Return the files of that name that are there; refuse what must not be touched."""
    folder = target.path.parent
    old: list[Path] = list(target.existing(splits))
    missed = sorted(new - {path.name for path in old})
    old += [folder / name for name in missed if os.path.lexists(folder / name)]
    if old and not overwrite:
        raise TargetError(
            f"{old[0]} exists", f"choose another {Argument.OUT}, or use {Argument.OVERWRITE}"
        )
    for path in old:
        if path.is_symlink() or not path.is_file() or not _begins(path, magic):
            raise TargetError(
                f"{path} exists and is no such file",
                f"remove it, or choose another {Argument.OUT}",
            )
    return old


def _begins(path: Path, magic: bytes) -> bool:
    """Return whether a file is empty or begins like those that are written."""
    with files.open_stream(path) as stream:
        return stream.read(len(magic)) in (magic, b"")


def _put_in_place(folder: Path, place: Path, parts: Sequence[_Part], old: list[Path]) -> None:
    """Give finished files their names, and remove those of old that no new one replaced."""
    files.sync_folder(folder)
    for part in parts:
        files.rename(folder / part.name, place / part.name)
    names = {part.name for part in parts}
    for path in old:
        if path.name not in names:
            files.remove(path)
    files.sync_folder(place)
