import math

import mpmath
import numpy as np
import pytest

from gpgen.exact.reproducible_fft import (
    _roots_of_unity,
    cos_sin_degrees,
    prime_factors,
    symmetric_transform,
)


@pytest.mark.parametrize(
    "sizes", [(1,), (2,), (12,), (9,), (254,), (12, 10), (9, 15), (1, 6), (14, 77), (8, 6, 10)]
)
def test_an_even_array_is_transformed_as_by_numpy(sizes: tuple[int, ...]) -> None:
    whole = np.random.default_rng(1).standard_normal(sizes)
    for axis in range(len(sizes)):
        whole = (whole + np.roll(np.flip(whole, axis), 1, axis)) / 2
    half = tuple(slice(0, m // 2 + 1) for m in sizes)
    transform = symmetric_transform(whole[half][None], sizes)
    np.testing.assert_allclose(transform[0], np.fft.fftn(whole).real[half], atol=1e-12)
    np.testing.assert_allclose(
        symmetric_transform(transform, sizes)[0], whole[half] * math.prod(sizes), atol=1e-11
    )


@pytest.mark.parametrize("sizes", [(12, 10), (9, 15), (10, 9), (2, 2), (1, 4)])
def test_an_array_symmetric_about_a_point_is_transformed_as_by_numpy(
    sizes: tuple[int, int],
) -> None:
    whole = np.random.default_rng(1).standard_normal(sizes)
    whole = whole + np.roll(np.flip(whole), (1, 1), (0, 1))
    rows, columns = (m // 2 + 1 for m in sizes)
    mirrored = -np.arange(columns) % sizes[1]
    halves = [
        np.stack([x[:rows, :columns], x[:rows, mirrored]]) for x in (whole, np.fft.fftn(whole))
    ]
    np.testing.assert_allclose(symmetric_transform(halves[0], sizes), halves[1].real, atol=1e-12)


@pytest.mark.parametrize("n", [8, 45, 1200, 2304])
def test_roots_of_unity_are_good_to_a_unit_in_the_last_place(n: int) -> None:
    cosine, sine = _roots_of_unity(n)
    with mpmath.workdps(30):
        for k in range(0, n, max(1, n // 40)):
            angle = 2 * mpmath.pi * k / n
            assert abs(mpmath.cos(angle) - float(cosine[k])) < 2.3e-16
            assert abs(mpmath.sin(angle) - float(sine[k])) < 2.3e-16


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 133.5, 180, -30, 359.99, 720, -1e-20])
def test_cosine_and_sine_of_degrees(angle: float) -> None:
    assert cos_sin_degrees(angle) == pytest.approx(
        (math.cos(math.radians(angle)), math.sin(math.radians(angle))), abs=1e-14
    )


def test_right_angles_are_exact() -> None:
    assert [cos_sin_degrees(a) for a in (0, 90, 180, 270)] == [(1, 0), (0, 1), (-1, 0), (0, -1)]


def test_prime_factors() -> None:
    assert prime_factors(1) == []
    assert prime_factors(2 * 2 * 3 * 127) == [2, 2, 3, 127]
