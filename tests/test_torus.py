import math

import numpy as np
import pytest

from gpgen.errors import RecipeError
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.stationary import (
    Exponential,
    Gaussian,
    Matern,
    PowerLaw,
    RationalQuadratic,
    SpectralKernel,
    Stationary,
    White,
)
from gpgen.exact.torus import Torus
from gpgen.exact.torus_choice import torus_for
from gpgen.exact.torus_size import ImageGrid, sizes_for

CASES = {
    "1d": (Exponential(), (20.0,), 0.0, (300,), (False,)),
    "open": (Matern(1.5), (4.0, 4.0), 0.0, (90, 64), (False, False)),
    "periodic": (Matern(2.5), (4.0, 3.0), 0.0, (90, 77), (True, True)),
    "mixed": (Exponential(), (2.0, 5.0), 0.0, (75, 40), (True, False)),
    "soft-wrap": (RationalQuadratic(1.0), (6.0, 6.0), 0.0, (64, 64), (False, False)),
    "long": (Matern(0.5), (30.0, 30.0), 0.0, (64, 64), (False, False)),
    "rotated": (Matern(1.5), (2.0, 6.0), 30.0, (64, 50), (False, False)),
    "rotated-rbf": (Gaussian(), (8.0, 3.0), -70.0, (60, 60), (False, False)),
    "rotated-periodic": (Gaussian(), (2.0, 5.0), 45.0, (80, 75), (True, True)),
    "3d": (Exponential(), (2.0, 1.0, 1.5), 0.0, (20, 16, 24), (False, False, False)),
    "white": (White(), (1.0, 1.0), 0.0, (30, 31), (False, False)),
    "any-smoothness": (Matern(0.8), (3.0, 3.0), 0.0, (64, 64), (False, False)),
}


def torus_of(name: str) -> Torus:
    family, lengths, angle, pixels, periodic = CASES[name]
    return torus_for(ScaledKernel(family, lengths, angle), ImageGrid(pixels, periodic))


def covariance_from(torus: Torus, origin: tuple[int, ...]) -> np.ndarray:
    """Return the kernel between a pixel and all others, from its definition."""
    family, lengths, angle, pixels, periodic = (
        torus.kernel.family,
        torus.kernel.lengths,
        math.radians(torus.kernel.angle),
        torus.grid.pixels,
        torus.grid.periodic,
    )
    assert not isinstance(family, SpectralKernel)
    axes = []
    for axis, (n, closed, start) in enumerate(zip(pixels, periodic, origin, strict=True)):
        d = np.arange(n, dtype=float) - start
        if closed:
            d = (d + n // 2) % n - n // 2
        axes.append(d.reshape(-1, *(1,) * (len(pixels) - 1 - axis)))
    if angle:
        x, y = axes
        c, s = math.cos(angle), math.sin(angle)
        axes = [c * x + s * y, c * y - s * x]
    squares = sum((d / length) ** 2 for d, length in zip(axes, lengths, strict=True))
    return family.covariance(np.sqrt(np.broadcast_to(squares, pixels)))


@pytest.mark.parametrize("name", CASES)
def test_the_drawn_covariance_is_the_kernels_for_all_pairs(name: str) -> None:
    torus = torus_of(name)
    root = torus.whole_root() * 2.0**-28
    drawn = np.fft.ifftn(np.abs(np.fft.fftn(root)) ** 2).real
    rng = np.random.default_rng(1)
    worst = 0.0
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in torus.grid.pixels])).T
    corners = corners.reshape(-1, len(torus.grid.pixels))
    origins = [*map(tuple, corners), *(tuple(rng.integers(torus.grid.pixels)) for _ in range(6))]
    for origin in origins:
        shifted = np.roll(drawn, origin, axis=tuple(range(len(origin))))
        image = shifted[tuple(slice(n) for n in torus.grid.pixels)]
        worst = max(worst, float(np.abs(image - covariance_from(torus, origin)).max()))
    assert worst <= 1e-6
    # From a corner all distances are seen, so the computed error is the true one.
    assert torus.covariance_error == pytest.approx(worst, rel=1e-3, abs=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_the_mean_covariance_is_that_over_all_pairs(name: str) -> None:
    torus = torus_of(name)
    pixels = torus.grid.pixels
    rng = np.random.default_rng(2)
    if math.prod(pixels) < 400:
        rows = [covariance_from(torus, o).mean() for o in np.ndindex(*pixels)]
        assert torus.mean_covariance == pytest.approx(np.mean(rows), rel=1e-9)
    else:
        rows = [covariance_from(torus, tuple(rng.integers(pixels))).mean() for _ in range(300)]
        error = 5 * np.std(rows) / math.sqrt(300) + 1e-12
        assert torus.mean_covariance == pytest.approx(np.mean(rows), abs=error)


@pytest.mark.parametrize(
    ("family", "length", "size"),
    [
        (Matern(0.5), 10, 1200),
        (Matern(0.5), 80, 2304),
        (Matern(1.5), 10, 1152),
        (Matern(1.5), 80, 1920),
        (Matern(2.5), 80, 1800),
        (RationalQuadratic(1.0), 10, 2304),
    ],
)
def test_sizes_for_an_image_of_1024(family: Stationary, length: float, size: int) -> None:
    kernel, grid = ScaledKernel(family, (length, length)), ImageGrid((1024, 1024), (False, False))
    assert sizes_for(kernel, grid, 2.25) == (size, size)


@pytest.mark.parametrize("periodic", [(True, True), (False, True)])
@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_a_power_law_has_its_spectrum_and_variance_one(
    periodic: tuple[bool, bool], angle: float
) -> None:
    family = PowerLaw(3.0, inner_scale=2.0)
    torus = torus_for(ScaledKernel(family, (20.0, 40.0), angle), ImageGrid((48, 60), periodic))
    assert torus.sizes == tuple(
        n if closed else 2 * n for n, closed in zip((48, 60), periodic, strict=True)
    )
    power = np.abs(np.fft.fftn(torus.whole_root() * 2.0**-28)) ** 2
    assert power.mean() == pytest.approx(1, abs=1e-7)
    fx, fy = np.meshgrid(*(np.fft.fftfreq(m) for m in torus.sizes), indexing="ij")
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    k2 = (20 * (c * fx + s * fy)) ** 2 + (40 * (c * fy - s * fx)) ** 2
    expected = (1 + k2) ** -1.5 * np.exp(-4 * (fx**2 + fy**2))
    expected[0, 0] = 0
    expected /= expected.mean()
    # Waves that are their own mirror image only by being half-way round have two directions.
    inner = np.ix_(*(np.arange(m) != m // 2 for m in torus.sizes))
    np.testing.assert_allclose(power[inner], expected[inner], atol=1e-5 * expected.max())
    assert torus.covariance_error < 1e-6


def test_what_would_fit_is_told_and_fits() -> None:
    grid = ImageGrid((128, 128), (True, True))
    with pytest.raises(RecipeError, match=r"more than 1e-6.*at most ([\d.]+) px") as caught:
        torus_for(ScaledKernel(Matern(1.5), (30.0, 30.0)), grid)
    length = float(str(caught.value).split("at most ")[1].split(" px")[0])
    assert 8 < length < 12
    torus_for(ScaledKernel(Matern(1.5), (length, length)), grid)


def test_a_kernel_whose_torus_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(RecipeError, match="needs a torus of more than"):
        torus_for(ScaledKernel(Exponential(), (1e3,) * 3), ImageGrid((600,) * 3, (False,) * 3))


def test_a_periodic_axis_with_a_large_prime_factor_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"prime factor above 127.*use 1022 pixels"):
        torus_for(ScaledKernel(Exponential(), (3.0,)), ImageGrid((1021,), (True,)))
