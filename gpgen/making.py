"""Making a dataset: from plan to commit, through any crash in between."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gpgen.cluster import connect, make_shards
from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.planning import Plan, free_bytes, plan, plan_job, worker_count
from gpgen.recipe import Recipe
from gpgen.store import files, store_for
from gpgen.store.interface import Store
from gpgen.store.job import Job, ShardRecord, read_job, resume_command, store_job
from gpgen.store.journal import Journal, count_finished

__all__ = ["Plan", "Progress", "carry_out", "make", "plan"]

_LOCK = "lock"

Finished = Callable[[list[ShardRecord]], None]
Work = Callable[[Job, int, Iterator[int], Finished], None]


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    shards_done, shards
        Finished and in all, those of earlier runs included.
    samples_done, samples
        The same in samples.
    bytes_done
        Bytes of images finished.
    elapsed
        Seconds since this run began.
    resumed_samples
        How many of the finished samples earlier runs have made.
    """

    shards_done: int
    shards: int
    samples_done: int
    samples: int
    bytes_done: int
    elapsed: float
    resumed_samples: int = 0


def make(
    recipe: Recipe | str,
    n: int,
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    processes: bool | None = None,
    resume: bool = False,
    overwrite: bool = False,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Dataset:
    """Make a dataset.

    It grows in a folder ``OUT.making`` beside the target and gets its name when it is whole.
    What decides its bytes is the recipe, `n`, the format and the two sizes; nothing else here
    does, nor where, when and how often the run was broken off and resumed.

    Parameters
    ----------
    recipe
        A recipe, the name of a built-in one, or a path.
    n
        Number of samples.
    out
        The target: ``data.zarr``, ``data.h5`` or ``data-{shard:05d}.h5``.
    workers
        Number of workers; all cores if ``None``.
    scheduler
        Address of an existing Dask scheduler, whose workers are used instead.
    processes
        Whether the workers are processes instead of threads of this one.
    resume
        Continue a run that was broken off; if there is none, begin one.
    overwrite
        Replace what is there, once the new dataset is whole.
    chunk_size, shard_size
        Samples a chunk and a shard; chosen from the image's size if ``None``.
    progress
        Called when the run begins and after each few shards.

    Returns
    -------
    Dataset
        The finished dataset, open.

    Raises
    ------
    UsageError
        If an argument can't be fulfilled.
    TargetError
        If the target exists, is in use, does not fit, or differs from what is to be resumed.
    ClusterError
        If the workers can't do it.
    """
    _check_arguments(workers, scheduler, processes, resume, overwrite)
    count = worker_count(workers)
    job = plan_job(
        recipe, n, out, chunk_size=chunk_size, shard_size=shard_size, overwrite=overwrite
    )

    def on_dask(job: Job, left: int, missing: Iterator[int], finished: Finished) -> None:
        in_process = scheduler is None and not processes
        with connect(min(count, left), scheduler, bool(processes)) as client:
            make_shards(client, job, missing, finished, in_process)

    return carry_out(job, on_dask, resume=resume, progress=progress)


def carry_out(
    job: Job,
    work: Work,
    *,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Dataset:
    """Take a job from claim to commit, through any crash in between.

    Parameters
    ----------
    job
        What is made.
    work
        ``work(job, left, missing, finished)`` makes the `missing` shards, of which there are
        `left`, and calls ``finished(records)`` with those that are safely on the disk.
    resume, progress
        As in `make`.

    Returns
    -------
    Dataset
        The finished dataset, open.
    """
    store = store_for(job.target.form)
    finished = _look(job, store, resume)
    if finished is not None:
        if job.working.exists():
            with _claim(job):  # a run that was killed at its very end left a folder to remove
                pass
        return finished
    with files.target_errors(f"{job.target.path} can't be written"), _claim(job):
        finished = _look(job, store, resume, locked=True)
        if finished is not None:
            return finished
        job = dataclasses.replace(_begin_or_resume(job, store, resume), images=job.images)
        journal = Journal(job)
        try:
            if not store.committed(job):
                _run(job, store, journal, progress, work)
                _check_still_free(job, store)
            store.commit(job, journal)
        except BaseException:
            if journal.finished == 0:
                files.remove(job.working / "job.json")  # nothing to resume: leave nothing behind
            raise
        finally:
            journal.close()
        files.remove(job.working / "job.json")
    return open_dataset(job.target.manifest)


def _check_arguments(
    workers: int | None,
    scheduler: str | None,
    processes: bool | None,
    resume: bool,
    overwrite: bool,
) -> None:
    if resume and overwrite:
        raise UsageError(
            "resume and overwrite exclude each other",
            "give --resume to continue, or --overwrite to start again",
        )
    if scheduler is not None and (workers is not None or processes is not None):
        raise UsageError(
            "a scheduler brings its own workers", "leave out --workers and --processes"
        )


def _look(job: Job, store: Store, resume: bool, *, locked: bool = False) -> Dataset | None:
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
        _check_still_free(begun, store)
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


def _check_still_free(job: Job, store: Store) -> None:
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
    descriptor = files.lock(job.working / _LOCK)
    if descriptor is None:
        raise _in_use(job)
    os.close(descriptor)


def _in_use(job: Job) -> TargetError:
    owner = "another process"
    with contextlib.suppress(OSError):
        owner = (job.working / _LOCK).read_text() or owner
    return TargetError(
        f"{job.target.path} is being made by {owner}", "wait for it, or stop it and use --resume"
    )


@contextlib.contextmanager
def _claim(job: Job) -> Iterator[None]:
    """Hold the target's lock; when nothing is left to resume, leave nothing behind."""
    files.make_folder(job.working)
    descriptor = files.lock(job.working / _LOCK)
    if descriptor is None:
        raise _in_use(job)
    try:
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
        yield
    finally:
        if not (job.working / "job.json").exists():
            files.remove_tree(job.working)
        os.close(descriptor)


def _begin_or_resume(job: Job, store: Store, resume: bool) -> Job:
    """Return the job to carry on with, its working folder ready."""
    begun = read_job(job.working) if resume else None
    if begun is not None:
        if not store.committed(begun):
            # What a killed run left half-written.
            files.remove_tree(begun.temporary)
            files.make_folder(begun.temporary)
        # The same but for what isn't stored: where an imported dataset is imported from.
        return dataclasses.replace(begun, recipe=job.recipe)
    files.remove(job.working / "job.json")
    for entry in list(os.scandir(job.working)):
        if entry.is_dir(follow_symlinks=False):
            files.remove_tree(Path(entry.path))
        elif entry.name != _LOCK:
            files.remove(Path(entry.path))
    files.make_folder(job.temporary)
    files.make_folder(job.data)
    store.begin(job)
    store_job(job)
    files.sync_folder(job.working.parent)
    return job


def _run(
    job: Job,
    store: Store,
    journal: Journal,
    progress: Callable[[Progress], None] | None,
    work: Work,
) -> None:
    """Make all shards that are not finished."""
    layout, begun = job.layout, time.monotonic()
    samples = 0
    for shard in range(layout.shards):
        if journal.is_finished(shard):
            if store.has_shard(job, journal.record(shard)):
                start, stop = layout.bounds(shard)
                samples += stop - start
            else:
                journal.forget(shard)
    resumed = samples

    def report() -> None:
        if progress is not None:
            nbytes = samples * job.recipe.image_nbytes
            elapsed = time.monotonic() - begun
            progress(
                Progress(
                    journal.finished, layout.shards, samples, layout.n, nbytes, elapsed, resumed
                )
            )

    def finished(records: list[ShardRecord]) -> None:
        nonlocal samples
        journal.add(records)
        for record in records:
            start, stop = layout.bounds(record.shard)
            samples += stop - start
        report()

    report()
    missing = (shard for shard in range(layout.shards) if not journal.is_finished(shard))
    if journal.finished == layout.shards:
        return
    try:
        work(job, layout.shards - journal.finished, missing, finished)
    except KeyboardInterrupt as error:
        error.add_note(
            f"{journal.finished} of {layout.shards} shards are done; "
            f"continue with `{resume_command(job)}`"
        )
        raise
