from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpgen.exact.fixed_point import exp, fraction_bits, log, round_to_grid


@given(st.floats(1e-30, 1e30))
def test_fraction_bits_is_the_finest_grid_that_holds_the_bound(bound: float) -> None:
    bits = fraction_bits(bound)
    top = Fraction(bound) * Fraction(2) ** bits
    assert top < 2**53
    assert top * 2 >= 2**53


@given(st.floats(-1000, 1000), st.integers(0, 40))
def test_rounding_agrees_with_exact_fractions(x: float, bits: int) -> None:
    exact = Fraction(round(Fraction(x) * 2**bits), 2**bits)  # half to even, as IEEE 754 has it
    assert Fraction(float(round_to_grid(np.array([x]), bits)[0])) == exact


def test_rounding_takes_a_grid_for_each_row_and_writes_in_place() -> None:
    x = np.array([[0.3], [0.3]])
    assert round_to_grid(x, np.array([[1], [2]]), out=x) is x
    assert x.tolist() == [[0.5], [0.25]]


@pytest.mark.parametrize(
    ("ours", "exact", "points"),
    [
        (exp, mpmath.exp, np.linspace(-60, 5, 997)),
        (
            log,
            mpmath.log,
            np.concatenate([10.0 ** np.linspace(-16, 3, 997), 1 + np.arange(-9, 9) / 64]),
        ),
    ],
)
def test_elementary_functions_are_good_to_two_units_in_the_last_place(ours, exact, points) -> None:
    values = ours(points)
    for x, value in zip(points, values, strict=True):
        truth = exact(mpmath.mpf(float(x)))
        assert abs(mpmath.mpf(float(value)) - truth) <= 2 * np.spacing(abs(float(truth)))
