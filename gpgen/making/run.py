"""Making a dataset: from plan to commit, through any crash in between."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator

from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import Argument, UsageError
from gpgen.format import store_for
from gpgen.format.base import Store
from gpgen.format.job import Job, ShardRecord
from gpgen.io.failures import target_errors
from gpgen.io.paths import Given
from gpgen.making.cluster import Scheduler, Security, connect
from gpgen.making.dispatch import ClockSetBackError, make_shards
from gpgen.making.growing import Reused
from gpgen.making.in_threads import Lane, make_in_threads
from gpgen.making.planning import Plan, plan, plan_job
from gpgen.making.taking import take
from gpgen.making.targets import check_still_free, look
from gpgen.making.worker_processes import worker_processes
from gpgen.progress import Follow, Progress, Tell, following
from gpgen.recipe import AnyRecipe, Recipe
from gpgen.recipe_warnings import warn_about
from gpgen.workers import worker_count
from gpgen.workspace import workspace_of
from gpgen.workspace.journal import Journal
from gpgen.workspace.record import resume_command

__all__ = ["Plan", "carry_out", "check_again", "make", "plan"]

Finished = Callable[[list[ShardRecord]], None]
Work = Callable[[Job, int, Iterator[int], Finished], None]


def make(
    recipe: AnyRecipe,
    n: int,
    out: Given,
    *,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    security: Security | None = None,
    processes: bool | None = None,
    resume: bool = False,
    overwrite: bool = False,
    extend: bool = False,
    reuse: Given | None = None,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    progress: Follow = None,
) -> Dataset:
    """Make a dataset.

    It grows in a folder ``OUT.making`` beside the target and gets its name when it is whole. (On
    an object store, which can't rename, all but what makes it a dataset grows in its place.)
    What decides its bytes is the recipe, `n`, the format and the two sizes; nothing else here
    does, nor where, when and how often the run was broken off and resumed.

    Parameters
    ----------
    recipe
        A recipe, the name of a built-in one, a path, or a dict of its fields.
    n
        Number of samples.
    out
        The target: ``data.zarr``, ``data.h5``, ``data-{shard:05d}.h5`` or, on an object store,
        ``s3://bucket/data.zarr``.
    workers
        Number of workers; all cores if ``None``.
    scheduler
        An existing Dask cluster, whose workers are used instead: its scheduler's address or
        file (``scheduler.json``), or a `distributed.Client` or `Cluster`.
    security
        A `distributed.Security` (or a dict of its arguments) with the certificates of a cluster
        that uses TLS, if neither `scheduler` nor Dask's configuration has them.
    processes
        Whether the workers are processes instead of threads of this one.
    resume
        Continue a run that was broken off; if there is none, begin one. Tar files, which are
        exported in one go, are begun again.
    overwrite
        Replace what is there, once the new dataset is whole.
    extend
        Make the dataset that is there larger. Its samples are taken over, the rest is drawn; it
        stays as it is until the larger one is whole. The bytes are those of `make` with its sizes
        of chunks and shards.
    reuse
        Another dataset of fewer samples of the same recipe, in any format, whose samples are taken
        over in the same way.
    chunk_size, shard_size
        Samples a chunk and a shard; if ``None``, those of what is extended or reused, if it has the
        same format, else chosen from the image's size.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress` of samples when the run
        begins and after each few shards.

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
    DatasetError
        If what is extended or reused is no dataset, was drawn otherwise, is damaged beside its
        images, or is replaced meanwhile.
    ClusterError
        If the workers can't do it.
    StorageError
        If an object store doesn't answer or refuses.

    Warns
    -----
    RecipeWarning
        Of what is allowed and yet seldom meant: one class only, a split without samples, a
        length-scale longer than the image. `Plan.warnings` has the same.
    DatasetWarning
        Of damaged shards of what is extended or reused: what is damaged is drawn again.
    """
    _check_arguments(workers, scheduler, security, processes)
    count = worker_count(workers)
    recipe = Recipe.load(recipe)
    reused = Reused.find(out, extend=extend, reuse=reuse)
    if reused is not None:
        resume, overwrite = reused.mode(n, resume=resume, overwrite=overwrite)
    job = plan_job(
        recipe,
        n,
        out,
        chunk_size=chunk_size,
        shard_size=shard_size,
        overwrite=overwrite,
        reused=reused,
    )
    warn_about(recipe, n)

    def work(job: Job, left: int, missing: Iterator[int], finished: Finished) -> None:
        if reused is not None and reused.dataset is not None:
            here = scheduler is None and not processes
            options = (reused.dataset, job, min(count, left), missing, finished)
            missing = take(*options, all_shards=here)
            first = next(missing, None)
            if first is None:
                return
            missing = itertools.chain([first], missing)
        if scheduler is None and not processes:
            make_in_threads(job, min(count, left), [Lane(missing)], finished)
            return
        while True:
            try:
                with contextlib.ExitStack() as stack:
                    where = scheduler
                    if where is None:
                        where = stack.enter_context(worker_processes(min(count, left)))
                    client = stack.enter_context(connect(where, security))
                    make_shards(client, job, missing, finished)
                return
            except ClockSetBackError as error:
                missing = itertools.chain(error.shards, missing)

    try:
        return carry_out(job, work, resume=resume, progress=progress)
    finally:
        if reused is not None:
            reused.close()


def check_again(*, resume: bool, overwrite: bool) -> None:
    """Refuse to go on with a run and to start it again at once.

    Raises
    ------
    UsageError
        If both are asked for.
    """
    if resume and overwrite:
        raise UsageError(
            "resume and overwrite exclude each other",
            f"give {Argument.RESUME} to continue, or {Argument.OVERWRITE} to start again",
        )


def carry_out(
    job: Job,
    work: Work,
    *,
    resume: bool = False,
    progress: Follow = None,
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
    check_again(resume=resume, overwrite=job.overwrite)
    store, workspace = store_for(job.target.form, job.target.path), workspace_of(job.target.path)
    with target_errors(f"{job.target.path} can't be written"), workspace.claim(job):
        there = look(job, store, workspace, resume=resume)
        if isinstance(there, Dataset):
            workspace.forget(job, failed=False)
            return there
        if there is not None and resume:
            job = dataclasses.replace(there, images=job.images)
            if not store.committed(job):
                workspace.resume(job)
        else:
            if there is not None and store.committing(there):
                # The old dataset is gone already: to replace the new one, let it be whole first.
                with contextlib.closing(workspace.journal(there)) as journal:
                    store.commit(there, journal)
            workspace.begin(job)
            store.begin(job)
            if store.resumable:
                workspace.record(job)
        journal = workspace.journal(job)
        try:
            if not store.committed(job):
                with following(progress) as tell:
                    _run(job, store, journal, tell, work)
                check_still_free(job, store)
                if store.resumable:
                    workspace.check_record(job)
                else:
                    workspace.record(job)  # now that all shards are whole: to complete the commit
                store.commit(job, journal)
        except BaseException:
            if journal.finished == 0:
                workspace.forget(job, failed=True)  # nothing to resume: leave nothing behind
            raise
        finally:
            journal.close()
        workspace.forget(job, failed=False)
    return open_dataset(job.target.manifest)


def _check_arguments(
    workers: int | None,
    scheduler: Scheduler | None,
    security: Security | None,
    processes: bool | None,
) -> None:
    if scheduler is not None and (workers is not None or processes is not None):
        raise UsageError(
            "a scheduler brings its own workers",
            f"leave out {Argument.WORKERS} and {Argument.PROCESSES}",
        )
    if security is not None and scheduler is None:
        raise UsageError("security is for a cluster's scheduler", "give its address, too")


def _run(
    job: Job,
    store: Store,
    journal: Journal,
    tell: Tell,
    work: Work,
) -> None:
    """Make all shards that are not finished."""
    layout = job.layout
    samples = 0
    store.remove_unlisted(job, journal)
    for shard in range(layout.shards):
        if journal.is_finished(shard):
            if store.has_shard(job, journal.record(shard)):
                start, stop = layout.bounds(shard)
                samples += stop - start
            else:
                journal.forget(shard)
    resumed = samples

    def report() -> None:
        tell(Progress(samples, layout.n, "sample", resumed=resumed))

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
        if store.resumable:
            error.add_note(
                f"{journal.finished} of {layout.shards} shards are done; "
                f"continue with `{resume_command(job)}`"
            )
        raise
