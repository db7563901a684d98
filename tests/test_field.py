"""A component's field against dense matrices, einsum and SciPy's normal quantile."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from scipy import stats

from gpgen.exact.axis import FACTOR_BITS
from gpgen.exact.axis_product import grid_below
from gpgen.exact.kernels import RBF
from gpgen.exact.normal import NORMAL_BITS
from gpgen.exact.separable import SeparableField

# Shape, length-scale of each axis, boundary.
CASES = [
    ((30,), (2.5,), "open"),
    ((12, 17), (2.0, 5.0), "open"),
    ((24, 36), (1.5, 3.0), "periodic"),
    ((6, 9, 7), (1.0, 4.0, 2.0), "open"),
]
cases = pytest.mark.parametrize("case", CASES, ids=str)


def field_of(case) -> SeparableField:
    shape, lengths, boundary = case
    return SeparableField.of(
        tuple(RBF(length) for length in lengths), shape, (boundary,) * len(shape)
    )


def true_covariance(case) -> np.ndarray:
    """The covariance of all pairs of pixels, from their distances."""
    shape, lengths, boundary = case
    exponent = np.zeros((math.prod(shape),) * 2)
    for axis, (n, length) in enumerate(zip(shape, lengths, strict=True)):
        x = np.indices(shape)[axis].ravel()
        distance = np.abs(x[:, None] - x)
        if boundary == "periodic":
            distance = np.minimum(distance, n - distance)
        exponent += (distance / length) ** 2 / 2
    return np.exp(-exponent)


def matrices(field: SeparableField) -> list[np.ndarray]:
    """Each axis's factor, dense."""
    return [factor.matrix.apply(np.eye(factor.columns)[None])[0] for factor in field.factors]


def pixels_of(field: SeparableField, noise: np.ndarray) -> np.ndarray:
    for axis, matrix in enumerate(matrices(field), start=1):
        noise = np.moveaxis(np.tensordot(noise, matrix, axes=(axis, 1)), -1, axis)
    return noise


@cases
def test_independent_noise_becomes_the_kernels_covariance(case) -> None:
    field = field_of(case)
    pairs = zip(field.factors, matrices(field), strict=True)
    axes = [matrix @ factor.wrap(np.eye(factor.points), 0) for factor, matrix in pairs]
    dense = functools.reduce(np.kron, axes)
    error = np.abs(dense @ dense.T - true_covariance(case)).max()
    # Rounding in float64 is far below; 1e-6 is what a recipe is refused for.
    assert error <= field.covariance_error + 1e-13
    assert field.covariance_error < 1e-6


@cases
def test_the_deviations_are_those_of_the_covariance(case) -> None:
    field = field_of(case)
    mean_covariance = true_covariance(case).mean()
    # The covariance is exact to covariance_error, and so is its mean.
    bound = 2 * field.covariance_error
    assert abs(math.prod(field.mean_deviations) ** 2 - mean_covariance) < bound
    assert abs(field.relative_deviation**2 - (1 - mean_covariance)) < bound


@cases
def test_the_gain_is_reached_by_noise_of_one_sign_and_not_exceeded(case) -> None:
    field = field_of(case)
    ones = np.ones((1, *(factor.columns for factor in field.factors)))
    # The factors have no negative entries, so that ones reach the bound.
    assert pixels_of(field, ones).max() == pytest.approx(field.gain, rel=1e-14)


@cases
def test_noise_is_the_normal_quantile_of_philoxs_words(case) -> None:
    field, seeds = field_of(case), np.array([3, 2**63 + 1], dtype=np.uint64)
    noise = field.noise(seeds, stream=2)
    for one, seed in zip(noise, seeds, strict=True):
        generator = np.random.Philox(key=np.array([seed, 2], dtype=np.uint64))
        words = generator.random_raw(math.prod(field.points)) >> np.uint64(11)
        expected = stats.norm.ppf((words + 0.5) / 2**53).reshape(field.points)
        for axis, factor in enumerate(field.factors):
            expected = factor.wrap(expected, axis)
        # One rounding to the grid; the quantiles differ by far less.
        np.testing.assert_allclose(one, expected, rtol=0, atol=2.0 ** -(NORMAL_BITS + 1) + 1e-12)


@cases
def test_rows_are_the_product_with_all_factors_but_the_last(case) -> None:
    field, scale = field_of(case), np.array([1.0, 0.375])
    noise = field.noise(np.array([1, 2], dtype=np.uint64), 0)
    rows, bound = field.along_leading_axes(noise, scale)
    expected = noise * scale.reshape(-1, *(1,) * (noise.ndim - 1))
    tolerance = np.zeros(2)
    for axis, matrix in enumerate(matrices(field)[:-1], start=1):
        # Rounded to the grid of its product before each, which the factors carry on.
        half = 2.0 ** -(grid_below(8.5 * scale * _gain(field, axis)) + 1.0)
        tolerance = (tolerance + half) * np.abs(matrix).sum(axis=1).max()
        expected = np.moveaxis(np.tensordot(expected, matrix, axes=(axis, 1)), -1, axis)
    for k in range(2):
        assert np.abs(rows[k] - expected[k]).max() <= tolerance[k] + 1e-13
        assert np.abs(rows[k]).max() <= bound[k]


def _gain(field: SeparableField, axes: int) -> float:
    return math.prod(np.abs(m).sum(axis=1).max() for m in matrices(field)[:axes])


def test_sums_below_the_bound_are_whole_multiples_that_float64_holds() -> None:
    for bound in (1.0, 8.5, 1000.0, 2.0**20 - 1):
        bits = int(grid_below(bound)) + FACTOR_BITS
        assert bound * 2.0**bits < 2**53
        assert bound * 2.0 ** (bits + 2) >= 2**53
