"""From what the user calls a dataset to its manifest; refusing what is unfinished."""

from __future__ import annotations

from pathlib import Path

from gpgen.errors import DatasetError, GpgenError, TargetError, UsageError
from gpgen.objects import ObjectPath
from gpgen.paths import followed
from gpgen.recognizing import DATASET, NO_DATASET, no_dataset, refused
from gpgen.store.failures import unreadable
from gpgen.store.job import read_job, resume_command
from gpgen.store.journal import count_finished
from gpgen.store.layout import SHARDED, Format, Target
from gpgen.store.litter import is_litter
from gpgen.store.where import AnyPath, Given, local_path, place_of, site_of

__all__ = ["find", "hdf5_form", "is_begun", "locate", "made_at", "unfinished"]

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
    return place, form or hdf5_form(local_path(place))


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
        place = _manifest_in(local_path(place), asked)
    if place.exists():
        error = refused(place, DATASET, NO_DATASET)
        if error is None and isinstance(place, ObjectPath):
            error = DatasetError(f"{place} is not {DATASET}", NO_DATASET)
        if error is not None:
            raise error
        return local_path(place), None
    error = unfinished(place) or unfinished(made_at(place)) or refused(asked, DATASET, NO_DATASET)
    if error is not None:
        raise error
    if made_at(place) != place:
        raise DatasetError(
            f"the link {place} leads to {made_at(place)}, where nothing is", "correct the link"
        )
    raise DatasetError(f"there is no dataset at {asked}", "make it with `gpgen make`")


def made_at(target: AnyPath) -> AnyPath:
    """Return where a dataset is made that is asked for at a path: where a link leads, if it is one.

    Raises
    ------
    UsageError
        If the link leads in a circle.
    """
    return target if isinstance(target, ObjectPath) else followed(target)


def _target(path: AnyPath) -> Target | None:
    try:
        return Target.parse(path)
    except UsageError:
        return None


def is_begun(out: Given) -> bool:
    """Return whether there is something to resume at a target, a dataset's or an archive's."""
    place = made_at(place_of(out))
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
    done = count_finished(site_of(working).journal_lines(job), job.layout)
    return DatasetError(
        f"{job.target.path} is unfinished: {done} of {job.layout.shards} shards are done",
        f"finish it with `{resume_command(job)}`",
    )


def _manifest_in(folder: Path, asked: AnyPath) -> Path:
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


def hdf5_form(path: Path) -> Format:
    """Return which kind of HDF5 dataset a file says it is."""
    from gpgen.store.hdf5_file import read_hdf5

    attributes, _ = read_hdf5(path)
    if attributes.get("format") == "gpgen-shard":
        raise DatasetError(
            f"{path} is one shard of a dataset", "open the manifest, their folder or their pattern"
        )
    pattern = attributes.get("shard_pattern")
    if pattern is None:
        return "hdf5"
    return "webdataset" if str(pattern).endswith(SHARDED["webdataset"]) else "hdf5-shards"
