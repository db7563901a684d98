"""What is to be exported where: checked, chosen, and handed to what writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from gpgen.dataset import Dataset, open_dataset
from gpgen.dataset.samples import Samples
from gpgen.errors import Argument, UsageError
from gpgen.exporting.files import Exported
from gpgen.exporting.in_files import write_files
from gpgen.exporting.pictures import PICTURES, Pictures, write_pictures
from gpgen.exporting.targets import ExportTarget
from gpgen.io.failures import target_errors
from gpgen.io.paths import Given
from gpgen.progress import Follow, Progress, Tell, following

__all__ = ["export"]


def export(
    source: Given,
    out: Given,
    *,
    n: int | None = None,
    split: str | None = None,
    classes: str | int | Sequence[str | int] | None = None,
    samples: slice | Sequence[int] | npt.NDArray[Any] | None = None,
    pictures: Pictures | None = None,
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
    n
        Only the first n samples are written, or chosen from; all if ``None``.
    split, classes, samples
        As for `Dataset.subset`; all if ``None``.
    pictures
        For a folder of pictures: "png16" (if ``None``) and "png8" are grey PNG of so many bits,
        "npy" the pixels as they are.
    resume
        Allowed, but there is nothing to resume: what was broken off is begun again.
    overwrite
        Replace the files or the folder of that name; files that the new ones are too few to
        replace are removed.
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
    if pictures is not None:
        _check_pictures(target, pictures)
    choosing = split is not None or classes is not None or samples is not None
    if target is None:
        if choosing:
            raise UsageError(
                f"{str(out)!r} would be a dataset, whose samples follow from their index",
                "leave out split, classes and samples, or write Parquet, .npz or pictures",
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
        if n is not None:
            _check_n(n, dataset)
            if n < dataset.n:
                chosen = dataset[:n]
        if choosing:
            chosen = chosen.subset(samples, classes=classes, split=split)
        if len(chosen) == 0:
            raise UsageError("no sample fulfils all conditions", "choose others")
        what = f"{target.path} can't be written"
        with target_errors(what, resumes=False), following(progress) as tell:
            told = _Counter(len(chosen), tell)
            if target.form == "pictures":
                return write_pictures(
                    chosen, target.path, pictures or "png16", overwrite=overwrite, told=told
                )
            return write_files(
                chosen, target, shard_size=shard_size, overwrite=overwrite, told=told
            )


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


def _check_n(n: int, dataset: Dataset) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"n is {n!r}", "ask for 1 sample or more")
    if n > dataset.n:
        raise UsageError(
            f"n is {n}, and {dataset.path} has {dataset.n} samples", f"leave out {Argument.N}"
        )


def _check_pictures(target: ExportTarget | None, pictures: str) -> None:
    if target is None or target.form != "pictures":
        raise UsageError(
            f"pictures is {pictures!r}, but the target is no folder of pictures",
            f"leave out {Argument.PICTURES}, or write to a folder: 'pictures/'",
        )
    if pictures not in PICTURES:
        raise UsageError(f"pictures is {pictures!r}", f"use one of {', '.join(PICTURES)}")


class _Counter:
    """Tells how many samples are written."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._done, self._total, self._tell = 0, total, tell
        self(0)

    def __call__(self, count: int) -> None:
        self._done += count
        self._tell(Progress(self._done, self._total, "sample"))
