"""Small whole datasets, unfinished ones and deposits, made once and copied to be damaged."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Dataset
from gpgen.format import store_for
from gpgen.format.job import Job, ShardRecord
from gpgen.making.planning import plan_job
from gpgen.making.run import carry_out
from gpgen.recipe import Recipe
from gpgen.sampling import Sampler

__all__ = [
    "OUTS", "PUBLICATION", "RESUMABLE", "Stopped", "copy_of", "deposit", "in_one_thread",
    "make_here", "pixels", "recipe", "scratch", "unfinished",
]  # fmt: skip

# What a run that is broken off leaves can be resumed; tar files are begun again.
RESUMABLE = ("d.zarr", "d.h5", "d-{shard:03d}.h5")
OUTS = (*RESUMABLE, "d-{shard:03d}.tar")
N = 6
PUBLICATION = """
title = "Small textures"
license = "CC-BY-4.0"
date = 2026-01-31
version = "1.0.0"
keywords = ["texture"]
[[creators]]
name = "Carberry, Josiah"
orcid = "0000-0002-1825-0097"
affiliation = "Brown University"
[[funding]]
funder = "A foundation"
award = "1"
[[related]]
identifier = "arXiv:1806.01337"
relation = "References"
"""


class Stopped(Exception):  # noqa: N818 - not an error but the end of a run
    """A run was stopped on purpose."""


def recipe(**changes: Any) -> Recipe:
    """The recipe of all datasets here: two classes of 16 x 16 pixels."""
    fields: dict[str, Any] = {
        "name": "fuzzed",
        "shape": [16, 16],
        "seed": 5,
        "components": [
            {"kernel": "rbf", "length_scales": [1.5, 2.0], "weight": 0.75},
            {"kernel": "rbf", "length_scales": [4.0], "weight": 1.25},
        ],
    }
    return Recipe.from_dict(fields | changes)


@functools.lru_cache(maxsize=4)
def pixels(seed: int = 5, n: int = N) -> npt.NDArray[Any]:
    """The images that the recipe makes."""
    return Sampler(recipe(seed=seed)).images(0, n)


def _in_turn(
    job: Job, missing: Iterator[int], finished: Callable[[list[ShardRecord]], None], most: int
) -> None:
    for count, shard in enumerate(missing):
        if count >= most:
            raise Stopped
        finished([store_for(job.target.form).write_shard(job, shard, lambda: None)])


def make_here(out: Path, n: int = N, *, stop_after: int = 10**9, **options: Any) -> Dataset:
    """Make a dataset without Dask: the workers are not what is tested, and it is faster.

    It is stopped, by `Stopped`, once `stop_after` shards are made.
    """
    flags = {"resume": options.pop("resume", False)}
    options = {"recipe": recipe(), "shard_size": 2} | options
    job = plan_job(options.pop("recipe"), n, out, **options)
    return carry_out(job, lambda j, _, m, f: _in_turn(j, m, f, stop_after), **flags)


@contextlib.contextmanager
def in_one_thread() -> Iterator[None]:
    """Let `gpgen.make` do without Dask, too."""

    def make_shards(_: object, job: Job, missing: Any, finished: Any, *__: Any) -> None:
        _in_turn(job, missing, finished, 10**9)

    with (
        mock.patch("gpgen.making.run.connect", return_value=contextlib.nullcontext()),
        mock.patch("gpgen.making.run.make_shards", make_shards),
    ):
        yield


@functools.cache
def _store() -> Path:
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="gpgen-fuzz-", dir=place)).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def scratch() -> Path:
    """An empty folder, the same each time."""
    folder = _store() / "scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@functools.cache
def _whole(out: str) -> Path:
    folder = _store() / f"whole-{OUTS.index(out)}"
    folder.mkdir()
    make_here(folder / out).close()
    return folder


def copy_of(out: str, folder: Path) -> Path:
    """Copy the whole dataset of a target's name into a folder; return its path there."""
    shutil.copytree(_whole(out), folder, dirs_exist_ok=True)
    return folder / out


@functools.cache
def _half(out: str) -> Path:
    folder = _store() / f"half-{OUTS.index(out)}"
    folder.mkdir()
    with contextlib.suppress(Stopped):
        make_here(folder / out, stop_after=2)
    return folder


def unfinished(out: str, folder: Path) -> Path:
    """Copy a dataset of which two shards of three are made; return its path there."""
    shutil.copytree(_half(out), folder, dirs_exist_ok=True)
    return folder / out


@functools.cache
def _deposit(out: str, recipe_only: bool) -> Path:
    from gpgen.publish.packaging import package

    folder = _store() / f"deposit-{OUTS.index(out)}-{recipe_only}"
    publication = _store() / "publication.toml"
    publication.write_text(PUBLICATION)
    package(_whole(out) / out, publication, folder, recipe_only=recipe_only)
    return folder


def deposit(out: str, recipe_only: bool, folder: Path) -> Path:
    """Copy a deposit to a folder that doesn't exist."""
    shutil.copytree(_deposit(out, recipe_only), folder)
    return folder


def images_of(dataset: Dataset) -> npt.NDArray[Any]:
    """Return all images."""
    return dataset.read(np.arange(dataset.n))
