"""Whether a dataset has the statistics that its recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gpgen.dataset import DatasetView, Samples, open_dataset
from gpgen.errors import UsageError
from gpgen.exact.blas import one_blas_thread
from gpgen.formatting import count
from gpgen.io.paths import Given
from gpgen.observer.audited import Audit, Finding
from gpgen.observer.auditing_run import AuditingRun
from gpgen.observer.faults import Faults
from gpgen.observer.limits import check_answerable
from gpgen.progress import Follow, following
from gpgen.recipe import AnyRecipe, Recipe
from gpgen.workers import worker_count

__all__ = ["LEVEL", "audit"]

LEVEL: Final = 0.001

_FEWEST: Final = 8


def audit(
    data: Given | Samples,
    *,
    recipe: AnyRecipe | None = None,
    level: float = LEVEL,
    seed: int = 0,
    images: int | None = None,
    workers: int | None = None,
    progress: Follow = None,
) -> Audit:
    """Test whether a dataset has the statistics that its recipe says, and name what is wrong.

    Each image is read once, and compared with images drawn from the recipe with other seeds: its
    mean, variance and extremes, and of some images, chosen at random, the spectrum and what else
    takes longer than reading. Samples are also drawn again and compared pixel by pixel, unless
    `recipe` is given. What is tested, and why the p-values are right: docs/audit.md.

    Parameters
    ----------
    data
        A dataset's path, an open dataset, or a view of one.
    recipe
        The recipe to audit against, in the place of the dataset's own: a recipe, the name of a
        built-in one, a path, or a dict. Its shape and its classes must be the dataset's.
    level
        The p-value below which the dataset is wrong: above 0, below 1.
    seed
        Of the images drawn for comparison, and of the choice of those measured closely, from 0.
    images
        How many to measure closely, 8 or more. By default as many as have 2^27 pixels together,
        which are 128 of 1024 x 1024 and 32,768 of 64 x 64, and at least 16 a class.
    workers
        How many threads read and measure; by default as many as there are cores.
    progress
        ``True`` for a bar, or a function that is called with a `gpgen.Progress`: its unit is
        "drawn image", then "image" of those read.

    Raises
    ------
    UsageError
        If the dataset was imported and no recipe is given, the recipe has other classes or another
        shape, there are fewer than 8 samples or more than 64 classes, a view repeats a sample, a
        sample's length-scale isn't one that the recipe draws, or an argument is out of range.
    DatasetError
        If there is no dataset, or it is unfinished or damaged.
    RecipeError
        If there is no such recipe.
    """
    if not 0 < level < 1:
        raise UsageError(f"level {level} is out of range", "use a p-value between 0 and 1")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative", "count from 0")
    if images is not None and images < _FEWEST:
        raise UsageError(f"images {images} is out of range", f"measure at least {_FEWEST}")
    threads = worker_count(workers)
    if isinstance(data, Samples):
        return _audit(data, recipe, level, seed, images, threads, progress)
    with open_dataset(data) as dataset:
        return _audit(dataset, recipe, level, seed, images, threads, progress)


def _audit(
    samples: Samples,
    recipe: AnyRecipe | None,
    level: float,
    seed: int,
    images: int | None,
    workers: int,
    progress: Follow,
) -> Audit:
    against = _recipe_of(samples, recipe)
    _check(samples, against)
    with following(progress) as tell, one_blas_thread():
        run = AuditingRun(
            samples, against, seed, redraw=recipe is None, images=images, workers=workers
        )
        run.draw(tell)
        run.read(tell)
    comparisons = sorted(run.comparisons(), key=lambda c: c.p)
    p = min(1.0, comparisons[0].p * len(comparisons))
    findings: Sequence[Finding] = ()
    if p < level:
        failed = [c for c in comparisons if c.p * len(comparisons) < level]
        findings = Faults(run).findings(failed)
    return Audit(
        p,
        level,
        tuple(findings),
        tuple(comparisons),
        len(samples),
        run.drawn * against.class_count,
        run.redrawn,
        against.name,
        len(run.measured),
    )


def _recipe_of(samples: Samples, recipe: AnyRecipe | None) -> Recipe:
    if recipe is not None:
        return Recipe.load(recipe)
    if not isinstance(samples.recipe, Recipe):
        raise UsageError(
            f"{samples.path} was imported: nothing says which distribution its images have",
            "give a recipe to audit it against",
        )
    return samples.recipe


def _check(samples: Samples, recipe: Recipe) -> None:
    if samples.recipe.shape != recipe.shape:
        ours, theirs = (" x ".join(map(str, r.shape)) for r in (samples.recipe, recipe))
        raise UsageError(
            f"{samples.path} has images of {ours} pixels, recipe {recipe.name!r} of {theirs}",
            "give a recipe of the same shape",
        )
    if samples.recipe.class_count != recipe.class_count:
        ours, theirs = (count(r.class_count, "class") for r in (samples.recipe, recipe))
        raise UsageError(
            f"{samples.path} has {ours}, recipe {recipe.name!r} has {theirs}",
            "give a recipe with as many classes, by label",
        )
    check_answerable(recipe)
    if len(samples) < _FEWEST:
        raise UsageError(
            f"{len(samples)} samples are too few to tell anything", f"give at least {_FEWEST}"
        )
    if isinstance(samples, DatasetView) and len(np.unique(samples.indices)) < len(samples):
        raise UsageError("the view repeats samples", "give each sample once")
