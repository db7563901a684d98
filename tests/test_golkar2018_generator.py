"""The 2018 generator against the authors' program, dense matrices, SciPy and itself elsewhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from machines import cpu_flags
from scipy.interpolate import RectBivariateSpline, make_interp_spline
from scipy.stats import chisquare

from gpgen import Recipe, sample
from gpgen.errors import RecipeError, UsageError
from gpgen.exact.accuracy import accuracy
from gpgen.exact.mosaic import (
    ENVELOPE,
    Mosaic,
    Patch,
    standardized,
    texture,
    uniform_integers,
)
from gpgen.exact.mosaic_factor import FACTOR_BITS, covariance_factor, squared_exponential
from gpgen.exact.mosaic_spline import cubic_spline

# What the authors' program gives, each value with its standard error: variance, kurtosis, then
# the correlations at lags 1 to 12. Measured with their generate_patch, unchanged but for names
# that NumPy and SciPy have removed (commit 5e42191, Python 3.11, NumPy 2.4.6, SciPy 1.17.1,
# george 0.4.4), by
#   python benchmarks/golkar2018_authors.py statistics CHECKOUT mosaic --images 6000 --seed 12
#   python benchmarks/golkar2018_authors.py statistics CHECKOUT plain --images 20000 --seed 11
AUTHORS_MOSAIC = np.array(
    [
        (2.431140, 0.005658), (3.597332, 0.009911),
        (0.978094, 0.000044), (0.915152, 0.000139), (0.819095, 0.000279), (0.701292, 0.000443),
        (0.574353, 0.000610), (0.449949, 0.000760), (0.337162, 0.000882), (0.241650, 0.000971),
        (0.165650, 0.001028), (0.108603, 0.001059), (0.068100, 0.001073), (0.040851, 0.001077),
    ]
)  # fmt: skip
AUTHORS_PLAIN = np.array(
    [
        (1.000578, 0.001563), (2.997611, 0.003881),
        (0.996487, 0.000017), (0.985992, 0.000039), (0.968746, 0.000065), (0.945113, 0.000097),
        (0.915576, 0.000133), (0.880724, 0.000175), (0.841238, 0.000220), (0.797864, 0.000269),
        (0.751397, 0.000319), (0.702651, 0.000371), (0.652439, 0.000423), (0.601548, 0.000474),
    ]
)  # fmt: skip

SMALL_MOSAIC = Mosaic(120, Patch(20, 3, 2), wrap_factor=1.25)
SMALL_PLAIN = Patch(32, 3, 4, envelope=False)


def image_moments(image: np.ndarray) -> list[float]:
    lagged = [
        ((image[d:] * image[:-d]).mean() + (image[:, d:] * image[:, :-d]).mean()) / 2
        for d in range(1, 13)
    ]
    return [(image**2).mean(), (image**4).mean(), *lagged]


def statistics(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance, kurtosis, correlations; standard errors over images by the jackknife."""

    def values(m: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [m[..., :1], m[..., 1:2] / m[..., :1] ** 2, m[..., 2:] / m[..., :1]], -1
        )

    n = len(moments)
    left_out = values((moments.sum(axis=0) - moments) / (n - 1))
    errors = np.sqrt((n - 1) * left_out.var(axis=0))
    return values(moments.mean(axis=0)), errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("generator", "authors", "images"),
    [(SMALL_MOSAIC, AUTHORS_MOSAIC, 800), (SMALL_PLAIN, AUTHORS_PLAIN, 2500)],
    ids=["mosaic", "plain"],
)
def test_variance_kurtosis_and_correlations_are_those_of_the_authors_program(
    generator: Mosaic | Patch, authors: np.ndarray, images: int
) -> None:
    moments = np.array([image_moments(generator.realization(seed)) for seed in range(images)])
    ours, errors = statistics(moments)
    assert np.all(np.abs(ours - authors[:, 0]) < 3 * np.hypot(errors, authors[:, 1]))


def expected_second_moments(generator: Mosaic | Patch) -> np.ndarray:
    """Variance and correlations at lags 1 to 12, from the program's definition, without sampling.

    The covariance of two pixels is a product over the axes, each factor an average over the
    places that a patch may take, then wrapped.
    """
    patch = generator.patch if isinstance(generator, Mosaic) else generator
    s = patch.length_scale / patch.size
    x = np.linspace(0, 1, patch.size)
    fine = np.linspace(0, 1, patch.pixels)
    spline = make_interp_spline(x, np.eye(patch.size), k=3)(fine)
    axis = spline @ np.exp(-((x[:, None] - x) ** 2) / (2 * s * s)) @ spline.T
    count = 1
    if patch.envelope:
        envelope = np.exp(-23 * (fine - 0.5) ** 2)
        axis *= envelope[:, None] * envelope
    if isinstance(generator, Mosaic):
        places = generator.size - patch.pixels
        total = np.zeros((generator.size, generator.size))
        for place in range(places):
            total[place : place + patch.pixels, place : place + patch.pixels] += axis / places
        rows = int(generator.wrap_factor * patch.size / 5 * 4 * patch.upscale + 0.5)
        wrap = np.eye(generator.size)
        wrap[:rows] += wrap[-rows:]
        wrap[-rows:] = wrap[:rows]
        axis = wrap @ total @ wrap.T
        count = int(6 * (generator.size / int(0.6 * patch.size * patch.upscale)) ** 2)
    # A product of expectations, since the places on the two axes are independent.
    products = np.array([np.diagonal(axis, lag).mean() for lag in range(13)])
    variance = count * products[0] ** 2
    return np.concatenate([[variance], products[1:] / products[0]])


@pytest.mark.parametrize(
    ("generator", "authors"),
    [(SMALL_MOSAIC, AUTHORS_MOSAIC), (SMALL_PLAIN, AUTHORS_PLAIN)],
    ids=["mosaic", "plain"],
)
def test_what_was_measured_of_the_authors_program_is_what_its_definition_says(
    generator: Mosaic | Patch, authors: np.ndarray
) -> None:
    expected = expected_second_moments(generator)
    values, errors = np.delete(authors, 1, axis=0).T
    assert np.all(np.abs(values - expected) < 3 * errors)


@pytest.mark.parametrize(
    "patch", [Patch(20, 3, 2), SMALL_PLAIN, Patch(50, 8, 1.1875), Patch(24, 2)]
)
def test_a_patch_has_the_covariance_of_the_program_to_1e_6(patch: Patch) -> None:
    # Dense, over all pairs of points of the plane, and through SciPy's spline of the plane.
    n, points = patch.size, 3
    x = np.linspace(0, 1, n)
    s = patch.length_scale / n
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, patch.pixels, size=(points, 2))
    fine = np.linspace(0, 1, patch.pixels)
    envelope = np.exp(-ENVELOPE * (fine - 0.5) ** 2) if patch.envelope else np.ones(patch.pixels)

    def through_spline(plane: np.ndarray) -> np.ndarray:
        upsampled = RectBivariateSpline(x, x, plane, s=0)(fine, fine)
        return (upsampled * envelope[:, None] * envelope)[pixels[:, 0], pixels[:, 1]]

    dense = np.exp(-((x[:, None] - x) ** 2) / (2 * s * s))
    plane = np.einsum("ac,bd->abcd", dense, dense).reshape(n * n, n, n)
    half = np.array([through_spline(p) for p in plane]).T.reshape(points, n, n)
    expected = np.array([through_spline(p) for p in half])
    factor = patch.axis_factor.matrix
    axis = factor @ factor.T
    drawn = axis[np.ix_(pixels[:, 0], pixels[:, 0])] * axis[np.ix_(pixels[:, 1], pixels[:, 1])]
    assert np.abs(drawn - expected).max() < 1e-6
    assert np.abs(drawn - expected).max() <= patch.covariance_error < 1e-6


@pytest.mark.parametrize(("size", "length_scale"), [(50, 8), (50, 1), (128, 17.5), (8, 100)])
def test_the_factor_leaves_out_no_more_than_it_says(size: int, length_scale: float) -> None:
    factor = covariance_factor(size, length_scale)
    exact = squared_exponential(size, length_scale)
    # The residual is a covariance matrix, so its diagonal bounds it; 1e-15 for the arithmetic.
    assert np.abs(factor @ factor.T - exact).max() < 1e-8 + 1e-15


@pytest.mark.parametrize(
    ("n", "points"), [(4, 9), (5, 11), (6, 6), (20, 40), (50, 62), (128, 1024)]
)
def test_the_spline_is_scipys_not_a_knot_spline(n: int, points: int) -> None:
    values = np.random.default_rng(n).standard_normal((n, 3))
    expected = make_interp_spline(np.linspace(0, 1, n), values, k=3)(np.linspace(0, 1, points))
    # SciPy evaluates at linspace's rounded positions: an ulp, times the slope, n at most.
    assert np.abs(cubic_spline(values, points) - expected).max() < 1e-12


def by_hand(mosaic: Mosaic, patches: np.ndarray, corners: np.ndarray) -> np.ndarray:
    image = np.zeros((mosaic.size, mosaic.size))
    for patch, (row, column) in zip(patches, corners, strict=True):
        for i, line in enumerate(patch):
            image[row + i, column : column + len(line)] += line
    b = int(mosaic.wrap_factor * mosaic.patch.size / 5 * 4 * mosaic.patch.upscale + 0.5)
    for axis in (0, 1):
        image = np.moveaxis(image, axis, 0).copy()
        image[:b] += image[-b:].copy()
        image[-b:] = image[:b]
        image = np.moveaxis(image, 0, axis)
    return image


def test_a_mosaic_is_its_patches_laid_down_one_by_one_and_wrapped() -> None:
    from gpgen.exact.normal import random_words, standard_normal

    mosaic, seed, stream = Mosaic(70, Patch(20, 3, 1.5), wrap_factor=0.8), 9, 2
    factor = mosaic.patch.axis_factor.matrix
    rank = factor.shape[1]
    normals = standard_normal(random_words(seed, stream, mosaic.count * rank * rank))
    patches = factor @ normals.reshape(-1, rank, rank) @ factor.T
    corners = uniform_integers(seed, (1 << 32) + stream, 2 * mosaic.count, 70 - 30).reshape(-1, 2)
    expected = by_hand(mosaic, patches, corners)
    # Between the products values are rounded to 2**-23 or finer; a pixel sums fewer than 100.
    assert np.abs(mosaic.realization(seed, stream) - expected).max() < 100 * 2.0**-23


def test_products_are_exact_so_their_order_cannot_matter() -> None:
    patch = Patch(20, 3, 2)
    factor = patch.axis_factor
    rank = factor.matrix.shape[1]
    normals = np.rint(np.random.default_rng(1).standard_normal((2, rank, rank)) * 2**20) / 2**20
    drawn = patch.draw(normals)
    backwards = np.einsum("ai,kij,bj->kab", factor.matrix[:, ::-1], normals[:, ::-1], factor.matrix)
    assert np.abs(drawn - backwards).max() < 1e-6
    half = normals.astype(object) * 2**20 @ (factor.matrix.T * 2.0**FACTOR_BITS).astype(object)
    bits = FACTOR_BITS + 20
    # Integers, half to even, as the rounding between the two products does it.
    grid = 53 - np.frexp(8.5 * factor.row_sum**2)[1] - FACTOR_BITS
    rounded = np.vectorize(lambda v: round(int(v) / 2 ** int(bits - grid)), otypes=[object])(half)
    exact = (factor.matrix * 2.0**FACTOR_BITS).astype(object) @ rounded
    assert np.array_equal(drawn, (exact / 2 ** int(grid + FACTOR_BITS)).astype(float))


def test_sizes_and_counts_are_those_of_the_program() -> None:
    ten, nine = texture(10), texture(9.5)
    assert isinstance(ten, Mosaic) and isinstance(nine, Mosaic)  # noqa: PT018
    assert (ten.patch.pixels, ten.count, ten.wrapped_rows) == (62, 4595, 62)
    assert (nine.patch.pixels, nine.count, nine.wrapped_rows) == (59, 5135, 59)
    assert texture(80) == Patch(128, 10, upscale=8, envelope=False)
    assert texture(49.9, 1024).patch.length_scale == 8
    assert texture(3).patch == Patch(50, 3, 1.0)
    assert Mosaic(64, Patch(20, 3), upscale=1.5).realization(0).shape == (96, 96)


def test_an_upscaled_mosaic_goes_through_scipys_spline() -> None:
    plain = Mosaic(64, Patch(20, 3)).realization(4)
    x = np.linspace(0, 1, 64)
    fine = np.linspace(0, 1, 96)
    expected = RectBivariateSpline(x, x, plain, s=0)(fine, fine)
    # The image and the spline are rounded to 2**-24 or finer, twice, rows summing to below 3.
    assert np.abs(Mosaic(64, Patch(20, 3), upscale=1.5).realization(4) - expected).max() < 2e-6


def test_standardizing_gives_mean_0_and_deviation_1() -> None:
    image = standardized(np.random.default_rng(0).standard_normal((321, 123)) * 7 + 100)
    assert abs(image.mean()) < 1e-14
    assert abs(image.std() - 1) < 1e-14


def test_places_are_uniform() -> None:
    places = uniform_integers(3, 1 << 32, 60_000, 6)
    assert chisquare(np.bincount(places, minlength=6)).pvalue > 1e-3
    assert places.min() == 0
    assert places.max() == 5


def test_words_that_would_favour_small_numbers_are_skipped() -> None:
    from gpgen.exact.normal import random_words

    below = 2**63 + 1  # nearly half of all words lie above its only multiple
    words = [int(w) for w in random_words(1, 2, 200)]
    expected = [w for w in words if w < below][:40]
    assert uniform_integers(1, 2, 40, below).view(np.uint64).tolist() == expected


@pytest.mark.parametrize(
    ("length_scale", "size"),
    [(0, 1024), (-1, 64), (float("nan"), 64), (80, 100), (80, 24), (10, 62)],
)
def test_what_cannot_be_drawn_is_refused(length_scale: float, size: int) -> None:
    with pytest.raises(UsageError):
        texture(length_scale, size)


HASHES = """
import hashlib
from gpgen.exact.mosaic import standardized, texture
for length_scale in (3, 9.5, 80):
    image = standardized(texture(length_scale, 128).realization(2**63 + 5, 1))
    print(hashlib.sha256(image.tobytes()).hexdigest())
"""

# Equal under six OpenBLAS kernels and without NumPy's SIMD when they were pinned.
GOLDEN = [
    "a7a95d90137ee9ec3c822cbae72505fc195b5cb5ce27897b4c430b31e6badcf1",
    "fdf972f55828dce04b49e24caa96313e18c081425adb261284fc5b20308125b0",
    "57f81fc60cfe842f523049ff13dcd13c4e4d17b591d2be40f879ae1ee90dc88d",
]


# Whatever this NumPy calls them; names that it doesn't know it ignores.
NO_SIMD = "X86_V3 X86_V4 AVX2 FMA3 AVX512F AVX512_SKX AVX512_ICL"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OPENBLAS_CORETYPE": "PRESCOTT", "NPY_DISABLE_CPU_FEATURES": NO_SIMD},
        {"OPENBLAS_CORETYPE": "HASWELL"},
        {"OPENBLAS_CORETYPE": "SKYLAKEX", "OPENBLAS_NUM_THREADS": "2"},
    ],
    ids=["as it is", "no AVX", "Haswell", "AVX-512"],
)
def test_pixels_are_the_same_on_every_processor(environment: dict[str, str]) -> None:
    if "SKYLAKEX" in environment.values() and "avx512f" not in cpu_flags():
        pytest.skip("this processor has no AVX-512")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HASHES],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == GOLDEN


# The recipe kind


def small_recipe(**changes: object) -> Recipe:
    return Recipe.load("golkar2018").replace(shape=(128, 128), **changes)


def test_a_recipe_sums_standardized_textures_with_its_weights() -> None:
    recipe = small_recipe(seed=4)
    drawn = sample(recipe, 2)
    assert (drawn.class_name, drawn.length_scales) == ("9.5-140", (9.5, 140.0))
    fine = standardized(texture(9.5, 128).realization(drawn.seed, 0))
    coarse = standardized(texture(140, 128).realization(drawn.seed, 1))
    assert np.array_equal(drawn.image, (0.75 * fine + 1.25 * coarse).astype(np.float32))


def test_a_recipe_keeps_its_algorithm_and_its_hash_differs() -> None:
    recipe = small_recipe()
    again = Recipe.from_toml(recipe.to_toml())
    assert again == recipe
    assert again.algorithm == "golkar2018"
    assert recipe.replace(algorithm="exact").sha256 != recipe.sha256
    assert accuracy(recipe).covariance_error < 1e-6
    assert accuracy(recipe).bits_used <= 53


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (128, 120)},
        {"shape": (128,)},
        {"shape": (60, 60)},
        {"boundary": "periodic"},
        {"standardize": False},
        {"components": [{"kernel": "rbf", "length_scales": [[3.0, 4.0]]}]},
        {"components": [{"kernel": "matern32", "length_scales": [3.0]}]},
    ],
    ids=str,
)
def test_a_recipe_that_the_program_could_not_draw_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        Recipe.load("golkar2018").replace(**{"shape": (128, 128), **changes})


def test_the_builtin_recipe_is_the_dataset_of_the_paper() -> None:
    recipe = Recipe.load("golkar2018")
    assert recipe.shape == (1024, 1024)
    assert dict(enumerate(recipe.classes)) == {0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"}
    digest = hashlib.sha256(sample(recipe.replace(shape=(128, 128)), 3).image.tobytes())
    golden = "6c45ddbd246d0aaed8bb4c25a0ee9bab60faea70335357a8c26256c63227390e"
    assert digest.hexdigest() == golden
