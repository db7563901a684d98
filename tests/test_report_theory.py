"""What the report expects of images: against dense matrices, sums and many samples."""

from __future__ import annotations

import numpy as np
import pytest

from gpgen import Recipe
from gpgen.report.measuring import measure
from gpgen.report.not_computed import NotComputedError
from gpgen.report.separable_power import separable_power
from gpgen.report.stationary_power import StationaryPower
from gpgen.report.theory import expected_power
from gpgen.sampling import sampler_for


def recipe_of(standardize, boundary="open", shape=(24, 32)):
    large = [4.0, 8.0] if boundary == "open" else [2.05, 2.1]
    return Recipe.from_dict(
        {
            "name": "tiny",
            "shape": list(shape),
            "boundary": boundary,
            "standardize": standardize,
            "components": [
                {"kernel": "rbf", "length_scales": [1.5, 2.0], "weight": 0.75},
                {"kernel": "rbf", "length_scales": large, "weight": 1.25},
            ],
        }
    )


@pytest.mark.parametrize("shape", [(40,), (8, 10), (4, 5, 6)])
def test_the_expected_power_is_that_of_the_dense_covariance_matrix(shape):
    """Without standardizing, F K F* computed with the whole matrix is exactly it."""
    recipe = Recipe.from_dict(
        {
            "name": "dense",
            "shape": list(shape),
            "standardize": False,
            "components": [
                {"kernel": "rbf", "length_scales": [1.5], "weight": 0.75},
                {"kernel": "rbf", "length_scales": [3.0], "weight": 1.25},
            ],
        }
    )
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = places.reshape(-1, len(shape)).astype(float)
    square = ((places[:, None] - places) ** 2).sum(axis=-1)
    matrix = 0.75**2 * np.exp(-square / (2 * 1.5**2)) + 1.25**2 * np.exp(-square / (2 * 3.0**2))
    n = len(matrix)
    # F K: transform every column as an image; then F (F K)*: every row.
    waves = np.fft.fftn(matrix.reshape(*shape, n), axes=range(len(shape))).reshape(n, n)
    both = np.fft.fftn(waves.conj().reshape(n, *shape), axes=range(1, len(shape) + 1))
    expected = np.real(np.diagonal(both.reshape(n, n))).reshape(shape) / n
    np.testing.assert_allclose(expected_power(recipe, 0), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "lengths"),
    [((8,), 8.0), ((2, 2), 1.0), ((2, 2, 2), 2.0), ((6, 8), [2.0, 5.0]), ((12, 12), 100.0)],
)
def test_the_expected_power_of_standardized_fields_is_that_of_dense_draws(shape, lengths):
    """Fields drawn from the whole matrix, then standardized: 5 standard errors of 40,000."""
    recipe = one_field(shape, lengths)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = places.reshape(-1, len(shape)) / np.array(lengths)
    square = ((places[:, None] - places) ** 2).sum(axis=-1)
    values, vectors = np.linalg.eigh(np.exp(-square / 2))
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn = np.random.default_rng(1).normal(size=(40_000, len(root))) @ root.T
    drawn -= drawn.mean(axis=1, keepdims=True)
    drawn /= drawn.std(axis=1, keepdims=True)
    waves = np.fft.fftn(drawn.reshape(-1, *shape), axes=range(1, len(shape) + 1))
    power = (np.abs(waves) ** 2 / len(root)).reshape(len(drawn), -1)
    error = power.std(axis=0) / np.sqrt(len(power))
    expected = expected_power(recipe, 0).ravel()
    # The quadrature's own error, of all waves together, is below 2e-7 (the next test).
    assert np.all(np.abs(power.mean(axis=0) - expected) < 5 * error + 2e-7 * len(root))


@pytest.mark.parametrize(
    ("boundary", "shape", "lengths"),
    [("open", (2,), 0.25), ("open", (2,), 1.0), ("open", (64,), 500.0), ("open", (2, 64), 3.0),
     ("open", (64, 64), 1000.0), ("open", (96, 96), 0.25), ("open", (12, 14, 16), 1.0),
     ("periodic", (3,), 0.26), ("periodic", (64,), 5.5), ("periodic", (16, 256), [1.2, 20.0]),
     ("periodic", (96, 96), 0.25), ("periodic", (12, 14, 16), 1.0)],
)  # fmt: skip
def test_the_power_of_a_standardized_image_adds_up_to_its_pixels(boundary, shape, lengths):
    """Whatever the recipe: sum of P_k = n s^2 = n (Parseval), one mode or ten thousand."""
    expected = expected_power(one_field(shape, lengths, boundary=boundary), 0)
    assert expected.shape == shape
    assert expected.flat[0] == 0
    assert expected.min() >= 0
    assert expected.sum() == pytest.approx(np.prod(shape), rel=2e-7)


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (lambda: one_field((5000,), 3.0), "minutes"),
        (lambda: Recipe.load("two-scale").replace(algorithm="golkar2018"), "golkar2018"),
        (lambda: of({**MATERN, "transform": "lognormal"}), "standardized before"),
        (lambda: of({**MATERN, "length_scales": [50.0]}, shape=[1024, 512]), "262,144 pixels"),
    ],
)
def test_what_is_not_computed_says_why(recipe, why):
    with pytest.raises(NotComputedError, match=why):
        expected_power(recipe(), 0)


MATERN = {"kernel": "matern", "smoothness": 1.5, "length_scales": [3.0]}
RANGE = {"low": 2.0, "high": 6.0, "steps": 3}


def of(*components, shape=(20, 24), **fields):
    data = {"name": "any", "shape": list(shape), "components": list(components), **fields}
    return Recipe.from_dict(data)


RAW = {"standardize": False}
ANY = {
    "Matérn": of(MATERN, {**MATERN, "smoothness": 0.5, "weight": 0.5}, **RAW),
    "Matérn, standardized": of(MATERN, {**MATERN, "smoothness": 0.5, "weight": 0.5}),
    "small": of(MATERN, shape=(9, 11)),
    "cylinder": of(MATERN, boundary=["open", "periodic"], shape=(20, 48)),
    "1-D": of(MATERN, shape=(400,)),
    "3-D": of(MATERN, shape=(8, 9, 10)),
    "rotated": of({"kernel": "rbf", "length_scales": [[2.0, 5.0]], "angle": 30.0}),
    "power law": of({"kernel": "power-law", "exponent": 3.0, "length_scales": [16.0]}),
    "white": of({"kernel": "white", "length_scales": [1.0]}, shape=(40, 40)),
    "drawn": of({"kernel": "rbf", "length_scales": RANGE}),
    "drawn Matérn": of({**MATERN, "length_scales": RANGE}),
    "lognormal": of({**MATERN, "transform": "lognormal"}, **RAW),
    "uniform": of({"kernel": "rbf", "length_scales": [3.0], "transform": "uniform"}, **RAW),
    "threshold": of({**MATERN, "transform": "threshold"}, MATERN, **RAW),
}


@pytest.mark.parametrize("recipe", ANY.values(), ids=ANY)
def test_any_kernel_range_and_transform_is_what_is_measured(recipe):
    """600 samples: no point off by more than five standard errors."""
    measured = measure(recipe, 0, sampler_for(recipe).images(0, 600))
    assert not measured.not_computed
    for curve in (measured.power, measured.correlation):
        assert np.abs(deviations(curve)).max() < 5


@pytest.mark.parametrize("length", [1.0, 4.0, 24.0])
def test_a_standardized_fields_power_is_that_of_the_exact_integral(length):
    """A kernel that separates, computed as if it didn't: 0.6 % at worst, 0.15 % on average."""
    n = 64
    field = StationaryPower(
        lambda lags: np.exp(-(lags[0] ** 2 + lags[1] ** 2) / (2 * length**2)), (n, n), (False,) * 2
    )
    exact = separable_power("rbf", (length, length), (n, n), (False, False))
    found = field.standardized()[: n // 2 + 1, : n // 2 + 1]
    told = exact > 1e-6 * exact.max()
    off = np.abs(found[told] / exact[told] - 1)
    assert off.max() < 6e-3
    assert np.average(off, weights=exact[told]) < 1.5e-3
    assert field.standardized().sum() == pytest.approx(n * n)


def one_field(shape, lengths, **fields):
    component = {"kernel": "rbf", "length_scales": [lengths]}
    return Recipe.from_dict({"name": "one", "shape": shape, "components": [component], **fields})


def deviations(curve):
    """Return the points' distances from what is expected, in standard errors."""
    # The correlation at no distance is 1: what scatters there is rounding.
    told = np.isfinite(curve.theory) & (curve.error > 1e-6 * np.abs(curve.mean))
    return ((curve.mean - curve.theory) / np.where(told, curve.error, 1))[told]


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("standardize", [True, False])
def test_what_is_measured_on_many_samples_is_what_is_expected(standardize, boundary):
    """1000 samples: no point off by more than 4.5 standard errors.

    A normal variable is beyond that once in 150,000; there are some 250 points here.
    """
    recipe = recipe_of(standardize, boundary)
    images = sampler_for(recipe).images(0, 4000)
    for label in (0, 3):
        measured = measure(recipe, label, images[label::4])
        for curve in (measured.power, measured.correlation):
            assert np.abs(deviations(curve)).max() < 4.5


def test_the_measurement_tells_classes_apart():
    """The theory of another class is refused, or agreement would say nothing."""
    recipe = recipe_of(True)
    images = sampler_for(recipe).images(0, 400)
    for label, other in ((0, 1), (0, 2)):
        right = measure(recipe, label, images[label::4])
        wrong = measure(recipe, other, images[label::4])
        assert np.abs(deviations(right.power)).max() < 4.5
        assert np.abs(deviations(wrong.power)).max() > 10


def test_a_kernels_correlation_is_one_at_no_distance():
    measured = measure(recipe_of(True), 0, sampler_for(recipe_of(True)).images(0, 8)[::4])
    assert measured.correlation.kernel[0] == 1
    assert np.sum(measured.values.mean) * np.diff(measured.values.x)[0] == pytest.approx(1, 0.01)
