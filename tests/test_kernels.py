"""Kernels against SciPy's normal density and numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from gpgen.exact.kernels import KERNELS, RBF

LENGTH_SCALES = [0.25, 2.0, 9.5, 140.0]


def rbf(distance: np.ndarray | float, length_scale: float) -> np.ndarray:
    """The kernel as a ratio of normal densities."""
    return stats.norm.pdf(distance, scale=length_scale) / stats.norm.pdf(0, scale=length_scale)


def root_at(kernel: RBF, distance: float, spacing: float = 1.0) -> float:
    return float(kernel.root(np.array([distance]), spacing)[0])


@pytest.mark.parametrize("length_scale", LENGTH_SCALES)
def test_the_covariance_is_a_ratio_of_normal_densities(length_scale: float) -> None:
    distance = np.linspace(0, 6, 50) * length_scale
    # Both take an exponential of at least -18, which has a relative error of a few 2**-53.
    np.testing.assert_allclose(
        RBF(length_scale).covariance(distance), rbf(distance, length_scale), rtol=1e-14
    )


@pytest.mark.parametrize("length_scale", LENGTH_SCALES)
@pytest.mark.parametrize("lag", [0.0, 0.3, 1.0, 2.5])
def test_the_root_convolved_with_itself_is_the_covariance(length_scale: float, lag: float) -> None:
    kernel = RBF(length_scale)
    value, _ = integrate.quad(
        lambda u: root_at(kernel, u) * root_at(kernel, lag * length_scale - u),
        -8 * length_scale,
        (8 + lag) * length_scale,
        epsabs=1e-11,
        epsrel=1e-11,
    )
    # What quad is asked for; beyond 8 length-scales exp(-64) of the root is left out.
    assert value == pytest.approx(rbf(lag * length_scale, length_scale), abs=1e-10)


@pytest.mark.parametrize("length_scale", LENGTH_SCALES)
def test_points_as_close_and_a_root_as_long_as_it_says_are_enough(length_scale: float) -> None:
    kernel = RBF(length_scale)
    spacing = length_scale / kernel.oversampling
    points = np.arange(-40, 41) * spacing

    def cut(x: float) -> np.ndarray:
        root = kernel.root(x - points, spacing)
        root[np.abs(x - points) > kernel.reach * length_scale] = 0
        return root

    for x in np.linspace(0, spacing, 7):
        for lag in np.linspace(0, 4, 9) * length_scale:
            # 1e-7 for the points, and as much for what the root leaves out at either end.
            assert abs(cut(x) @ cut(x + lag) - rbf(lag, length_scale)) < 3e-7


def test_the_kernels_name_is_what_recipes_write() -> None:
    assert {name: kernel.name for name, kernel in KERNELS.items()} == {"rbf": "rbf"}
