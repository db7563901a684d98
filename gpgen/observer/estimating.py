"""How well a recipe's classes can be told apart by whoever knows their distributions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

from gpgen.errors import Argument, RecipeError, UsageError
from gpgen.exact.blas import one_blas_thread
from gpgen.observer.bounds import coefficients, least_accuracy
from gpgen.observer.inverting import beneath
from gpgen.observer.judging import converged_observer, noise_variance, together
from gpgen.observer.limits import check_answerable, check_density
from gpgen.observer.regression import length_scale_bounds
from gpgen.observer.result import (
    Accuracies,
    ComponentDifficulty,
    Difficulty,
    Estimate,
    LengthScaleBounds,
)
from gpgen.observer.wishing import check_target, wished_length_scale
from gpgen.progress import Follow, Progress, following
from gpgen.recipe import AnyRecipe, Recipe

__all__ = ["NOISE", "SAMPLES", "check_recipe", "difficulty"]

NOISE: Final = 0.01
"""About what storing eight bits a pixel adds: a 256th of eight deviations, over sqrt(12)."""

SAMPLES: Final = 4000
"""Images that are simulated: standard errors are 0.008 at most."""

_LEAST_NOISE: Final = 0.003
"""Below it, errors of 1e-6 in a covariance, to which images are drawn, would count."""

K = TypeVar("K")

_SAMPLE_RANGE: Final = (100, 100_000)
_SIDES: Final = (0.5, 2.0)
_IMAGES: Final = (2, 4, 8)


def difficulty(
    recipe: AnyRecipe,
    *,
    target: float | None = None,
    noise: float = NOISE,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Follow = None,
) -> Difficulty | LengthScaleBounds:
    """Compute how well the ideal observer tells a recipe's classes apart.

    It knows every class's distribution, and names the most probable class of an image. No other
    rule is right more often. Of a recipe that draws length-scales from ranges, with one class, the
    answer is the Cramér-Rao bound of each length-scale. What is computed, and how it was checked:
    docs/difficulty.md.

    Parameters
    ----------
    recipe
        A recipe, the name of a built-in one, a path, or a dict.
    target
        An accuracy, for which each component's last length-scale is replaced until it is reached.
    noise
        The deviation of white noise that is added to the images, as a part of their own: 0.003 to
        10. Without any, two smooth kernels could always be told apart in principle.
    samples
        Images to simulate, 100 to 100,000: the standard errors are about 0.5 over their root.
    seed
        Of the simulation, from 0.
    progress
        ``True`` for a bar, or a function that is called with a `gpgen.Progress`: its unit is
        "estimate".

    Raises
    ------
    UsageError
        If the recipe has one class only and draws nothing, or has more than 64 classes, imitates
        the algorithm of 2018, thresholds values or adds up transformed ones, or draws length-scales
        within classes; if an argument is out of range, or no length-scale gives the target.
    RecipeError
        If there is no such recipe.
    """
    found = beneath(Recipe.load(recipe))
    _check(found, noise, samples, seed)
    if found.texture.draws_length_scales:
        if target is not None:
            raise UsageError(
                f"recipe {found.name!r} draws its length-scales: there is no accuracy to reach",
                f"leave out {Argument.TARGET}",
            )
        with following(progress) as tell, one_blas_thread():
            variance = noise_variance(found.texture, noise)
            return length_scale_bounds(found.texture, variance, noise, tell)
    if target is not None:
        check_target(found.texture, target)
    wishes = [] if target is None else _with_choice(found)
    if target is not None and not wishes:
        raise UsageError(
            f"recipe {found.name!r} has no component with several length-scales to replace",
            f"leave out {Argument.TARGET}",
        )
    total = 1 + len(_SIDES) + len(wishes)
    with following(progress) as tell, one_blas_thread():
        steps = iter(Progress(done, total, "estimate") for done in range(total + 1))
        tell(next(steps))
        variance = noise_variance(found.texture, noise)
        observer, converged = converged_observer(found.texture, variance, seed)
        log_likelihoods, labels = observer.simulate(samples, seed)
        here = observer.accuracies(log_likelihoods, labels)
        by_images = {1: here}
        for images in _IMAGES:
            by_images[images] = observer.accuracies(*together(log_likelihoods, labels, images))
        tell(next(steps))
        by_side = {found.shape: here}
        for shape, of_side in _other_sides(found, variance, samples, seed):
            if of_side is not None:
                by_side[shape] = of_side
            tell(next(steps))
        wished = {}
        for number in wishes:
            assert target is not None  # noqa: S101 - narrows the type
            wished[number] = wished_length_scale(found, number, target, noise, samples, seed)
            tell(next(steps))
    overlap = coefficients(observer.classes, variance)
    every = range(found.class_count)
    choices = [found.texture.choices_of(label) for label in every]
    components = []
    for number, component in enumerate(found.components):
        estimate = here.components[number]
        groups = [choice[number] for choice in choices]
        components.append(
            ComponentDifficulty(
                tuple(component.name_of(choice) for choice in component.choices),
                estimate,
                None if estimate is None else least_accuracy(overlap, groups),
                _of(dict(sorted(by_side.items())), number),
                _of(by_images, number),
                wished.get(number),
            )
        )
    return Difficulty(
        here.whole,
        least_accuracy(overlap, list(every)),
        tuple(components),
        sum(map(len, observer.modes.blocks)) + len(observer.modes.single),
        observer.modes_by_axis,
        converged,
        noise,
        len(labels),
        {shape: each.whole for shape, each in sorted(by_side.items())},
        {images: each.whole for images, each in by_images.items()},
    )


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe of whose classes nobody knows how well they can be told apart.

    Parameters
    ----------
    recipe
        Without transforms that can be inverted (`gpgen.observer.inverting.beneath`).

    Raises
    ------
    UsageError
        If it has one class only, imitates the algorithm of 2018, or isn't answerable
        (`gpgen.observer.limits`).
    """
    if recipe.algorithm != "exact":
        raise UsageError(
            f"recipe {recipe.name!r} imitates the algorithm of 2018, whose textures have no "
            "known density",
            'use algorithm = "exact"',
        )
    check_answerable(recipe)
    check_density(recipe)
    if recipe.class_count == 1 and not recipe.texture.draws_length_scales:
        raise UsageError(
            f"recipe {recipe.name!r} has one class only: nothing to tell apart",
            "offer a second length-scale",
        )


def _check(recipe: Recipe, noise: float, samples: int, seed: int) -> None:
    check_recipe(recipe)
    if not _LEAST_NOISE <= noise <= 10:
        raise UsageError(
            f"noise {noise} is out of range",
            f"use {_LEAST_NOISE} to 10 of the images' deviation; without noise any two smooth "
            "kernels can be told apart in principle",
        )
    low, high = _SAMPLE_RANGE
    if not low <= samples <= high:
        raise UsageError(f"samples {samples} is out of range", f"use {low} to {high}")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative", "count from 0")


def _with_choice(recipe: Recipe) -> list[int]:
    return [k for k, each in enumerate(recipe.components) if len(each.all_length_scales) > 1]


def _other_sides(
    recipe: Recipe, variance: float, samples: int, seed: int
) -> Iterator[tuple[tuple[int, ...], Accuracies | None]]:
    """Yield smaller and larger images' accuracies, none for what can't be drawn."""
    for factor in _SIDES:
        shape = tuple(max(2, round(factor * pixels)) for pixels in recipe.shape)
        try:
            texture = recipe.replace(shape=shape).texture
        except RecipeError:
            yield shape, None
            continue
        observer, _ = converged_observer(texture, variance, seed)
        yield shape, observer.accuracies(*observer.simulate(samples // 2, seed))


def _of(found: dict[K, Accuracies], number: int) -> dict[K, Estimate]:
    estimates = {key: each.components[number] for key, each in found.items()}
    return {key: each for key, each in estimates.items() if each is not None}
