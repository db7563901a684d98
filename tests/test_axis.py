from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpgen.errors import RecipeError
from gpgen.exact.axis import FACTOR_BITS, AxisFactor, axis_factor
from gpgen.exact.kernels import RBF


def dense(factor: AxisFactor) -> np.ndarray:
    """The factor as a matrix over the independent noise points."""
    extended = factor.wrap(np.eye(factor.points), axis=0)
    return factor.matrix.apply(extended[None])[0]


def true_covariance(length_scale: float, pixels: int, boundary: str) -> np.ndarray:
    distance = np.abs(np.subtract.outer(np.arange(pixels), np.arange(pixels))).astype(float)
    if boundary == "periodic":
        distance = np.minimum(distance, pixels - distance)
    return np.exp(-0.5 * (distance / length_scale) ** 2)


CASES = [
    (9.5, 1024, "open"),
    (140.0, 1024, "open"),
    (2.0, 33, "open"),
    (0.25, 20, "open"),
    (3.7, 50, "open"),
    (500.0, 64, "open"),
    (9.5, 1024, "periodic"),
    (80.0, 1024, "periodic"),
    (4.3, 101, "periodic"),
    (0.5, 6, "periodic"),
]


@pytest.mark.parametrize(("length_scale", "pixels", "boundary"), CASES)
def test_factor_times_its_transpose_is_the_covariance(length_scale, pixels, boundary) -> None:
    factor = axis_factor(RBF(length_scale), pixels, boundary)
    matrix = dense(factor)
    error = np.abs(matrix @ matrix.T - true_covariance(length_scale, pixels, boundary)).max()
    assert error < 4e-7
    # What is reported when a recipe is loaded is this very number.
    assert factor.covariance_error == pytest.approx(error, abs=1e-12)


@given(st.floats(0.25, 60), st.integers(2, 90), st.sampled_from(["open", "periodic"]))
def test_any_length_scale_is_exact_or_refused(length_scale, pixels, boundary) -> None:
    try:
        factor = axis_factor(RBF(length_scale), pixels, boundary)
    except RecipeError:
        assert boundary == "periodic"
        assert pixels < 11.2 * length_scale
        return
    matrix = dense(factor)
    covariance = true_covariance(length_scale, pixels, boundary)
    assert np.abs(matrix @ matrix.T - covariance).max() < 4e-7


@pytest.mark.parametrize(("length_scale", "pixels", "boundary"), CASES)
def test_sums_and_gram_are_those_of_the_matrix(length_scale, pixels, boundary) -> None:
    factor = axis_factor(RBF(length_scale), pixels, boundary)
    extended = factor.matrix.apply(np.eye(factor.columns)[None])[0]
    assert (extended == np.rint(extended * 2**FACTOR_BITS) / 2**FACTOR_BITS).all()
    assert (factor.column_sums == extended.sum(axis=0)).all()
    assert factor.matrix.row_sum == np.abs(extended).sum(axis=1).max()
    gram = factor.gram.apply(np.eye(factor.columns)[None])[0] * 2.0**factor.gram_scale
    # The factor is rounded to at least 19 bits before it is squared.
    tolerance = factor.spacing * 8 * 2.0**-19
    np.testing.assert_allclose(gram, extended.T @ extended, rtol=0, atol=tolerance)


def test_products_along_the_last_axis_are_those_along_the_second() -> None:
    factor = axis_factor(RBF(3.0), 150, "open")
    noise = np.random.default_rng(1).integers(-9, 9, (5, factor.columns)).astype(float)
    assert (
        factor.matrix.apply_last(noise) == factor.matrix.apply(noise[:, :, None])[:, :, 0]
    ).all()


def test_a_short_periodic_axis_says_what_would_fit() -> None:
    with pytest.raises(
        RecipeError, match=r"140 px does not fit .* 1024 px; .* 91\.43 px.* 1568 px"
    ):
        axis_factor(RBF(140.0), 1024, "periodic")
