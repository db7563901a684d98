"""The Cramér-Rao bound of drawn length-scales: against dense matrices, and against estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from observer_support import recipe

import gpgen
from gpgen import Recipe, UsageError
from gpgen.observer import field_modes
from gpgen.observer.regression import length_scale_bounds
from gpgen.sampling import sampler_for

NOISE = 0.01


def ranged(shape, *ends, **fields) -> Recipe:
    """Components that draw length-scales between two ends each."""
    components = [
        {"kernel": "rbf", "length_scales": {"low": low, "high": high, "steps": 9}}
        for low, high in ends
    ]
    return Recipe.from_dict({"name": "r", "shape": shape, "components": components, **fields})


def dense(pixels: int, scale: float, *, standardize: bool) -> np.ndarray:
    """The covariance of an axis's pixels."""
    place = np.arange(pixels)
    covariance = np.exp(-0.5 * ((place[:, None] - place) / scale) ** 2)
    if not standardize:
        return covariance
    mean = covariance.mean()
    centring = np.eye(pixels) - 1 / pixels
    return centring @ covariance @ centring / (1 - mean)


@pytest.mark.parametrize("standardize", [True, False])
def test_the_bound_is_that_of_dense_matrices(standardize) -> None:
    found = gpgen.difficulty(ranged([40], (2.0, 4.0), standardize=standardize), noise=0.1)
    step = 1e-3
    for bound in found.components[0].bounds:
        above, here, below = (
            dense(40, bound.length_scale * math.exp(s), standardize=standardize)
            for s in (step, 0.0, -step)
        )
        inverse = np.linalg.inv(here + 0.01 * np.eye(40))
        slopes = [(above - below) / (2 * step), *([here] if standardize else [])]
        fisher = np.array(
            [[np.trace(inverse @ a @ inverse @ b) / 2 for b in slopes] for a in slopes]
        )
        expected = math.sqrt(np.linalg.inv(fisher)[0, 0])
        assert bound.error == pytest.approx(expected, rel=1e-3)
        assert bound.pixels == pytest.approx(expected * bound.length_scale, rel=1e-3)
    assert [b.length_scale for b in found.components[0].bounds] == [2.0, 2.8284, 4.0]


@pytest.mark.slow
def test_estimates_from_drawn_images_are_as_exact_as_the_bound() -> None:
    pixels, n, scale = 96, 400, 3.0
    images = recipe((pixels,), ((scale,), 1))
    rng = np.random.default_rng(1)
    seen = sampler_for(images).images(0, n) + NOISE * rng.standard_normal((n, pixels))
    seen -= seen.mean(axis=1, keepdims=True)
    (range_,) = gpgen.difficulty(ranged([pixels], (scale, 2 * scale))).components
    bound = range_.bounds[0].error
    changes = np.linspace(-4, 4, 33) * bound
    profile = []
    for change in changes:
        values, vectors = np.linalg.eigh(dense(pixels, scale * math.exp(change), standardize=True))
        squares = (seen @ vectors[:, 1:]) ** 2  # the first is the mean
        # The best of all amplitudes.
        variances = np.exp(np.linspace(-0.8, 0.8, 33))[:, None] * values[1:] + NOISE**2
        deviances = squares @ (1 / variances).T + np.log(variances).sum(axis=1)
        profile.append(-0.5 * deviances.min(axis=1))
    likelihood = np.array(profile)
    best = np.clip(likelihood.argmax(axis=0), 1, len(changes) - 2)
    before, at, after = (likelihood[best + k, np.arange(n)] for k in (-1, 0, 1))
    step = changes[1] - changes[0]
    estimates = changes[best] + step * (after - before) / 2 / (2 * at - before - after)
    # The standard error of a standard deviation.
    assert estimates.std() / bound == pytest.approx(1, abs=3 / math.sqrt(2 * n))
    assert abs(estimates.mean()) < 4 * bound / math.sqrt(n)


@pytest.mark.slow
def test_modes_outside_the_box_are_nearly_independent(monkeypatch) -> None:
    texture = ranged([40, 40], (2.0, 6.0)).texture
    told = [
        length_scale_bounds(texture, NOISE**2, NOISE, lambda _: None).components[0].bounds
        for box in (14, 40)
        if not monkeypatch.setitem(field_modes._BOX, 2, box)
    ]
    for approximate, exact in zip(*told, strict=True):
        assert approximate.error == pytest.approx(exact.error, rel=0.06)


def test_unknown_components_make_the_bound_larger() -> None:
    alone, beside = (
        gpgen.difficulty(ranged([256], *ends)).components[0].bounds[1].error
        for ends in ([(3.0, 6.0)], [(3.0, 6.0), (8.0, 12.0)])
    )
    assert beside > 1.1 * alone


def test_a_transform_that_can_be_inverted_loses_nothing() -> None:
    plain = recipe((64,), ((2, 2.5), 1))
    one = {"kernel": "rbf", "length_scales": [2, 2.5], "weight": 3.0, "transform": "lognormal"}
    assert gpgen.difficulty(plain.replace(components=[one]), samples=400) == gpgen.difficulty(
        plain, samples=400
    )


@pytest.mark.parametrize(
    ("component", "says"),
    [
        ({"length_scales": [2.0, 4.0], "transform": "threshold"}, "thresholds values"),
        (
            {
                "kernel": "matern",
                "smoothness": [0.5, 1.5],
                "length_scales": {"low": 2.0, "high": 3.0, "steps": 8},
            },
            "2 classes and draws length-scales",
        ),
    ],
)
def test_what_has_no_known_density_is_refused(component, says) -> None:
    images = {"name": "r", "shape": [16, 16], "components": [{"kernel": "rbf", **component}]}
    with pytest.raises(UsageError, match=says):
        gpgen.difficulty(images)


def test_a_range_has_no_accuracy_to_reach() -> None:
    with pytest.raises(UsageError, match="there is no accuracy to reach"):
        gpgen.difficulty(ranged([16], (2.0, 4.0)), target=0.9)
