"""Every standardized image has mean 0 and deviation 1; images that can't be are refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from machines import MACHINES, printed_on

from benchmarks import nearly_constant
from benchmarks.nearly_constant import LARGEST_ERROR, RECIPES, exact
from gpgen import Recipe
from gpgen.errors import RecipeError, UsageError
from gpgen.exact.field_kinds import field_of
from gpgen.exact.kernels import RBF
from gpgen.exact.mosaic import texture
from gpgen.exact.mosaic_standardizing import standardized
from gpgen.exact.normal import NORMAL_BITS
from gpgen.exact.separable import SeparableField
from gpgen.exact.standardizing import centred_pixels, moment_errors, suspects
from gpgen.sampling import Sampler, seeds


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_nearly_constant_images_are_right_in_every_pixel(recipe: Recipe) -> None:
    """The short form of `benchmarks.nearly_constant`, which compares with Python's integers."""
    found = nearly_constant.measure(recipe, n=400, compared=4)
    assert (found.finite, found.wrong) == (400, 0)
    assert max(found.mean, found.deviation, found.pixel) < LARGEST_ERROR


def test_the_issues_example_is_finite_and_its_components_are_right() -> None:
    """27 of the first 10,000 images of two-scale at 8 px held infinity, sample 71 first."""
    recipe = Recipe.load("two-scale").replace(shape=[8, 8])
    images = Sampler(recipe).images(0, 2000)
    assert np.isfinite(images).all()
    for index in (71, 0, 1):
        seed, label = int(seeds(recipe.seed, index, index + 1)[0]), recipe.label_of(index)
        expected = np.zeros(64)
        scales = recipe.length_scales_of(label)
        for stream, (component, scale) in enumerate(zip(recipe.components, scales, strict=True)):
            pixels, _ = exact(field_of(recipe.texture, "rbf", scale), seed, stream)
            expected += component.weight * pixels
        weights = sum(component.weight for component in recipe.components)
        tolerance = LARGEST_ERROR * (weights + np.abs(expected).max())
        np.testing.assert_allclose(images[index].ravel(), expected, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "scale", "boundary"),
    [
        ((2,), 5.0, "open"),
        ((16,), 1.0, "open"),
        ((1024,), 140.0, "open"),
        ((4096,), 3000.0, "open"),
        ((2, 2), 0.5, "open"),
        ((16, 64), 20.0, "open"),
        ((4, 4, 4), 10.0, "open"),
        ((24, 24, 24), 1.0, "open"),
        ((16,), 1.4, "periodic"),
        ((24, 32), 0.3, "periodic"),
        ((20, 20, 20), 0.5, "periodic"),
    ],
)
def test_the_moments_errors_are_not_underestimated(shape, scale: float, boundary: str) -> None:
    """What decides which samples are looked at again: were it too small, wrong ones would pass."""
    field = SeparableField.of((RBF(scale),) * len(shape), shape, (boundary,) * len(shape))
    count = max(24, min(400, 50_000 // field.pixels))
    noise = field.noise(np.arange(count, dtype=np.uint64), 0)
    mean, deviation = field.moments(noise)
    _, true_mean, true_deviation = centred_pixels([f.matrix for f in field.factors], noise)
    of_mean, of_square = moment_errors(field)
    square_error = deviation**2 + mean**2 - true_deviation**2 - true_mean**2
    # A standard error of n numbers is itself known to 1 / sqrt(2 n); the bounds are no closer.
    slack = 1.2 * (1 + 3 / math.sqrt(2 * count))
    assert np.sqrt(np.mean((mean - true_mean) ** 2)) < slack * of_mean
    assert np.sqrt(np.mean(square_error**2)) < slack * of_square


@pytest.mark.slow
def test_ordinary_images_are_not_looked_at_again() -> None:
    """Else sampling would be slower: exact pixels cost several times as much."""
    for name in ("two-scale", "two-scale-mini", "three-scale"):
        recipe = Recipe.load(name)
        for component in recipe.components:
            for scale in component.length_scales:
                field = field_of(recipe.texture, "rbf", scale)
                noise = field.noise(seeds(0, 0, 20), 0)
                assert not suspects(field, *field.moments(noise)).any()


def test_equal_pixels_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES[0]
    monkeypatch.setattr(
        SeparableField, "noise", lambda self, seeds, stream, arrays: np.zeros((len(seeds), 19))
    )
    with pytest.raises(RecipeError) as caught:
        Sampler(recipe).image(12, 0)
    what = "the sample of seed 12 and label 0 has pixels that are not finite in float32"
    assert caught.value.message == f"recipe '2 px, l = 1, open': {what}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_they_have_the_same_bytes_one_by_one_and_on_the_device(
    recipe: Recipe,
) -> None:
    pytest.importorskip("torch")
    from gpgen.torch import sample_batch

    sampler = Sampler(recipe)
    images = sampler.images(0, 60)
    assert sample_batch(recipe, np.arange(60)).numpy()[:, 0].tobytes() == images.tobytes()
    one_by_one = [sampler.image(int(seed), 0) for seed in seeds(recipe.seed, 0, 60)]
    assert np.stack(one_by_one).tobytes() == images.tobytes()


HASHES = """
import json
from benchmarks.nearly_constant import RECIPES, images_sha256
print(json.dumps([images_sha256(recipe, 60) for recipe in RECIPES]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_nearly_constant_images_have_the_same_bytes_on_other_machines(machine: str) -> None:
    printed = printed_on(machine, "-c", HASHES)
    expected = [nearly_constant.images_sha256(recipe, 60) for recipe in RECIPES]
    assert json.loads(printed) == expected


# The generator of 2018


@pytest.mark.parametrize(("length_scale", "size"), [(800, 32), (1000, 64), (100, 64)])
def test_patches_of_2018_that_are_nearly_constant_are_right(length_scale, size: int) -> None:
    patch = texture(length_scale, size)
    matrix = patch.axis_factor.matrix
    scaled = np.vectorize(int, otypes=[object])(matrix * 2.0**patch.axis_factor.bits)
    drawn = [patch.realization(seed) for seed in range(300)]
    smallest = np.argsort([image.std() for image in drawn])
    for seed in [*smallest[:4].tolist(), 0, 1]:
        noise = patch._normals(seed, 0)[0]
        integers = np.vectorize(int, otypes=[object])(noise * 2.0**NORMAL_BITS)
        pixels = (scaled @ integers @ scaled.T).ravel()
        centred = pixels * len(pixels) - pixels.sum()
        root = math.isqrt(int((centred * centred).sum()) * len(pixels) << 200)
        expected = [float((int(v) * len(pixels) << 132) // root) * 2.0**-32 for v in centred]
        image = patch.standardized(seed)
        assert abs(image.mean()) < 1e-14
        assert abs(image.std() - 1) < 1e-14
        np.testing.assert_allclose(image.ravel(), expected, rtol=0, atol=LARGEST_ERROR)


def test_a_length_scale_of_2018_that_makes_a_constant_image_is_refused() -> None:
    assert texture(1600, 64).standardized(0).std() == pytest.approx(1, abs=1e-14)
    with pytest.raises(UsageError, match="use at most 1600 px, or a larger size"):
        texture(1601, 64)
    with pytest.raises(RecipeError, match=r"component 1: length-scale 1e\+06 px is so long"):
        Recipe.load("golkar2018").replace(
            shape=[64, 64], components=[{"kernel": "rbf", "length_scales": [1e6]}]
        )


@pytest.mark.parametrize("value", [0.0, 0.1, math.inf, math.nan])
def test_an_image_of_equal_or_not_finite_pixels_is_not_standardized(value: float) -> None:
    with pytest.raises(UsageError, match="can't be standardized; give one whose pixels are finite"):
        standardized(np.full((5, 7), value))


def test_large_numbers_that_hardly_differ_are_standardized() -> None:
    steps = np.arange(35.0).reshape(5, 7)
    image = standardized(1e9 + steps * 2.0**-20)
    assert image == pytest.approx((steps - 17) / steps.std(), abs=1e-14)
