"""What may be done to a target: the refusals that keep existing data safe."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import Argument, DatasetError, TargetError
from gpgen.format.base import Store
from gpgen.format.job import Job
from gpgen.format.layout import SHARDED, Target
from gpgen.io.output_files import check_space
from gpgen.workspace.base import Workspace
from gpgen.workspace.journal import count_finished
from gpgen.workspace.local import LOCK
from gpgen.workspace.record import read_job, resume_command

__all__ = ["check_still_free", "how_else", "look", "target_of"]


def look(job: Job, store: Store, workspace: Workspace, *, resume: bool) -> Job | Dataset | None:
    """Refuse what must not be touched. The target is claimed, so that nothing comes between.

    Returns
    -------
    Job, Dataset or None
        The job that was begun there, if it is to be resumed or replaced; the finished dataset, if
        it is to be resumed and is the one asked for.

    Raises
    ------
    TargetError
        What stands in the way.
    """
    try:
        begun = read_job(job.working)
    except TargetError:
        if not job.overwrite:
            raise
        begun = None
    if job.overwrite:
        _check_replaceable(job, store)
    elif not resume:
        _refuse_existing(job, store, workspace, begun)
    elif begun is not None:
        differences = begun.differences(job)
        if differences:
            raise TargetError(
                f"what was begun in {job.working} differs from what is asked for: "
                + ", ".join(differences),
                f"finish it with `{resume_command(begun)}`{how_else(begun)}",
            )
        check_still_free(begun, store)
    elif store.occupied(job) is not None:
        return _finished(job, store)
    _check_space(job, store, workspace, begun if resume else None)
    return begun


def how_else(begun: Job) -> str:
    """Return how to be rid of what was begun, after what finishes it."""
    if not begun.extends:
        return f", or {begun.working.how_to_start_again()}"
    # Where the smaller dataset isn't in its place any more, only finishing leaves one.
    there = begun.target.manifest.exists()
    return f", or remove {begun.working} to keep the smaller dataset" if there else ""


def _refuse_existing(job: Job, store: Store, workspace: Workspace, begun: Job | None) -> None:
    if begun is not None:
        done = _done(begun, workspace)
        raise TargetError(
            f"{job.target.path} was begun before: {done} of {begun.layout.shards} shards are done",
            f"continue with {Argument.RESUME}{how_else(begun)}",
        )
    found = store.occupied(job)
    if found is not None:
        raise TargetError(
            f"{found} exists", f"choose another {Argument.OUT}, or {found.how_to_replace()}"
        )


def _finished(job: Job, store: Store) -> Dataset:
    """Return the finished dataset at the target, if it is the one asked for."""
    try:
        dataset = open_dataset(job.target.manifest)
    except DatasetError as error:
        raise TargetError(
            f"{store.occupied(job)} exists and can't be resumed: {error.message}",
            f"choose another {Argument.OUT}, or {job.target.path.how_to_replace()}",
        ) from error
    manifest = dataset.manifest
    there = Job(target_of(dataset), dataset.recipe, manifest.layout, roots=manifest.roots)
    differences = there.differences(job)
    if differences:
        dataset.close()
        raise TargetError(
            f"the finished dataset at {job.target.path} differs from what is asked for: "
            + ", ".join(differences),
            f"choose another {Argument.OUT}, or {job.target.path.how_to_replace()}",
        )
    return dataset


def target_of(dataset: Dataset) -> Target:
    """Return the target that a dataset was made at."""
    path, pattern = dataset.path, dataset.manifest.shard_pattern
    if pattern is not None and dataset.format in SHARDED:
        path = path.with_name(pattern)
    return Target(path, dataset.format)


def _check_replaceable(job: Job, store: Store) -> None:
    """Refuse to overwrite what never was a dataset, such as a folder of something else."""
    occupied = store.occupied(job)
    if occupied is None:
        return
    found = occupied.on_disk()
    for link in _links(job.target):
        raise TargetError(
            f"{link} is a link, and what it leads to would be left as it is",
            f"remove the link, or choose another {Argument.OUT}",
        )
    if found.is_dir():
        names = {entry.name for entry in os.scandir(found)}
        fits = not names or bool(names & {"zarr.json", ".zgroup", ".zarray"})
    else:
        fits = found.stat().st_size == 0 or _is_readable(found)
    if not fits or found.is_dir() != (job.target.form == "zarr"):
        raise TargetError(
            f"{found} exists and is not a dataset of that format",
            f"remove it, or choose another {Argument.OUT}",
        )


def _links(target: Target) -> Iterator[Path]:
    """Yield the files of a dataset in many files that are links; a single one has been followed."""
    if target.form in SHARDED:
        manifest = target.manifest.on_disk()
        for entry in sorted(os.scandir(manifest.parent), key=lambda entry: entry.name):
            own = entry.name == manifest.name or target.shard_number(entry.name) is not None
            if own and entry.is_symlink():
                yield Path(entry.path)


def _is_readable(file: Path) -> bool:
    """Return whether a file has the format that its name says, tar or HDF5."""
    if file.suffix in SHARDED["webdataset"]:
        return tarfile.is_tarfile(file)
    import h5py

    return bool(h5py.is_hdf5(file))


def check_still_free(job: Job, store: Store) -> None:
    """Refuse to replace what came to the target's place while nobody meant to."""
    if job.overwrite or store.committed(job):
        return
    found = store.occupied(job)
    if found is not None:
        raise TargetError(
            f"{found} has appeared while {job.target.path} was being made",
            f"move it away and run again with {Argument.RESUME}",
        )


def _check_space(job: Job, store: Store, workspace: Workspace, begun: Job | None) -> None:
    free = workspace.free_bytes(job.target)
    if free is None:
        return
    done = 0
    if begun is not None:
        done = min(_done(begun, workspace) * begun.layout.shard_size, begun.layout.n)
    # A killed run's unfinished files take space that is used again, or given back.
    working, linked = job.working.on_disk(), _linked(job)
    saved = max(done * job.recipe.image_nbytes, _taken(working), linked + _taken(working, own=True))
    instead = f"make fewer samples, or choose another {Argument.OUT}"
    check_space(job.target.path, store.nbytes(job) - saved, free, instead)


def _done(job: Job, workspace: Workspace) -> int:
    return count_finished(workspace.journal_lines(job), job.layout)


def _linked(job: Job) -> int:
    """Return how many bytes of what is extended need no room of their own."""
    if not job.extends or job.target.form not in ("zarr", "webdataset"):
        return 0
    with contextlib.suppress(DatasetError), open_dataset(job.target.manifest) as dataset:
        return dataset.n // job.layout.shard_size * job.layout.shard_size * job.recipe.image_nbytes
    return 0  # it is being replaced


def _taken(folder: Path, *, own: bool = False) -> int:
    """Return how many bytes the files of an unfinished dataset take on the disk.

    Parameters
    ----------
    folder
        Its working folder.
    own
        Leave out files that have another name elsewhere.
    """
    total = 0
    for root, _, names in os.walk(folder):
        for name in set(names) - {LOCK}:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(Path(root) / name)
                total += found.st_blocks * 512 if not own or found.st_nlink == 1 else 0
    return total
