"""What may be done to a target: the refusals that keep existing data safe."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import DatasetError, TargetError
from gpgen.planning import free_bytes
from gpgen.store import files
from gpgen.store.interface import Store
from gpgen.store.job import Job, read_job, resume_command
from gpgen.store.journal import count_finished

__all__ = ["LOCK", "check_still_free", "in_use", "look"]

LOCK = "lock"


def look(job: Job, store: Store, resume: bool, *, locked: bool = False) -> Dataset | None:
    """Refuse what must not be touched; return the dataset if it is finished already."""
    working = job.working
    begun = None if job.overwrite and not locked else _begun(job, tolerate=job.overwrite)
    if not locked and working.exists():
        _check_not_running(job)
    if job.overwrite:
        _check_replaceable(job, store)
    elif resume and begun is not None:
        differences = begun.differences(job)
        if differences:
            raise TargetError(
                f"what was begun in {working} differs from what is asked for: "
                + ", ".join(differences),
                f"finish it with `{resume_command(begun)}`, or start again with --overwrite",
            )
        check_still_free(begun, store)
    elif resume:
        if store.occupied(job) is not None:
            return _finished(job, store)
    else:
        _refuse_existing(job, store, begun)
    if not locked:
        _check_space(begun or job, store)
    return None


def _begun(job: Job, tolerate: bool) -> Job | None:
    try:
        return read_job(job.working)
    except TargetError:
        if tolerate:
            return None
        raise


def _refuse_existing(job: Job, store: Store, begun: Job | None) -> None:
    if begun is not None:
        done = count_finished(job.working / "journal.jsonl", begun.layout)
        raise TargetError(
            f"{job.target.path} was begun before: {done} of {begun.layout.shards} shards are done",
            "continue with --resume, or start again with --overwrite",
        )
    found = store.occupied(job)
    if found is not None:
        raise TargetError(f"{found} exists", "choose another --out, or replace it with --overwrite")


def _finished(job: Job, store: Store) -> Dataset:
    """Return the finished dataset at the target, if it is the one asked for."""
    try:
        dataset = open_dataset(job.target.manifest)
    except DatasetError as error:
        raise TargetError(
            f"{store.occupied(job)} exists and can't be resumed: {error.message}",
            "choose another --out, or replace it with --overwrite",
        ) from error
    there = dataclasses.replace(job, recipe=dataset.recipe, layout=dataset.manifest.layout)
    differences = there.differences(job)
    if differences:
        dataset.close()
        raise TargetError(
            f"the finished dataset at {job.target.path} differs from what is asked for: "
            + ", ".join(differences),
            "choose another --out, or replace it with --overwrite",
        )
    return dataset


def _check_replaceable(job: Job, store: Store) -> None:
    """Refuse to overwrite what never was a dataset, such as a folder of something else."""
    found = store.occupied(job)
    if found is None:
        return
    if found.is_dir():
        names = {entry.name for entry in os.scandir(found)}
        fits = not names or bool(names & {"zarr.json", ".zgroup", ".zarray"})
    else:
        import h5py

        fits = found.stat().st_size == 0 or h5py.is_hdf5(found)
    if not fits or found.is_dir() != (job.target.form == "zarr"):
        raise TargetError(
            f"{found} exists and is not a dataset of that format",
            "remove it, or choose another --out",
        )


def check_still_free(job: Job, store: Store) -> None:
    """Refuse to replace what came to the target's place while nobody meant to."""
    if job.overwrite or store.committed(job):
        return
    found = store.occupied(job)
    if found is not None:
        raise TargetError(
            f"{found} has appeared while {job.target.path} was being made",
            "move it away and run again with --resume",
        )


def _check_space(job: Job, store: Store) -> None:
    needed = store.nbytes(job)
    done = count_finished(job.working / "journal.jsonl", job.layout)
    needed -= min(done * job.layout.shard_size, job.layout.n) * job.recipe.image_nbytes
    free = free_bytes(job.target.path.parent)
    if needed > free:
        raise TargetError(
            f"{job.target.path} needs {needed / 1e9:.2f} GB more and "
            f"{job.target.path.parent} has {free / 1e9:.2f} GB free",
            "free some space, make fewer samples, or choose another --out",
        )


def _check_not_running(job: Job) -> None:
    descriptor = files.lock(job.working / LOCK)
    if descriptor is None:
        raise in_use(job)
    os.close(descriptor)


def in_use(job: Job) -> TargetError:
    """Return the error that says who is making the target."""
    owner = "another process"
    with contextlib.suppress(OSError):
        owner = (job.working / LOCK).read_text() or owner
    return TargetError(
        f"{job.target.path} is being made by {owner}", "wait for it, or stop it and use --resume"
    )
