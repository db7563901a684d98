from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from machines import MACHINES, printed_on
from scipy import stats

from gpgen import Recipe, sample
from gpgen.errors import SampleIndexError, UsageError
from gpgen.exact.arrays import NUMPY
from gpgen.exact.axis import FACTOR_BITS
from gpgen.exact.drawing import TextureClass
from gpgen.exact.field_kinds import field_of
from gpgen.exact.normal import NORMAL_BITS
from gpgen.exact.standardizing import moment_errors
from gpgen.sampling import Sampler, sampler_for, seeds, seeds_at


def recipe_of(shape, scales, **fields) -> Recipe:
    weights = [0.75, 1.25, 0.5]
    components = [
        {"kernel": "rbf", "length_scales": s, "weight": w}
        for s, w in zip(scales, weights, strict=False)
    ]
    return Recipe.from_dict({"name": "t", "shape": shape, "components": components, **fields})


RECIPES = [
    recipe_of([40], [[2.0, 3.0], [9.0]]),
    recipe_of([30, 41], [[2.0], [7.0, 9.5]]),
    recipe_of([130, 70], [[[3.0, 5.0]], [20.0]]),
    recipe_of([12, 20, 17], [[2.0], [4.0, [3.0, 4.0, 5.0]]]),
    recipe_of([64, 96], [[2.0], [5.0]], boundary="periodic"),
    recipe_of([20, 18, 25], [[1.0], [1.5]], boundary="periodic"),
    recipe_of([33, 20], [[2.0], [7.0]], standardize=False),
]


def dense_component(recipe: Recipe, label: int, stream: int, seed: int) -> np.ndarray:
    """A component before standardizing, by one dense product in Python integers."""
    scale = recipe.length_scales_of(label)[stream]
    field = field_of(recipe.texture, "rbf", scale)
    noise = field.noise(np.array([seed], dtype=np.uint64), stream)[0]
    values = np.rint(noise * 2.0**NORMAL_BITS).astype(object)
    for axis, factor in enumerate(field.factors):
        matrix = factor.matrix.apply(np.eye(factor.columns)[None])[0]
        integers = _integers(matrix * 2.0**FACTOR_BITS)
        values = np.moveaxis(np.tensordot(integers, values, axes=(1, axis)), 0, axis)
    return values.astype(float) * 2.0 ** -(NORMAL_BITS + FACTOR_BITS * len(field.factors))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.shape}-{r.boundary}")
def test_an_image_is_the_weighted_sum_of_standardized_dense_products(recipe: Recipe) -> None:
    seed, label = 2**63 + 12345, len(recipe.classes) - 1
    expected = np.zeros(recipe.shape)
    for stream, component in enumerate(recipe.components):
        field = dense_component(recipe, label, stream, seed)
        if recipe.standardize:
            field = (field - field.mean()) / field.std()
        expected += component.weight * field
    image = Sampler(recipe).image(seed, label)
    # Each of up to four roundings to the grid moves a pixel by less than a factor's gain times
    # half the grid, and float32 by half a unit in the last place.
    tolerance = 4 * 12 * recipe.accuracy.grid + np.spacing(np.float32(8)) / 2
    np.testing.assert_allclose(image, expected, rtol=0, atol=tolerance)
    assert image.dtype == np.float32


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.shape}-{r.boundary}")
def test_moments_without_pixels_are_those_of_the_pixels(recipe: Recipe) -> None:
    for stream, scale in enumerate(recipe.length_scales_of(0)):
        field = field_of(recipe.texture, "rbf", scale)
        noise = field.noise(np.array([5], dtype=np.uint64), stream)
        mean, deviation = field.moments(noise)
        pixels = dense_component(recipe, 0, stream, 5)
        # Five standard errors of many independent roundings, of which the docstring of
        # `moment_errors` derives the sums; test_standardizing.py compares those with exact ones.
        # The deviation is the root of the mean square less the mean's square.
        of_mean, of_square = moment_errors(field)
        assert abs(mean[0] - pixels.mean()) < 5 * of_mean
        of_variance = of_square + 2 * abs(mean[0]) * of_mean
        assert abs(deviation[0] - pixels.std()) < 5 * of_variance / (2 * deviation[0])


def test_batches_and_single_samples_have_the_same_bits() -> None:
    for recipe in RECIPES:
        sampler = Sampler(recipe)
        images = sampler.images(3, 12)
        for i, seed in enumerate(seeds(recipe.seed, 3, 12)):
            assert (images[i] == sampler.image(int(seed), recipe.label_of(3 + i))).all()


def test_covariance_over_many_samples_is_the_kernels() -> None:
    """Every pair of pixels of a 1-D recipe, by Wilks' likelihood-ratio test of the matrix."""
    recipe = recipe_of([12], [[1.0], [2.0]], standardize=False)
    n = 40_000
    images = Sampler(recipe).images(0, n).astype(float)
    distance = np.subtract.outer(np.arange(12), np.arange(12))
    truth = 0.75**2 * np.exp(-(distance**2) / 2) + 1.25**2 * np.exp(-(distance**2) / 8)
    assert abs(images.mean()) < 4 * math.sqrt(truth.mean() / n)
    whitened = np.linalg.solve(np.linalg.cholesky(truth), images.T)
    covariance = whitened @ whitened.T / n
    _, logdet = np.linalg.slogdet(covariance)
    statistic = n * (np.trace(covariance) - logdet - 12)
    # Chi-squared with one degree of freedom for each entry of a symmetric 12 x 12 matrix.
    assert stats.chi2.sf(statistic, 78) > 1e-4


def test_pixels_are_normal_and_components_independent() -> None:
    recipe = recipe_of([16, 16], [[1.0], [3.0]], standardize=False)
    sampler = Sampler(recipe)
    corner = sampler.images(0, 8_000)[:, 0, 0].astype(float)
    variance = 0.75**2 + 1.25**2
    assert stats.kstest(corner / math.sqrt(variance), "norm").pvalue > 1e-4


def test_periodic_edges_meet() -> None:
    recipe = recipe_of([64, 96], [[4.0]], boundary="periodic", standardize=False)
    images = Sampler(recipe).images(0, 400).astype(float) / 0.75
    k1 = math.exp(-1 / 32)
    for edge in (images[:, 0] * images[:, -1], images[:, :, 0] * images[:, :, -1]):
        per_image = edge.mean(axis=1)
        error = per_image.std() / math.sqrt(len(per_image))
        assert abs(per_image.mean() - k1) < 4 * error


def test_standardized_components_have_mean_0_and_deviation_1() -> None:
    recipe = recipe_of([200, 200], [[6.0]])
    images = Sampler(recipe).images(0, 6).astype(float) / 0.75
    # Five standard errors of the moments that are taken out (see above) of fields whose deviation
    # is one, give or take its standard error: the squared correlation integrates to pi l**2, so
    # sqrt(pi 6**2 / (2 * 200**2)) = 0.04. The 40,000 roundings to float32, of at most 2**-23 each,
    # move mean and deviation by 2**-23 / sqrt(3 * 40_000) / 0.75 = 5e-10: nothing beside that.
    of_mean, of_square = moment_errors(field_of(recipe.texture, "rbf", 6.0))
    assert np.abs(images.mean(axis=(1, 2))).max() < 5 * of_mean
    assert np.abs(images.std(axis=(1, 2)) - 1).max() < 5 * of_square / 2


def test_float16_is_the_same_texture_rounded_once() -> None:
    recipe = recipe_of([40, 40], [[3.0], [9.0]])
    single = Sampler(recipe).images(0, 4)
    half = Sampler(recipe.replace(dtype="float16")).images(0, 4)
    assert half.dtype == np.float16
    assert np.abs(half.astype(float) - single).max() <= np.spacing(np.float16(4)) / 2


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.shape}-{r.boundary}")
def test_an_output_that_is_not_contiguous_is_filled(recipe: Recipe) -> None:
    """Reshaped, it would be copied, and the images be lost with the copy."""
    sampler = Sampler(recipe)
    out = np.zeros([4, *(2 * pixels for pixels in recipe.shape)], np.float32)
    part = out[(slice(None), *(slice(None, None, 2) for _ in recipe.shape))]
    assert (sampler.images(0, 4, out=part) == sampler.images(0, 4)).all()
    assert (part == sampler.images(0, 4)).all()


def test_the_seed_of_an_index_depends_on_nothing_else() -> None:
    whole = seeds(7, 0, 5000)
    assert len(np.unique(whole)) == 5000
    for start, stop in ((0, 0), (0, 1), (1023, 1025), (2048, 3072), (4990, 5000)):
        assert (seeds(7, start, stop) == whole[start:stop]).all()
    words = np.random.SeedSequence(7, spawn_key=(1,)).generate_state(1024, np.uint64)
    assert (whole[1024:2048] == words).all()


def test_samples_are_drawn_by_any_indices(small: Recipe) -> None:
    chosen = np.array([3000, 7, 0, 4, 7, 3, 1023, 1024])
    everything = seeds(small.seed, 0, 3001)
    assert (seeds_at(small.seed, chosen) == everything[chosen]).all()
    assert seeds_at(small.seed, np.array([2**61]))[0] == seeds(small.seed, 2**61, 2**61 + 1)[0]
    images = Sampler(small).images_at(chosen)
    for index, image in zip(chosen.tolist(), images, strict=True):
        assert (image == Sampler(small).images(index, index + 1)[0]).all()


def test_sample_by_index_and_by_its_seed_agree(small: Recipe) -> None:
    by_index = sample(small, 6)
    by_seed = sample(small, seed=by_index.seed, label=by_index.label)
    assert by_index.label == 2
    assert by_index.class_name == "2-12"
    assert by_index.length_scales == (2.0, 12.0)
    assert (by_index.image == by_seed.image).all()
    assert (by_index.image == sampler_for(small).images(6, 7)[0]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs an index"),
        ({"index": 1, "seed": 2, "label": 0}, "needs an index"),
        ({"seed": 2}, "needs an index"),
        ({"index": -1}, "index -1 is negative"),
        ({"seed": 1, "label": 4}, "label 4 is out of range; use 0 to 3"),
        ({"seed": -1, "label": 0}, "seed -1 is out of range"),
    ],
)
def test_bad_arguments_are_refused(small: Recipe, arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        sample(small, **arguments)


def test_a_sampler_refuses_what_is_no_sample(small: Recipe) -> None:
    sampler = Sampler(small)
    for seed, label in ((-1, 0), (2**64, 0), (1.5, 0), (0, small.class_count), (0, -1), (0, "2")):
        with pytest.raises(UsageError, match=r"seed|label"):
            sampler.image(seed, label)  # type: ignore[arg-type]
    for start, stop in ((-1, 3), (0, 1.5), (0, -1)):
        with pytest.raises(UsageError, match=r"start|stop"):
            sampler.images(start, stop)  # type: ignore[arg-type]
    for indices in ([-1], [0.5], [True]):
        with pytest.raises(SampleIndexError):
            sampler.images_at(np.array(indices))
    with pytest.raises(UsageError, match="index is -1"):
        small.label_of(-1)
    with pytest.raises(UsageError, match="out has shape None"):
        sampler.image(0, 0, [])  # type: ignore[arg-type]


def test_an_output_of_the_wrong_kind_is_refused(small: Recipe) -> None:
    with pytest.raises(UsageError, match=r"give an array of shape \(32, 32\) and dtype float32"):
        Sampler(small).image(1, 0, out=np.empty((32, 32)))


GOLDEN = {
    "three-scale": "9a2743c341cd3351",
    "two-scale": "05c90bc459a0f6e3",
    "two-scale-mini": "e7b482d4825a9d88",
}

HASHES = """
import hashlib
from gpgen import Recipe, Sampler
for name in {names}:
    pixels = Sampler(Recipe.load(name)).images(0, 8)
    print(name, hashlib.sha256(pixels).hexdigest()[:16])
"""


def test_golden_hashes_of_the_built_in_recipes() -> None:
    for name, golden in GOLDEN.items():
        pixels = Sampler(Recipe.load(name)).images(0, 8)
        assert hashlib.sha256(pixels).hexdigest()[:16] == golden


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_golden_hashes_hold_on_other_machines(machine: str) -> None:
    """Other BLAS kernels and SIMD paths are what another CPU would take."""
    printed = printed_on(machine, "-c", HASHES.format(names=sorted(GOLDEN)))
    assert dict(line.split() for line in printed.splitlines()) == GOLDEN


def test_torch_and_its_blas_agree_in_every_bit() -> None:
    torch = pytest.importorskip("torch")
    field = field_of(Recipe.load("two-scale").texture, "rbf", 9.5)
    noise = field.noise(np.array([1], dtype=np.uint64), 0)
    rows, _ = field.along_leading_axes(noise, np.ones(1))
    factor = field.factors[0]
    matrix = factor.matrix.apply(np.eye(factor.columns)[None])[0]
    assert (
        torch.from_numpy(matrix) @ torch.from_numpy(noise[0])
    ).numpy().tobytes() == rows.tobytes()


def _integers(x: np.ndarray) -> np.ndarray:
    integers = np.vectorize(int, otypes=[object])(x)
    assert (integers == x).all()
    return integers


def test_sums_are_exact_in_integers() -> None:
    """The largest partial sum fits in 53 bits: the same product in Python integers agrees."""
    recipe = RECIPES[1]
    drawn = TextureClass.of(recipe.texture, 0, NUMPY)
    rows = [part.rows for part in drawn.contributions(np.array([9], dtype=np.uint64))]
    for block in drawn.blocks:
        left = np.concatenate(
            [r[0][:, c] for r, c in zip(rows, block.columns, strict=True)], axis=1
        )
        product = left @ block.matrix
        integers = _integers(left * 2.0**40) @ _integers(block.matrix * 2.0**FACTOR_BITS)
        as_float = np.array([[float(int(v)) for v in row] for row in integers])
        assert (product * 2.0 ** (40 + FACTOR_BITS) == as_float).all()
