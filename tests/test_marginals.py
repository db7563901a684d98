"""Fields whose values are no longer normal: the functions, what they make, what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from machines import MACHINES, printed_on

import gpgen
from gpgen import Recipe, Sampler
from gpgen.errors import RecipeError
from gpgen.exact.marginals import MARGINALS, normal_distribution
from gpgen.format.stored_recipe import StoredRecipe
from gpgen.report.theory import kernel_correlation
from gpgen.torch import sample_batch

RBF = {"kernel": "rbf", "length_scales": [2.0, 5.0]}
MATERN = {"kernel": "matern", "smoothness": 1.5, "length_scales": [3.0]}
DRAWN = {"kernel": "rbf", "length_scales": {"low": 2.0, "high": 4.0, "steps": 8}}
RANGE = {"low": 0.5, "high": 1.5, "draw": "uniform"}
SEVERAL = [{**RBF, "weight": 0.75}, {**MATERN, "weight": RANGE}]

RECIPES = {
    "lognormal": {"shape": [48, 150], "components": [{**RBF, "transform": "lognormal"}]},
    "uniform": {"shape": [48, 40], "components": [{**MATERN, "transform": "uniform"}]},
    "threshold": {"shape": [300], "components": [{**RBF, "transform": "threshold", "weight": 0.5}]},
    "sum": {
        "shape": [20, 18, 9],
        "components": [
            {**DRAWN, "transform": "lognormal"},
            RBF,
            {**MATERN, "transform": "uniform"},
        ],
        "standardize": False,
    },
    "sum-lognormal": {"shape": [48, 150], "components": SEVERAL, "transform": "lognormal"},
    "sum-uniform": {"shape": [48, 40], "components": SEVERAL, "transform": "uniform"},
    "sum-threshold": {"shape": [48, 40], "components": SEVERAL, "transform": "threshold"},
    "float16": {
        "shape": [48, 40],
        "components": [{**MATERN, "transform": "lognormal", "weight": 13.0}],
        "dtype": "float16",
    },
}
GOLDEN = {
    "lognormal": "86e786fe9dbfe392",
    "uniform": "0e5f698103d00592",
    "threshold": "375bb4d49c2c9101",
    "sum": "5ae17fde1284b322",
    "sum-lognormal": "40e68d48310c859e",
    "sum-uniform": "c79b78d4b34cd0bb",
    "sum-threshold": "7d3176fb623bec97",
    "float16": "3c4762c5abc511ed",
}


def recipe_of(name: str, **changes: object) -> Recipe:
    return Recipe.from_dict({"name": name, **RECIPES[name], **changes})


def hashes() -> dict[str, str]:
    return {
        name: hashlib.sha256(Sampler(recipe_of(name)).images(0, 4)).hexdigest()[:16]
        for name in RECIPES
    }


# The functions


def test_the_normal_distribution_function_is_scipys() -> None:
    x = np.concatenate([np.linspace(-8, 8, 100_001), [0.66291, 5.65685, -5.65685]])
    np.testing.assert_allclose(normal_distribution(x), scipy.special.ndtr(x), rtol=1e-14)
    assert normal_distribution(np.array([-np.inf, 0.0, 1e9])).tolist()[1:] == [0.5, 1.0]
    assert (np.diff(normal_distribution(np.linspace(-8, 8, 100_001))) >= 0).all()


@pytest.mark.parametrize("name", MARGINALS)
def test_moments_and_correlations_are_those_of_two_normal_numbers(name: str) -> None:
    """By quadrature over two independent normal numbers; of the threshold, SciPy's own integral."""
    marginal = MARGINALS[name]
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    if name != "threshold":
        values = marginal.apply(nodes)
        assert marginal.mean == pytest.approx(weights @ values, rel=1e-10)
        assert marginal.variance == pytest.approx(weights @ values**2 - marginal.mean**2, rel=1e-9)
    for rho in (-0.7, 0.0, 0.3, 0.9):
        if name == "threshold":
            both = scipy.stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([0, 0])
        else:
            second = rho * nodes[:, None] + math.sqrt(1 - rho**2) * nodes
            both = weights @ (marginal.apply(nodes)[:, None] * marginal.apply(second)) @ weights
        expected = (both - marginal.mean**2) / marginal.variance
        assert marginal.correlation(np.array(rho), 1.0) == pytest.approx(expected, abs=1e-7)


def test_moments_and_correlation_of_a_lognormal_sum() -> None:
    """exp of a normal number of variance s^2, as scipy.stats.lognorm has it."""
    marginal, weights = MARGINALS["lognormal"], (0.3, 1.1)
    variance = sum(w * w for w in weights)
    theirs = scipy.stats.lognorm(s=math.sqrt(variance))
    mean, found = marginal.moments([(w,) for w in weights])
    assert (mean, found) == pytest.approx((theirs.mean(), theirs.var()), rel=1e-12)
    # Var(e^x + e^y) / 2 - Var(e^x), where x + y has the variance 2 s^2 (1 + rho).
    rho = 0.4
    product = math.exp(variance * (1 + rho)) - theirs.mean() ** 2
    assert marginal.correlation(np.array(rho), variance) == pytest.approx(product / found)


# What is drawn


def test_golden_hashes() -> None:
    assert hashes() == GOLDEN


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_golden_hashes_hold_on_other_machines(machine: str) -> None:
    assert json.loads(printed_on(machine, __file__)) == GOLDEN


@pytest.mark.parametrize("name", RECIPES)
def test_batches_and_libraries_draw_the_same(name: str) -> None:
    recipe = recipe_of(name)
    images = Sampler(recipe).images(0, 6)
    indices = np.array([5, 1, 1, 0])
    np.testing.assert_array_equal(Sampler(recipe).images_at(indices), images[indices])
    if recipe.dtype == "float32":
        batch = sample_batch(recipe, indices, device="cpu", dtype=torch.float64)
        np.testing.assert_array_equal(batch.numpy().reshape(-1, *recipe.shape), images[indices])


@pytest.mark.parametrize("name", ["lognormal", "uniform", "threshold"])
@pytest.mark.parametrize("standardize", [True, False])
def test_each_value_is_the_function_of_the_gaussian_fields(name: str, standardize: bool) -> None:
    recipe = recipe_of(name, standardize=standardize)
    fields = recipe.to_dict()
    del fields["components"][0]["transform"]
    fields["components"][0]["weight"] = 1.0
    gaussian = Sampler(Recipe.from_dict(fields)).images(0, 3).astype(np.float64)
    expected = recipe.components[0].weight * MARGINALS[name].apply(gaussian)
    # The Gaussian images were rounded to float32.
    np.testing.assert_allclose(Sampler(recipe).images(0, 3), expected, rtol=1e-6)


def test_transformed_components_are_added_to_others() -> None:
    recipe = recipe_of("sum")
    seed, total = 12, np.zeros(recipe.shape)
    for position in range(3):
        fields = recipe.to_dict()
        for other, component in enumerate(fields["components"]):
            component["weight"] = 1.0 if other == position else 2.0**-24
            component.pop("transform", None) if other != position else None
        alone = gpgen.sample(StoredRecipe.from_dict(fields), seed=seed, label=0)
        total += alone.image
    image = gpgen.sample(recipe, seed=seed, label=0).image
    np.testing.assert_allclose(image, total, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("name", MARGINALS)
def test_the_correlation_is_that_of_the_table(name: str) -> None:
    component = {"kernel": "exponential", "length_scales": [4.0], "transform": name}
    recipe = Recipe.from_dict(
        {"name": name, "shape": [128, 128], "components": [component], "standardize": False}
    )
    number, marginal = 200, MARGINALS[name]
    images = Sampler(recipe).images(0, number).astype(np.float64) - marginal.mean
    for lag in (0, 1, 4):
        products = (images[:, lag:] * images[:, : 128 - lag]).mean(axis=(1, 2))
        (expected,) = kernel_correlation(recipe, 0, np.array([float(lag)]))
        z = products.mean() - expected * marginal.variance
        assert abs(z) <= 4 * products.std() / math.sqrt(number)


@pytest.mark.parametrize("name", MARGINALS)
@pytest.mark.parametrize("standardize", [True, False])
def test_each_value_of_a_sum_is_the_function_of_it(name: str, standardize: bool) -> None:
    recipe = recipe_of(f"sum-{name}", standardize=standardize)
    gaussian = Sampler(recipe.replace(transform=None)).images(0, 5).astype(np.float64)
    if name == "uniform":
        weights = recipe.weight_array(0, 5)
        assert len(set(weights[:, 1])) > 1
        gaussian /= np.sqrt((weights**2).sum(axis=1))[:, None, None]
    expected = MARGINALS[name].apply(gaussian)
    # The Gaussian images were rounded to float32.
    np.testing.assert_allclose(Sampler(recipe).images(0, 5), expected, rtol=4e-6)


@pytest.mark.slow
def test_a_sum_made_uniform_has_the_moments_and_the_correlation_of_the_table() -> None:
    components = [{"kernel": "exponential", "length_scales": [4.0], "weight": 3.0}]
    components += [{"kernel": "rbf", "length_scales": [2.0], "weight": 2.0}]
    fields = {"name": "x", "shape": [128, 128], "components": components, "standardize": False}
    number = 200
    for name in ("uniform", "lognormal"):
        scaled = [{**c, "weight": c["weight"] / 4} for c in components]
        recipe = Recipe.from_dict({**fields, "components": scaled, "transform": name})
        mean, variance = recipe.texture.moments
        images = Sampler(recipe).images(0, number).astype(np.float64) - mean
        for lag in (0, 1, 4):
            products = (images[:, lag:] * images[:, : 128 - lag]).mean(axis=(1, 2))
            (expected,) = kernel_correlation(recipe, 0, np.array([float(lag)]))
            z = products.mean() - expected * variance
            assert abs(z) <= 4 * products.std() / math.sqrt(number)


# Around it


def test_recipes_reports_and_datasets_know_it(tmp_path: Path) -> None:
    from gpgen.report import write_report

    for name in ("lognormal", "sum-uniform"):
        recipe = recipe_of(name, shape=[32, 32])
        assert Recipe.from_toml(recipe.to_toml()) == recipe
        assert recipe.replace(transform=None).transform is None
    gpgen.make(recipe, 12, tmp_path / "d.zarr").close()
    assert gpgen.verify(tmp_path / "d.zarr", regenerate=2)
    write_report(tmp_path / "d.zarr", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert (
        "no formula for what is expected of them: the sum of the components is transformed" in page
    )


def test_a_recipe_without_one_has_the_hash_that_it_had() -> None:
    fields = {"name": "x", "shape": [32, 32], "components": [RBF]}
    plain, transformed = (
        Recipe.from_dict({**fields, "components": [{**RBF, **more}]})
        for more in ({}, {"transform": "uniform"})
    )
    assert "transform" not in plain.to_dict()["components"][0]
    assert plain.sha256 != transformed.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"components": [{**RBF, "transform": "log-normal"}]}, "did you mean 'lognormal'"),
        ({"components": [{**RBF, "transform": "square"}]}, "lognormal, uniform, threshold"),
        ({"components": [{**RBF, "transform": 3}]}, "expected `str | null`, got `int`"),
        (
            {
                "components": [{**RBF, "transform": "lognormal", "weight": 7.0}] * 2,
                "dtype": "float16",
            },
            "weights that sum to 14 overflow float16; use weights of at most 13 in sum",
        ),
        (
            {"components": [{**RBF, "transform": "uniform"}], "algorithm": "golkar2018"},
            "has no transforms",
        ),
        ({"components": [RBF], "transform": "log-normal"}, "did you mean 'lognormal'"),
        ({"components": [RBF], "transform": 3}, "expected `str | null`, got `int`"),
        (
            {"components": [RBF], "transform": "uniform", "algorithm": "golkar2018"},
            "has no transforms",
        ),
        (
            {"components": [{**RBF, "transform": "uniform"}], "transform": "threshold"},
            "the sum is made threshold, and a component uniform before; leave one transform out",
        ),
        (
            {"components": [{**RBF, "weight": 11.0}], "transform": "lognormal"},
            "a sum with weights of 11 together overflows float32; use weights of at most 10 in sum",
        ),
        (
            {"components": [RBF] * 2, "transform": "uniform", "standardize": False},
            "are one distribution",
        ),
        (
            {"components": [{**RBF, "transform": "uniform"}] * 2, "standardize": False},
            "are one distribution",
        ),
    ],
)
def test_what_is_refused_is_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe.from_dict({"name": "x", "shape": [64, 64], **changes})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_values_beyond_reason_become_infinite_pixels_which_no_sampler_lets_out() -> None:
    """Not an error of NumPy's on the way: `gpgen.exact.finite` names the sample."""
    marginal = MARGINALS["lognormal"]
    assert np.isfinite(marginal.apply(np.array([-1e9, 1e9]))).all()
    with np.errstate(over="ignore"):
        assert np.isinf(marginal.apply(np.array([1e9])).astype(np.float32)).all()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hashes()))
