import numpy as np
import pytest
from scipy.special import gamma, kv

from gpgen.errors import RecipeError
from gpgen.exact.kernels import RBF
from gpgen.exact.offered_kernels import stationary_kernel
from gpgen.exact.stationary import (
    STATIONARY,
    Exponential,
    Gaussian,
    Matern,
    PowerLaw,
    RationalQuadratic,
    Stationary,
    White,
    reach,
)

R = np.concatenate([[0.0], np.geomspace(1e-6, 100, 2000)])


@pytest.mark.parametrize("smoothness", [0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5, 3.7, 10.0])
def test_matern_is_the_formula_with_scipys_bessel_function(smoothness: float) -> None:
    x = np.sqrt(2 * smoothness) * R[1:]
    expected = 2 ** (1 - smoothness) / gamma(smoothness) * x**smoothness * kv(smoothness, x)
    covariance = Matern(smoothness).covariance(R)
    np.testing.assert_allclose(covariance[1:], expected, atol=1e-11)
    assert covariance[0] == 1


def test_kernels_agree_with_scikit_learn() -> None:
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")
    length = 7.0
    x = length * R[:, None]
    for ours, theirs in (
        (Gaussian(), kernels.RBF(length)),
        (Exponential(), kernels.Matern(length, nu=0.5)),
        (Matern(1.5), kernels.Matern(length, nu=1.5)),
        (Matern(0.8), kernels.Matern(length, nu=0.8)),
        (RationalQuadratic(0.7), kernels.RationalQuadratic(length, 0.7)),
    ):
        np.testing.assert_allclose(ours.covariance(R), theirs(x[:1], x)[0], atol=1e-11)


def test_kernels_agree_with_gstools_where_its_length_scale_is_rescaled() -> None:
    gstools = pytest.importorskip("gstools")
    length, root = 7.0, 2**0.5
    for ours, theirs in (
        (Gaussian(), gstools.Gaussian(len_scale=length, rescale=1 / root)),
        (Exponential(), gstools.Exponential(len_scale=length)),
        (Matern(0.8), gstools.Matern(len_scale=length, nu=0.8, rescale=root)),
        (RationalQuadratic(0.7), gstools.Rational(len_scale=length, alpha=0.7, rescale=1 / root)),
    ):
        np.testing.assert_allclose(ours.covariance(R), theirs.correlation(length * R), atol=1e-11)


def test_the_others_are_their_formulas() -> None:
    np.testing.assert_allclose(Exponential().covariance(R), np.exp(-R), rtol=1e-14)
    np.testing.assert_allclose(Gaussian().covariance(R[R < 37]), np.exp(-(R[R < 37] ** 2) / 2))
    np.testing.assert_allclose(Gaussian().covariance(R), RBF(3.0).covariance(3 * R), atol=1e-15)
    np.testing.assert_allclose(
        RationalQuadratic(0.7).covariance(R), (1 + R**2 / 1.4) ** -0.7, rtol=1e-13
    )
    assert White().covariance(R).tolist() == [1] + [0] * (len(R) - 1)


def test_a_power_law_is_one_between_its_scales() -> None:
    cycles_a_pixel = np.array([0, 0.001, 0.01, 0.1])
    spectrum = PowerLaw(3.0).spectrum(1e9 * cycles_a_pixel, cycles_a_pixel)
    assert spectrum[0] == 0
    np.testing.assert_allclose(spectrum[1:-1] / spectrum[2:], 1000)
    flat = PowerLaw(3.0).spectrum(0.1 * cycles_a_pixel, cycles_a_pixel)
    np.testing.assert_allclose(flat[1:], 1, rtol=2e-4)
    damped = PowerLaw(3.0, inner_scale=20.0).spectrum(1e9 * cycles_a_pixel, cycles_a_pixel)
    np.testing.assert_allclose(damped[1:] / spectrum[1:], np.exp(-((20 * cycles_a_pixel[1:]) ** 2)))


@pytest.mark.parametrize(
    "kernel", [Gaussian(), Matern(0.5), Matern(1.5), Matern(4.0), RationalQuadratic(2.0)]
)
def test_reach_is_where_the_covariance_is_negligible(kernel: Stationary) -> None:
    near, far = kernel.covariance(np.array([0.99, 1.0]) * reach(kernel))
    assert far <= 1e-7 < near


def test_a_hurst_exponent_names_a_power_law() -> None:
    assert stationary_kernel("power-law", 2, {"hurst": 0.25}) == PowerLaw(2.5)
    assert stationary_kernel("power-law", 3, {"hurst": 0.25}) == PowerLaw(3.5)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("matern", {}, "needs smoothness"),
        ("matern", {"smoothness": 0.05}, "smoothness 0.05 is out of range; use 0.1 to 10"),
        ("matern", {"smoothness": float("nan")}, "smoothness nan is out of range"),
        ("matern", {"smoothness": 1.5, "alpha": 1.0}, "has no alpha; leave it out"),
        ("exponential", {"smoothness": 1.5}, "has no smoothness"),
        ("rational-quadratic", {"alpha": 1e3}, "alpha 1000.0 is out of range"),
        ("power-law", {}, "needs exponent"),
        ("power-law", {"exponent": 0.0}, "exponent 0.0 is out of range"),
        ("power-law", {"exponent": 3.0, "hurst": 0.5}, "both given"),
        ("power-law", {"hurst": 1.0}, "hurst 1.0 is not between 0 and 1"),
        ("power-law", {"exponent": 3.0, "inner_scale": -1.0}, "inner_scale -1.0 is out of range"),
        ("rbf", {"alpha": 1.0}, "it takes no number of its own"),
    ],
)
def test_bad_numbers_are_refused(name: str, parameters: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        stationary_kernel(name, 2, parameters)


def test_every_kernel_is_known_by_its_name() -> None:
    assert all(kernel.name == name for name, kernel in STATIONARY.items())
