import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from pyfftw.interfaces import scipy_fft as fftw
from test_torus import CASES, covariance_from, torus_of

from gpgen.errors import GpgenError
from gpgen.exact.convolution import PIXEL_BITS, Convolution, standardized
from gpgen.exact.fourier import SCIPY, Fourier, NumpyFourier, ScipyFourier
from gpgen.exact.torus_size import ImageGrid
from gpgen.torch.fourier import TorchFourier

SMALL = [name for name in CASES if name != "long"]


@dataclass(frozen=True)
class Fftw(ScipyFourier):
    """`pyfftw`, whose interface is `scipy.fft`'s."""

    def rfft(self, x: Any, axis: int) -> Any:
        return fftw.rfft(x, axis=axis)

    def fft(self, x: Any, axis: int) -> Any:
        return fftw.fft(x, axis=axis)

    def ifft(self, x: Any, axis: int) -> Any:
        return fftw.ifft(x, axis=axis)

    def irfft(self, x: Any, n: int, axis: int) -> Any:
        return fftw.irfft(x, n, axis=axis)


def noise_of(convolution: Convolution, seed: int, stream: int, fourier: Fourier = SCIPY) -> Any:
    """One sample's noise."""
    return convolution.noise(np.array([seed], dtype=np.uint64), stream, fourier)


def draw(convolution: Convolution, seed: int, stream: int, fourier: Fourier) -> Any:
    """One sample."""
    return convolution.draw(noise_of(convolution, seed, stream, fourier), fourier)[0]


@dataclass(frozen=True)
class Wrong(ScipyFourier):
    """SciPy's transforms, and an error in what comes last, in samples counted from 0."""

    size: float
    where: int | slice = field(hash=False)
    samples: tuple[int, ...] = (0,)
    calls: list[int] = field(default_factory=list, hash=False, compare=False)

    def irfft(self, x: Any, n: int, axis: int) -> Any:
        values = super().irfft(x, n, axis)
        if len(self.calls) in self.samples:
            values.reshape(-1)[self.where] += self.size
        self.calls.append(1)
        return values


@pytest.mark.parametrize("name", SMALL)
def test_pixels_are_the_exact_convolution(name: str) -> None:
    convolution = Convolution(torus_of(name))
    pixels = draw(convolution, 3, 1, SCIPY)
    noise = noise_of(convolution, 3, 1)[0].astype(np.int64)
    root = convolution.torus.whole_root()
    sizes = convolution.torus.sizes
    rng = np.random.default_rng(1)
    for _ in range(20):
        place = tuple(rng.integers(convolution.torus.grid.pixels).tolist())
        # The root at place - u for every noise point u.
        index = np.ix_(*((x - np.arange(m)) % m for x, m in zip(place, sizes, strict=True)))
        upper, lower = noise >> 8, noise & 255
        exact = int((upper * root[index]).sum()) * 256 + int((lower * root[index]).sum())
        assert int(pixels[place]) == exact


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "fourier", [NumpyFourier(), TorchFourier(), Fftw()], ids=["numpy", "torch", "fftw"]
)
def test_every_fft_gives_the_same_integers(name: str, fourier: Fourier) -> None:
    convolution = Convolution(torus_of(name))
    ours, theirs = draw(convolution, 5, 0, SCIPY), draw(convolution, 5, 0, fourier)
    np.testing.assert_array_equal(ours, np.asarray(theirs))
    for standardize in (False, True):
        if standardize:
            (ours, deviation), (theirs, other) = (
                standardized(ours[None], SCIPY),
                standardized(theirs[None], fourier),
            )
            assert deviation == other
            np.testing.assert_array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize("name", CASES)
def test_the_distance_from_the_integers_is_small(name: str) -> None:
    convolution = Convolution(torus_of(name))
    values = convolution.convolve(noise_of(convolution, 8, 0), SCIPY)
    assert np.abs(values - np.rint(values)).max() < 0.02


@pytest.mark.parametrize("size", [0.2, 0.5, 1.0, 256.0, 2.0**40, math.inf, math.nan])
@pytest.mark.parametrize("where", [0, 40, slice(5, 9), slice(None)], ids=str)
def test_an_error_of_the_fft_is_caught_and_mended(size: float, where: int | slice) -> None:
    convolution = Convolution(torus_of("open"))
    wrong = Wrong(size, where)
    np.testing.assert_array_equal(draw(convolution, 5, 0, wrong), draw(convolution, 5, 0, SCIPY))
    assert len(wrong.calls) == 3  # the sample's, and that of its noise in two parts


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fourier", [SCIPY, TorchFourier()], ids=["scipy", "torch"])
def test_samples_drawn_together_are_those_drawn_alone(name: str, fourier: Fourier) -> None:
    convolution = Convolution(torus_of(name))
    seeds = np.array([5, 2**64 - 1, 0], dtype=np.uint64)
    together = convolution.draw(convolution.noise(seeds, 1, fourier), fourier)
    centred, deviations = standardized(together, fourier)
    for k, seed in enumerate(seeds.tolist()):
        alone = draw(convolution, seed, 1, SCIPY)
        np.testing.assert_array_equal(np.asarray(together[k]), alone)
        (expected,), (deviation,) = standardized(alone[None], SCIPY)
        np.testing.assert_array_equal(np.asarray(centred[k]), expected)
        assert deviations[k] == deviation


@pytest.mark.parametrize("sample", range(3))
@pytest.mark.parametrize("row", [0, -1])
def test_an_error_in_one_of_several_samples_is_caught_and_mended(sample: int, row: int) -> None:
    convolution = Convolution(torus_of("open"))
    noise = convolution.noise(np.arange(3, dtype=np.uint64), 0, SCIPY)
    rows, width = convolution.torus.grid.pixels[0], convolution.torus.sizes[-1]
    wrong = Wrong(1.0, (sample * rows + row % rows) * width + 1)
    right = convolution.draw(noise, SCIPY)
    np.testing.assert_array_equal(convolution.draw(noise, wrong), right)
    assert len(wrong.calls) == 3


@pytest.mark.parametrize("size", [0.2, 1.0, math.nan])
def test_an_error_that_stays_is_told(size: float) -> None:
    convolution = Convolution(torus_of("open"))
    with pytest.raises(GpgenError, match=r"its Fourier transform of .* numbers is wrong"):
        draw(convolution, 5, 0, Wrong(size, 0, samples=(0, 1, 2)))


def test_errors_at_random_places_of_the_spectrum_are_caught() -> None:
    @dataclass(frozen=True)
    class Noisy(ScipyFourier):
        seed: int
        calls: list[int] = field(default_factory=list, hash=False, compare=False)

        def fft(self, x: Any, axis: int) -> Any:
            values = super().fft(x, axis)
            rng = np.random.default_rng(self.seed)
            if not self.calls:
                # A bit of one number, such as a faulty memory flips.
                bit = np.uint64(1) << np.uint64(rng.integers(20, 63))
                bits = values.view(np.uint64).reshape(-1)
                bits[rng.integers(bits.size)] ^= bit
            self.calls.append(1)
            return values

    convolution = Convolution(torus_of("open"))
    right = draw(convolution, 5, 0, SCIPY)
    for seed in range(1000):
        np.testing.assert_array_equal(draw(convolution, 5, 0, Noisy(seed)), right)


def test_the_noise_in_two_parts_gives_the_same_integers() -> None:
    convolution = Convolution(torus_of("soft-wrap"))
    wrong = Wrong(0.3, 4)
    draw(convolution, 9, 2, wrong)
    noise = noise_of(convolution, 9, 2)
    upper = np.rint(noise / 256)
    for part in (upper, noise - 256 * upper):
        values = convolution.convolve(part, SCIPY)
        assert np.abs(values - np.rint(values)).max() < 1e-3


@pytest.mark.parametrize("offset", [0, 2**52, -(2**52)])
@pytest.mark.parametrize("spread", [1, 1000, 2**44])
def test_mean_and_deviation_are_exact(offset: int, spread: int) -> None:
    if abs(offset) + 6 * spread > 2**53:
        pytest.skip("beyond what a pixel can be")
    rng = np.random.default_rng(3)
    pixels = np.rint(rng.standard_normal((300, 200)) * spread).astype(np.int64) + offset
    values = [int(p) for p in pixels.reshape(-1)]
    count, total = len(values), sum(values)
    variance = (sum(v * v for v in values) * count - total * total) / count**2
    (centred,), (deviation,) = standardized(pixels[None], SCIPY)
    assert abs(int(centred.astype(np.int64).sum())) <= count
    np.testing.assert_array_equal(centred, pixels - round(total / count))
    # The mean is taken as a whole number, which is off by up to a half.
    assert deviation == pytest.approx(math.sqrt(variance), rel=1e-8, abs=0.13 / spread)


def test_equal_pixels_have_the_deviation_0() -> None:
    centred, deviation = standardized(np.full((1, 8, 8), 2**50), SCIPY)
    assert deviation == 0
    assert not centred.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["open", "periodic", "rotated", "3d"])
def test_the_covariance_of_many_samples_is_the_models(name: str) -> None:
    convolution = Convolution(torus_of(name))
    pixels = convolution.torus.grid.pixels
    origin = tuple(n // 3 for n in pixels)
    count = 600
    products, at_origin = np.zeros(pixels), []
    for seed in range(count):
        image = draw(convolution, seed, 0, SCIPY) * 2.0**-PIXEL_BITS
        products += image[origin] * image
        at_origin.append(image[origin])
    expected = covariance_from(convolution.torus, origin)
    # The variance of the product of two normal numbers of covariance c is 1 + c^2.
    z = (products / count - expected) / np.sqrt((1 + expected**2) / count)
    assert np.abs(z).max() < 5.5  # products of two normal numbers have longer tails than one
    assert abs(np.mean(at_origin)) < 4 / math.sqrt(count)
    far = np.abs(expected) < 1e-3
    if far.sum() > 1000:
        assert 0.85 < np.std(z[far]) < 1.15


def test_torch_on_several_threads_gives_the_same_integers() -> None:
    convolution = Convolution(torus_of("open"))
    right = draw(convolution, 5, 0, SCIPY)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            np.testing.assert_array_equal(draw(convolution, 5, 0, TorchFourier()).numpy(), right)
    finally:
        torch.set_num_threads(before)


def test_a_grid_of_an_open_and_a_periodic_axis() -> None:
    torus = torus_of("mixed")
    assert torus.grid == ImageGrid((75, 40), (True, False))
    image = draw(Convolution(torus), 1, 0, SCIPY) * 2.0**-PIXEL_BITS
    steps = np.abs(np.diff(image, axis=0)).mean(), np.abs(image[0] - image[-1]).mean()
    assert steps[0] == pytest.approx(steps[1], rel=0.3)
    assert np.abs(image[:, 0] - image[:, -1]).mean() > 1.3 * np.abs(np.diff(image, axis=1)).mean()
