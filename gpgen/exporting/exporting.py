"""Writing an export: beside its place, and renamed when all of it is whole."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gpgen.dataset import open_dataset
from gpgen.dataset.samples import Samples
from gpgen.errors import Argument, TargetError, UsageError
from gpgen.exporting.targets import ExportTarget
from gpgen.io import files
from gpgen.io.beside import working_folder
from gpgen.io.failures import target_errors
from gpgen.io.output_files import check_folder, check_space, free_bytes
from gpgen.io.paths import Given
from gpgen.progress import Follow, Progress, following

__all__ = ["Exported", "export"]


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path
        The file, the folder, or the files' pattern.
    n
        Number of samples.
    files
        Number of files.
    nbytes
        Their bytes.
    """

    path: Path
    n: int
    files: int
    nbytes: int


@dataclasses.dataclass(frozen=True)
class _Part:
    """One file: positions within some samples."""

    name: str
    samples: Samples
    start: int
    stop: int


def export(
    source: Given,
    out: Given,
    *,
    split: str | None = None,
    classes: str | int | Sequence[str | int] | None = None,
    samples: slice | Sequence[int] | npt.NDArray[Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    progress: Follow = None,
) -> Exported | None:
    """Write samples for other programs, each image checked against its checksum.

    The order is that of the indices, or of `samples`; with ``{split}`` in the name, each split has
    files of its own.

    Parameters
    ----------
    source
        The dataset: whatever `open_dataset` opens.
    out
        The target.
    split, classes, samples
        As for `Dataset.subset`; all if ``None``.
    resume
        Allowed, but there is nothing to resume: what was broken off is begun again.
    overwrite
        Replace the files of that name, and remove those that the new ones are too few to replace.
    chunk_size
        ``None``: there are no chunks.
    shard_size
        Samples a file, at most, if the name has ``{shard}``; chosen from the image's size if
        ``None``.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress` of samples.

    Returns
    -------
    Exported or None
        ``None`` if the target is a dataset's, and nothing was written.

    Raises
    ------
    UsageError
        If an argument can't be fulfilled, or no sample fulfils all conditions.
    DatasetError
        If the source is missing, unfinished or damaged.
    TargetError
        If the target exists, is in use, or does not fit.
    MissingPackageError
        If the package that writes such files isn't installed.
    """
    target = ExportTarget.parse(out)
    choosing = split is not None or classes is not None or samples is not None
    if target is None:
        if choosing:
            raise UsageError(
                f"{str(out)!r} would be a dataset, whose samples follow from their index",
                "leave out split, classes and samples, or write Parquet files of those chosen",
            )
        return None
    if resume and overwrite:
        raise UsageError(
            "resume and overwrite exclude each other",
            f"give {Argument.RESUME} to continue, or {Argument.OVERWRITE} to start again",
        )
    _check_sizes(target, chunk_size, shard_size)
    with open_dataset(source) as dataset:
        chosen: Samples = dataset
        if choosing:
            chosen = dataset.subset(samples, classes=classes, split=split)
        if len(chosen) == 0:
            raise UsageError("no sample fulfils all conditions", "choose others")
        return _write(chosen, target, shard_size, overwrite, progress)


def _check_sizes(target: ExportTarget, chunk_size: int | None, shard_size: int | None) -> None:
    if chunk_size is not None:
        raise UsageError(
            f"chunk_size is {chunk_size}, but only Zarr stores images in chunks",
            f"leave out {Argument.CHUNK_SIZE}, or write to a .zarr target",
        )
    if shard_size is None:
        return
    if isinstance(shard_size, bool) or not isinstance(shard_size, int) or shard_size < 1:
        raise UsageError(
            f"shard_size is {shard_size!r}", "give shard_size as a number of samples, 1 or more"
        )
    if not target.has("shard"):
        raise UsageError(
            f"shard_size is {shard_size}, but {target.path.name} has no field {{shard}}",
            f"leave out {Argument.SHARD_SIZE}, or put {{shard:05d}} into the file's name",
        )


def _write(
    chosen: Samples,
    target: ExportTarget,
    shard_size: int | None,
    overwrite: bool,
    progress: Follow,
) -> Exported:
    from gpgen.exporting import parquet

    row = parquet.row_nbytes(chosen)
    parts = list(_parts(chosen, target, shard_size or max(1, parquet.FILE_BYTES // row)))
    place = target.path.parent
    check_folder(place)
    old = _replaceable(target, chosen.splits, {part.name for part in parts}, overwrite=overwrite)
    check_space(target.path, len(chosen) * row, free_bytes(place))
    done = nbytes = 0
    with (
        target_errors(str(target.path)),
        working_folder(target.path, "converting") as folder,
        following(progress) as tell,
    ):

        def told(count: int) -> None:
            nonlocal done
            done += count
            tell(Progress(done, len(chosen), "sample"))

        told(0)
        for part in parts:
            path = folder / part.name
            parquet.write_parquet(
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


def _parts(chosen: Samples, target: ExportTarget, rows: int) -> Iterator[_Part]:
    """Yield the files to be written; a split without samples gets none."""
    for name in chosen.splits if target.has("split") else [""]:
        mine = chosen.subset(split=name) if name else chosen
        step = rows if target.has("shard") else max(1, len(mine))
        for shard, start in enumerate(range(0, len(mine), step)):
            stop = min(start + step, len(mine))
            yield _Part(target.file_name(name, shard), mine, start, stop)


def _replaceable(
    target: ExportTarget, splits: tuple[str, ...], new: set[str], *, overwrite: bool
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
        if path.is_symlink() or not path.is_file() or not _is_parquet(path):
            raise TargetError(
                f"{path} exists and is not a Parquet file",
                f"remove it, or choose another {Argument.OUT}",
            )
    return old


def _is_parquet(path: Path) -> bool:
    with files.open_stream(path) as stream:
        head = stream.read(4)
    return head in (b"PAR1", b"")


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
