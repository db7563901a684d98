"""What is to be exported where: checked, chosen, and handed to what writes it."""

from __future__ import annotations

from gpgen.dataset.samples import Samples
from gpgen.errors import Argument, UsageError
from gpgen.exporting.files import Exported
from gpgen.exporting.in_files import write_files
from gpgen.exporting.pictures import PICTURES, Pictures, write_pictures
from gpgen.exporting.targets import ExportTarget
from gpgen.io.failures import target_errors
from gpgen.progress import Follow, Progress, Tell, following

__all__ = ["check_options", "export"]


def export(
    chosen: Samples,
    target: ExportTarget,
    *,
    pictures: Pictures,
    shard_size: int | None,
    overwrite: bool,
    progress: Follow,
) -> Exported:
    """Write samples for other programs, each image checked against its checksum.

    The order is that of the samples; with ``{split}`` in the name, each split has files of its
    own. What was broken off is begun again.

    Parameters
    ----------
    chosen
        The samples.
    target
        Where they go.
    pictures
        For a folder of pictures: what they are.
    shard_size
        Samples a file, at most; chosen from the image's size if ``None``.
    overwrite
        Replace the files or the folder of that name; files that the new ones are too few to
        replace are removed.
    progress
        Told of samples.

    Raises
    ------
    UsageError
        If there is no sample.
    DatasetError
        If the source is damaged.
    TargetError
        If the target exists, is in use, or does not fit.
    MissingPackageError
        If the package that writes such files isn't installed.
    """
    if len(chosen) == 0:
        raise UsageError("no sample fulfils all conditions", "choose others")
    what = f"{target.path} can't be written"
    with target_errors(what, resumes=False), following(progress) as tell:
        told = _Counter(len(chosen), tell)
        if target.form == "pictures":
            return write_pictures(chosen, target.path, pictures, overwrite=overwrite, told=told)
        return write_files(chosen, target, shard_size=shard_size, overwrite=overwrite, told=told)


def check_options(
    target: ExportTarget, pictures: str | None, chunk_size: int | None, shard_size: int | None
) -> None:
    """Refuse what doesn't go with the target.

    Raises
    ------
    UsageError
        If pictures are asked for that the target doesn't hold or that there are not, chunks, or
        a number of samples a file that can't be.
    """
    if pictures is not None:
        _check_pictures(target, pictures)
    _check_sizes(target, chunk_size, shard_size)


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


def _check_pictures(target: ExportTarget, pictures: str) -> None:
    if target.form != "pictures":
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
