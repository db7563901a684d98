"""Difficulties that are known already: those of the built-in recipes, computed once and kept.

An accuracy is the share of simulated images that are named rightly. Eigenvectors, by which images
are simulated, have other signs in another library for linear algebra, so that another machine
simulates other images: the accuracy is the same within its error, and its last digit may not be.
What has to be the same everywhere is therefore looked up here (docs/decisions.md).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from typing import Any, Final

from gpgen.errors import UsageError
from gpgen.exact.blas import one_blas_thread
from gpgen.exact.texture import Texture
from gpgen.observer.estimating import NOISE, SAMPLES, check_recipe
from gpgen.observer.inverting import beneath
from gpgen.observer.judging import converged_observer, noise_variance
from gpgen.observer.summary import DifficultySummary
from gpgen.progress import Follow, Progress, following
from gpgen.recipe import Recipe, builtin_folder

__all__ = [
    "KNOWN",
    "TAKES_LONG",
    "compute_summary",
    "known_summary",
    "reason_for_none",
    "summary_or_reason",
    "takes_long",
    "texture_sha256",
]

KNOWN: Final = "difficulty.json"
"""The file beside the built-in recipes: of each its texture's hash, and what `to_dict` gives."""

_APART: Final = ("name", "seed", "splits", "dtype")
"""Fields of a recipe on which its difficulty doesn't depend: eight bits a pixel would do."""

_MOST_CLASSES: Final = 12
_MOST_PIXELS: Final = 2**21
"""Above these it takes more than about half a minute."""

TAKES_LONG: Final = "it takes long to compute: `gpgen difficulty` does"


def texture_sha256(recipe: Recipe) -> str:
    """Return the hash of those fields of a recipe on which its difficulty depends."""
    fields = {name: value for name, value in recipe.to_dict().items() if name not in _APART}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def known_summary(recipe: Recipe) -> DifficultySummary | None:
    """Look up a recipe's difficulty: the same on every machine, at once, or None.

    A built-in recipe is found under any name and with any seed, splits and dtype.
    """
    fields = _known().get(texture_sha256(recipe))
    return DifficultySummary.from_dict(fields) if fields is not None else None


def compute_summary(recipe: Recipe, *, progress: Follow = None) -> DifficultySummary:
    """Compute a recipe's difficulty: what `gpgen.difficulty` says, without sides and groups.

    A process computes that of a texture once.

    Raises
    ------
    UsageError
        As `gpgen.difficulty`.
    """
    recipe = beneath(recipe)
    check_recipe(recipe)
    with following(progress) as tell:
        tell(Progress(0, 1, "estimate"))
        found = _computed(dataclasses.replace(recipe.texture, dtype="float32"))
        tell(Progress(1, 1, "estimate"))
    return found


@functools.lru_cache(maxsize=16)
def _computed(texture: Texture) -> DifficultySummary:
    with one_blas_thread():
        observer, converged = converged_observer(texture, noise_variance(texture, NOISE), 0)
        log_likelihoods, labels = observer.simulate(SAMPLES, 0)
        found = observer.accuracies(log_likelihoods, labels)
    names = [
        tuple(component.name_of(choice) for choice in component.choices)
        for component in texture.components
    ]
    return DifficultySummary.of(
        found.whole,
        list(zip(names, found.components, strict=True)),
        converged=converged,
        noise=NOISE,
        samples=len(labels),
    )


def takes_long(recipe: Recipe) -> bool:
    """Return whether computing a recipe's difficulty takes too long to be done in passing."""
    return recipe.class_count > _MOST_CLASSES or math.prod(recipe.shape) > _MOST_PIXELS


def summary_or_reason(
    recipe: Recipe, *, progress: Follow = None
) -> tuple[DifficultySummary | None, str]:
    """Return a recipe's difficulty, looked up or computed in some seconds; else why there is none.

    Parameters
    ----------
    recipe
        The recipe.
    progress
        As for `gpgen.difficulty`.
    """
    if reason := reason_for_none(recipe):
        return None, reason
    if (known := known_summary(recipe)) is not None:
        return known, ""
    if takes_long(recipe):
        return None, TAKES_LONG
    return compute_summary(recipe, progress=progress), ""


def reason_for_none(recipe: Recipe) -> str:
    """Return in one line why nobody knows a recipe's difficulty; empty if it can be computed."""
    try:
        check_recipe(beneath(recipe))
    except UsageError as error:
        return error.message
    if recipe.texture.draws_length_scales:
        return "it draws its length-scales: `gpgen difficulty` bounds the error of each"
    return ""


@functools.cache
def _known() -> dict[str, dict[str, Any]]:
    path = builtin_folder() / KNOWN
    if not path.is_file():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["texture_sha256"]: entry for entry in entries.values()}
