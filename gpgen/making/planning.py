"""What a run will make, worked out and checked before anything is touched."""

from __future__ import annotations

import dataclasses

from gpgen._version import __version__
from gpgen.exact.offered_roots import roots_sha256
from gpgen.format import store_for
from gpgen.format.job import ImageSource, Job
from gpgen.format.layout import Format, Target, choose_layout
from gpgen.io.paths import AnyPath, Given, place_of
from gpgen.making.growing import Reused
from gpgen.making.memory import worker_memory
from gpgen.recipe import AnyRecipe, Recipe
from gpgen.recipe_warnings import recipe_warnings
from gpgen.sampling import DrawnImages
from gpgen.workers import worker_count
from gpgen.workspace import workspace_of

__all__ = ["Plan", "job_of", "plan", "plan_job"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `make` would make.

    Parameters
    ----------
    recipe
        The recipe.
    n
        Number of samples.
    out
        Absolute path of the target, or its address on an object store.
    format
        "zarr", "hdf5", "hdf5-shards" or "webdataset".
    chunk_size
        Samples a chunk; ``None`` for HDF5, whose images are stored in one piece.
    shard_size
        Samples a shard.
    shards
        Number of shards.
    nbytes
        Exact bytes of the finished dataset.
    free_bytes
        Free bytes where it goes; ``None`` on an object store.
    workers
        Number of workers, unless a scheduler is given.
    memory_per_worker
        About the bytes that each worker holds, whatever the sizes of chunks and shards: images at
        work, and the factors and roots of the kernels, which threads of one process share.
    warnings
        What is allowed and yet seldom meant, each in one line.
    reused
        Samples that are taken over from another dataset.
    """

    recipe: Recipe
    n: int
    out: AnyPath
    format: Format
    chunk_size: int | None
    shard_size: int
    shards: int
    nbytes: int
    free_bytes: int | None
    workers: int
    memory_per_worker: int
    warnings: tuple[str, ...] = ()
    reused: int = 0


def plan(
    recipe: AnyRecipe,
    n: int,
    out: Given,
    *,
    workers: int | None = None,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    extend: bool = False,
    reuse: Given | None = None,
) -> Plan:
    """Work out what `make` would make, and touch nothing.

    Parameters
    ----------
    recipe, n, out, workers, chunk_size, shard_size, extend, reuse
        As for `gpgen.make`.

    Raises
    ------
    UsageError
        If a number or the target's name can't be, or what is reused doesn't fit.
    DatasetError
        If what is to be extended or reused is no dataset.
    TargetError
        If the target's folder is missing or not writable.
    """
    recipe = Recipe.load(recipe)
    reused = Reused.find(out, extend=extend, reuse=reuse)
    job = plan_job(recipe, n, out, chunk_size=chunk_size, shard_size=shard_size, reused=reused)
    if reused is not None:
        reused.close()
    layout = job.layout
    return Plan(
        recipe=recipe,
        n=layout.n,
        out=job.target.path,
        format=job.target.form,
        chunk_size=layout.chunk_size,
        shard_size=layout.shard_size,
        shards=layout.shards,
        nbytes=store_for(job.target.form, job.target.path).nbytes(job),
        free_bytes=workspace_of(job.target.path).free_bytes(job.target),
        workers=worker_count(workers),
        memory_per_worker=worker_memory(recipe),
        warnings=recipe_warnings(recipe, layout.n),
        reused=0 if reused is None or reused.dataset is None else reused.dataset.n,
    )


def plan_job(
    recipe: AnyRecipe,
    n: int,
    out: Given,
    *,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    overwrite: bool = False,
    reused: Reused | None = None,
) -> Job:
    """Return the job that a call of `make` stands for, its target's folder checked.

    Where it begins with another dataset's samples and no size is given, the sizes are that one's:
    those chosen by default depend on n.
    """
    if reused is not None and chunk_size is None and shard_size is None:
        layout = reused.layout(Target.parse(place_of(out).followed()).form)
        if layout is not None:
            chunk_size, shard_size = layout.chunk_size, layout.shard_size
    recipe = Recipe.load(recipe)
    job = job_of(
        DrawnImages(recipe),
        n,
        out,
        chunk_size=chunk_size,
        shard_size=shard_size,
        overwrite=overwrite,
        roots=roots_sha256(recipe.texture),
    )
    if reused is None:
        return job
    reused.check(job)
    return dataclasses.replace(job, reused=reused.path)


def job_of(
    source: ImageSource,
    n: int,
    out: Given,
    *,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    overwrite: bool = False,
    gpgen_version: str = __version__,
    roots: str | None = None,
) -> Job:
    """Return the job of making a dataset of a source's first n images.

    Parameters
    ----------
    source
        Where the images come from.
    n, out, chunk_size, shard_size, overwrite
        As for `gpgen.make`.
    gpgen_version, roots
        The version that has drawn them, and the hash of the kernels' code (`Job`).
    """
    described = source.described
    target = Target.parse(place_of(out).followed())
    layout = choose_layout(target.form, described.image_nbytes, n, chunk_size, shard_size)
    workspace_of(target.path).check(target, overwrite=overwrite)
    return Job(target, described, layout, overwrite, gpgen_version, source, roots)
