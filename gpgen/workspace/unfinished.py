"""From what the user calls a dataset to its manifest; refusing what is unfinished."""

from __future__ import annotations

from gpgen.errors import DatasetError, GpgenError, TargetError, UsageError
from gpgen.format.layout import SHARDED, Format, Target
from gpgen.io.failures import unreadable
from gpgen.io.http_path import HttpPath
from gpgen.io.litter import is_litter
from gpgen.io.local_path import LocalPath
from gpgen.io.paths import AnyPath, Given, place_of
from gpgen.io.recognizing import DATASET, NO_DATASET, no_dataset, refused
from gpgen.workspace import workspace_of
from gpgen.workspace.journal import count_finished
from gpgen.workspace.record import read_job, resume_command

__all__ = ["find", "hdf5_form", "is_begun", "locate", "unfinished"]

_MAKING = ".making"
_SUFFIXES = (".h5", ".hdf5")
_ZIP = ".zarr.zip"


def find(path: Given) -> tuple[AnyPath, Format]:
    """Return a dataset's manifest and format.

    Raises
    ------
    DatasetError
        If there is no finished dataset.
    """
    place, form = locate(path)
    return place, form or hdf5_form(place.on_disk())


def locate(path: Given) -> tuple[AnyPath, Format | None]:
    """Return a dataset's manifest, and its format unless only the file can tell."""
    place = place_of(path)
    try:
        return _locate(place)
    except OSError as error:
        if isinstance(error, GpgenError):
            raise
        raise unreadable(place, error) from error


def _locate(place: AnyPath) -> tuple[AnyPath, Format | None]:
    asked = place
    if place.suffix == _MAKING:
        place = place.with_name(place.name.removesuffix(_MAKING))
    target = _target(place)
    if target is not None:
        place = target.manifest
    if (place / "zarr.json").exists() or (place.name.endswith(_ZIP) and place.exists()):
        return place, "zarr"
    if place.is_dir():
        place = _manifest_in(place.on_disk(), asked)
    if place.exists():
        error = refused(place, DATASET, NO_DATASET)
        if error is None and place.is_remote:
            error = DatasetError(f"{place} is not {DATASET}", NO_DATASET)
        if error is not None:
            raise error
        return place.on_disk(), None
    error = unfinished(place) or unfinished(place.followed()) or refused(asked, DATASET, NO_DATASET)
    if error is not None:
        raise error
    if place.followed() != place:
        raise DatasetError(
            f"the link {place} leads to {place.followed()}, where nothing is", "correct the link"
        )
    hint = "check the address" if isinstance(asked, HttpPath) else "make it with `gpgen make`"
    raise DatasetError(f"there is no dataset at {asked}", hint)


def _target(path: AnyPath) -> Target | None:
    try:
        return Target.parse(path)
    except UsageError:
        return None


def is_begun(out: Given) -> bool:
    """Return whether there is something to resume at a target, a dataset's or an archive's."""
    place = place_of(out).followed()
    target = _target(place)
    return (_working(place if target is None else target.manifest) / "job.json").exists()


def _working(manifest: AnyPath) -> AnyPath:
    return manifest.with_name(manifest.name + _MAKING)


def unfinished(manifest: AnyPath) -> DatasetError | None:
    """Return the error that says how far an unfinished dataset is, if there is one."""
    working = _working(manifest)
    if not (working / "job.json").exists():
        return None
    try:
        job = read_job(working)
    except TargetError as error:
        return DatasetError(f"{manifest} is unfinished: {error.message}", error.hint)
    if job is None:
        return None
    done = count_finished(workspace_of(working).journal_lines(job), job.layout)
    return DatasetError(
        f"{job.target.path} is unfinished: {done} of {job.layout.shards} shards are done",
        f"finish it with `{resume_command(job)}`",
    )


def _manifest_in(folder: LocalPath, asked: AnyPath) -> LocalPath:
    """Return the one manifest of HDF5 shards in a folder, which may be another than was asked for.

    Raises
    ------
    DatasetError
        If there is none, or there are several.
    """
    names = sorted(
        p
        for p in folder.iterdir()
        if "manifest" in p.name and p.suffix in _SUFFIXES and not is_litter(p.name)
    )
    if len(names) == 1:
        return names[0]
    if names:
        raise DatasetError(
            f"{folder} holds {len(names)} datasets",
            f"open one of {', '.join(p.name for p in names)}",
        )
    for working in sorted(folder.glob(f"*manifest*{_MAKING}")):
        error = unfinished(working.with_name(working.name.removesuffix(_MAKING)))
        if error is not None:
            raise error
    raise no_dataset(asked)


def hdf5_form(path: LocalPath) -> Format:
    """Return which kind of HDF5 dataset a file says it is."""
    from gpgen.format.hdf5_file import read_hdf5

    attributes, _ = read_hdf5(path)
    if attributes.get("format") == "gpgen-shard":
        raise DatasetError(
            f"{path} is one shard of a dataset", "open the manifest, their folder or their pattern"
        )
    pattern = attributes.get("shard_pattern")
    if pattern is None:
        return "hdf5"
    return "webdataset" if str(pattern).endswith(SHARDED["webdataset"]) else "hdf5-shards"
