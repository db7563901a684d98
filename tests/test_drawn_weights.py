"""Weights drawn from a range: which ones, what is drawn with them, and where they are written."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from machines import MACHINES, printed_on
from publish_help import publication
from torch.utils.data import DataLoader

import gpgen
from gpgen import Recipe, Sampler
from gpgen.errors import RecipeError, UsageError
from gpgen.exact.normal import random_words
from gpgen.exact.texture import Component
from gpgen.observer.limits import check_answerable
from gpgen.recipe_warnings import recipe_warnings
from gpgen.torch import EndlessTextures, GeneratedTextures, TextureDataset, sample_batch

WEIGHT = {"low": 0.5, "high": 2.0, "draw": "log-uniform", "steps": 16}
LINEAR = {"low": 0.25, "high": 1.75, "draw": "uniform", "steps": 7}
RBF = {"kernel": "rbf", "length_scales": [3.0, 5.0], "weight": WEIGHT}
SCALES = {"low": 2.0, "high": 6.0, "steps": 8}
MATERN = {"kernel": "matern", "smoothness": 1.5, "length_scales": SCALES, "weight": LINEAR}
WHITE = {"kernel": "white", "length_scales": [1.0], "weight": 0.25}
LOGNORMAL = {**MATERN, "transform": "lognormal"}

RECIPES = {
    "separable": {"shape": [48, 40], "components": [RBF, {**RBF, "length_scales": [9.0]}]},
    # Long beside the image: some samples are standardized from exact pixels.
    "smooth": {"shape": [24, 24], "components": [{**RBF, "length_scales": [40.0]}]},
    "both-kinds": {"shape": [32, 24], "components": [RBF, MATERN, WHITE], "standardize": False},
    "transformed": {"shape": [100], "components": [LOGNORMAL, RBF]},
}
GOLDEN = {
    "separable": "62e7ef47db2a24e1",
    "smooth": "6e345341f57f540e",
    "both-kinds": "4b1f8537cc939884",
    "transformed": "3b48045e54daa2a7",
}


def recipe_of(name: str, **changes: object) -> Recipe:
    return Recipe.from_dict({"name": name, "seed": 5, **RECIPES[name], **changes})


def drawn_with(**weight: object) -> Recipe:
    components = [WHITE, {**RBF, "weight": {"low": 0.5, "high": 2.0, **weight}}]
    return Recipe.from_dict({"name": "x", "shape": [64], "components": components})


def test_each_weight_is_drawn_as_often_as_the_others_and_apart_from_length_scales() -> None:
    recipe, n = recipe_of("both-kinds"), 20_000
    weights, scales = recipe.weight_array(0, n), recipe.length_scale_array(0, n)
    assert weights.shape == (n, 3)
    assert (weights[:, 2] == 0.25).all()
    for column in (0, 1):
        values, counts = np.unique(weights[:, column], return_counts=True)
        assert values.tolist() == list(recipe.components[column].all_weights)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    for one, other in ((weights[:, 0], weights[:, 1]), (weights[:, 1], scales[:, 1])):
        assert abs(scipy.stats.spearmanr(one, other).statistic) < 4 / math.sqrt(n)
    np.testing.assert_allclose(
        recipe.components[0].all_weights, np.geomspace(0.5, 2, 16), atol=5.1e-5, rtol=0
    )
    assert recipe.components[1].all_weights == (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def test_a_weight_is_the_words_share_of_the_range() -> None:
    """As docs/format.md says, in integers."""
    recipe = recipe_of("both-kinds")
    for seed in (0, 7, 2**64 - 1):
        word = int(random_words(seed, 2**33 + 1, 1)[0])
        expected = recipe.components[1].all_weights[(word >> 32) * 7 >> 32]
        assert recipe.weights_of(seed)[1] == expected


@pytest.mark.parametrize("name", RECIPES)
def test_a_sample_is_that_of_its_own_weights(name: str) -> None:
    """Bit for bit what a recipe draws that gives them."""
    recipe = recipe_of(name)
    for index in range(5):
        one = gpgen.sample(recipe, index)
        assert one.weights == tuple(recipe.weight_array(index, index + 1)[0].tolist())
        fields = recipe.to_dict()
        for component, weight in zip(fields["components"], one.weights, strict=True):
            component["weight"] = weight
        given = gpgen.sample(Recipe.from_dict(fields), seed=one.seed, label=one.label)
        assert (given.weights, given.length_scales) == (one.weights, one.length_scales)
        np.testing.assert_array_equal(given.image, one.image)


@pytest.mark.parametrize("name", RECIPES)
def test_batches_and_libraries_draw_the_same(name: str) -> None:
    recipe = recipe_of(name)
    images = Sampler(recipe).images(0, 12)
    indices = np.array([11, 3, 3, 0])
    np.testing.assert_array_equal(Sampler(recipe).images_at(indices), images[indices])
    batch = sample_batch(recipe, indices, device="cpu", dtype=torch.float64)
    np.testing.assert_array_equal(batch.numpy().reshape(-1, *recipe.shape), images[indices])


def hashes() -> dict[str, str]:
    return {
        name: hashlib.sha256(Sampler(recipe_of(name)).images(0, 6)).hexdigest()[:16]
        for name in RECIPES
    }


def test_golden_hashes() -> None:
    assert hashes() == GOLDEN


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_golden_hashes_hold_on_other_machines(machine: str) -> None:
    assert json.loads(printed_on(machine, __file__)) == GOLDEN


def test_each_images_deviation_is_its_weight() -> None:
    recipe = recipe_of("separable", components=[RBF])
    deviations = Sampler(recipe).images(0, 20).astype(np.float64).std(axis=(1, 2))
    np.testing.assert_allclose(deviations, recipe.weight_array(0, 20)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("transform", [None, "lognormal", "threshold"])
def test_moments_are_the_means_over_all_weights(transform: str | None) -> None:
    component = Component("rbf", (3.0,), recipe_of("both-kinds").components[0].weight)
    fixed = [
        Component("rbf", (3.0,), w, transform=transform).moments for w in component.all_weights
    ]
    drawn = Component("rbf", (3.0,), component.weight, transform=transform).moments
    mean = np.mean([m for m, _ in fixed])
    square = np.mean([v + m * m for m, v in fixed])
    np.testing.assert_allclose(drawn, (mean, square - mean**2), rtol=1e-12)


def test_a_range_makes_no_classes_and_keeps_other_recipes_hashes() -> None:
    recipe = recipe_of("separable")
    assert recipe.classes == ("3-9", "5-9")
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    plain = {"kernel": "rbf", "length_scales": [3.0], "weight": 1}
    fields = {"name": "x", "shape": [32], "components": [plain]}
    assert "transform" not in Recipe.from_dict(fields).to_dict()
    assert Recipe.from_dict(fields).components[0].weight == 1.0
    assert recipe_warnings(recipe_of("smooth"), 100) == (
        "component 1: length-scale 40 px is longer than the image of 24x24 px",
    )


@pytest.mark.parametrize("out", ["d.zarr", "d.h5", "d-{shard:05d}.h5", "d-{shard:05d}.tar"])
def test_stored_datasets_tell_them(tmp_path: Path, out: str) -> None:
    recipe, n = recipe_of("both-kinds"), 11
    expected = recipe.weight_array(0, n)
    with gpgen.make(recipe, n, tmp_path / out, shard_size=4) as dataset:
        np.testing.assert_array_equal(dataset.weights[:], expected)
        np.testing.assert_array_equal(dataset[3:7].weights[:], expected[3:7])
        assert [one.weights for one in dataset] == [tuple(row) for row in expected.tolist()]
        assert gpgen.verify(dataset.path, regenerate=3)
        gpgen.convert(dataset.path, tmp_path / "again.zarr")
    with gpgen.open_dataset(tmp_path / "again.zarr") as again:
        np.testing.assert_array_equal(again.weights[:], expected)
        np.testing.assert_array_equal(again.to_xarray()["weights"], expected)
    if out.endswith(".tar"):
        texts = []
        for path in sorted(tmp_path.glob("d-0*.tar")):
            with tarfile.open(path) as shard:
                members = [m for m in shard if m.name.endswith(".json")]
                texts += [json.load(shard.extractfile(m)) for m in members]  # type: ignore[arg-type]
        assert [text["weight"] for text in texts] == expected.tolist()


def test_a_dataset_of_given_weights_stores_none(tmp_path: Path) -> None:
    recipe = recipe_of("separable", components=[{**RBF, "weight": 2.0}])
    with gpgen.make(recipe, 3, tmp_path / "d.zarr") as dataset:
        assert not (tmp_path / "d.zarr" / "weight").exists()
        assert dataset[0].weights == (2.0,)
        with pytest.raises(AttributeError, match="draws no weights"):
            _ = dataset.weights


def test_tables_and_descriptions_tell_them(tmp_path: Path) -> None:
    from gpgen.publish import package
    from gpgen.report import write_report

    recipe, n = recipe_of("both-kinds"), 6
    gpgen.make(recipe, n, tmp_path / "d.zarr").close()
    write_report(tmp_path / "d.zarr", tmp_path / "report.html")
    package(tmp_path / "d.zarr", publication(), tmp_path / "deposit")
    rows = csv.DictReader(io.StringIO((tmp_path / "deposit" / "samples.csv").read_text()))
    found = [[float(row[f"weight_{k}"]) for k in (1, 2, 3)] for row in rows]
    assert found == recipe.weight_array(0, n).tolist()
    described = (tmp_path / "deposit" / "README.md").read_text()
    assert "0.5 to 2 (log-uniform, drawn for each image from 16 values) times" in described
    assert "the length-scales and weights of each image" in described


def test_torch_gives_them_as_targets(tmp_path: Path) -> None:
    recipe, n = recipe_of("both-kinds"), 20
    gpgen.make(recipe, n, tmp_path / "d.zarr").close()
    for textures in (
        GeneratedTextures(recipe, n, split="train", target="weights"),
        TextureDataset(tmp_path / "d.zarr", split="train", target="weights"),
    ):
        expected = recipe.weight_array(0, n)[textures.indices].astype(np.float32)
        batches = [weights for _, weights in DataLoader(textures, 4)]
        np.testing.assert_array_equal(torch.cat(batches).numpy(), expected)
    _, weights = next(iter(EndlessTextures(recipe, target="weights", batch_size=3)))
    np.testing.assert_array_equal(weights, recipe.weight_array(0, 3).astype(np.float32))


BAD = {
    "exchanged": ({"low": 2.0, "high": 0.5}, "exchange them: low = 0.5, high = 2"),
    "equal": ({"low": 2.0}, "write weight = 2, or a higher end"),
    "zero": ({"low": 0.0}, "weight 0.0 is not above 0 and at most 1e6; give a positive number"),
    "negative": ({"low": -1.0}, "give a positive number"),
    "nan": ({"low": math.nan}, "give a positive number"),
    "infinite": ({"high": math.inf}, "give a positive number"),
    "steps": ({"steps": 1}, "use 2 to 256"),
    "too fine": ({"high": 0.501}, "use fewer steps, or a wider range"),
    "draw": ({"draw": "normal"}, "use one of: log-uniform, uniform"),
    "key": ({"step": 8}, "component 2, weight: unknown key 'step'; did you mean 'steps'"),
    "text": ({"low": "small"}, "expected `float`, got `str`"),
    "lost": ({"low": 1e-4, "high": 1e6, "steps": 2}, "weight 0.0001 is lost in the rounding"),
}


@pytest.mark.parametrize(("changes", "hint"), BAD.values(), ids=BAD.keys())
def test_bad_ranges_are_refused_in_one_line(changes: dict[str, object], hint: str) -> None:
    with pytest.raises(RecipeError) as refused:
        drawn_with(**changes)
    assert hint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_has_no_use_for_a_range_refuses_it() -> None:
    with pytest.raises(RecipeError, match="draws no weight from a range; give the weight"):
        recipe_of("separable", shape=[64, 64], algorithm="golkar2018")
    with pytest.raises(RecipeError, match="overflow float16"):
        drawn_with(high=600.0).replace(dtype="float16")
    with pytest.raises(UsageError, match="uses a drawn weight"):
        check_answerable(recipe_of("separable"))
    with pytest.raises(RecipeError, match="the only component means nothing"):
        recipe_of("smooth", transform="threshold")
    two = [{**RBF, "length_scales": [3.0, 5.0]}] * 2
    with pytest.raises(RecipeError, match="are one distribution"):
        recipe_of("separable", components=two)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hashes()))
