"""Benchmarks that are none: classes alike to everybody, and classes that anybody tells apart."""

from __future__ import annotations

import numpy as np
import pytest
from observer_support import recipe

from gpgen import Recipe
from gpgen.observer.ridge import RadialPower, Ridge
from gpgen.observer.worth import Worth, worth_of


def test_choices_that_nobody_can_tell_apart_are_named_and_others_are_not() -> None:
    """Of three length-scales two are alike: their component as a whole is right in two thirds."""
    asked = recipe((24, 24), ((2.0, 2.0005, 3.5), 1.0), ((6, 9), 1.0))
    (warning,) = worth_of(asked).warnings
    assert warning.startswith("component 1: 2 and 2.0005 px can hardly be told apart")


def test_a_benchmark_that_a_ridge_regression_learns_from_20_images_is_trivial() -> None:
    (warning,) = worth_of(recipe((48, 48), ((2, 8), 1.0))).warnings
    assert warning.startswith("trivial: a ridge regression on the log power spectrum of 20 images")
    assert "200 others" in warning


def test_a_benchmark_is_passed_in_silence_and_what_is_not_looked_at_is_said() -> None:
    assert worth_of(Recipe.load("two-scale-mini")) == Worth()
    assert "2018" in worth_of(Recipe.load("golkar2018")).unknown
    assert "it draws its length-scales" in worth_of(Recipe.load("regression")).unknown
    assert "takes long" in worth_of(recipe((64, 64), (tuple(range(2, 15)), 1.0))).unknown


@pytest.mark.parametrize("shape", [(64,), (16, 24), (8, 10, 12), (1, 32)])
@pytest.mark.parametrize("closed", [False, True])
def test_radial_power_knows_a_wave_by_its_length(shape, closed) -> None:
    features = RadialPower(shape, (closed,) * len(shape))
    places = np.arange(shape[-1])
    slow, fast = (
        np.broadcast_to(np.cos(2 * np.pi * k * (places + 0.5) / shape[-1]), shape)
        for k in (1, shape[-1] // 4)
    )
    found = features(np.stack([slow, fast, 2 * fast]).astype(np.float64))
    assert np.isfinite(found).all()
    assert found[0].argmax() < found[1].argmax() == found[2].argmax()
    assert found[2].max() - found[1].max() == pytest.approx(np.log(4))


def test_ridge_regression_is_the_solution_of_its_least_squares() -> None:
    """Rows of the penalty added to the images: ordinary least squares of the whole."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(30, 4)), np.arange(30) % 3
    ridge = Ridge.fit(features, labels, 3, penalty=0.5)
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    y = np.eye(3)[labels] - 1 / 3
    rows = np.concatenate([x, np.sqrt(0.5 * 30) * np.eye(4)])
    expected = np.linalg.lstsq(rows, np.concatenate([y, np.zeros((4, 3))]), rcond=None)[0]
    np.testing.assert_allclose(ridge.weights, expected, atol=1e-12)
    apart = Ridge.fit(10 * np.eye(3)[labels], labels, 3)
    assert (apart.predict(10 * np.eye(3)) == np.arange(3)).all()
