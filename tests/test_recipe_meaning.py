"""Recipes that don't mean what they say: refused, or warned about."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from cli_support import Caller
from store_tools import ENVIRONMENT, tiny

import gpgen
from gpgen import Component, Recipe, builtin_recipes
from gpgen.errors import RecipeError
from gpgen.format.stored_recipe import StoredRecipe, stored_recipe
from gpgen.recipe_warnings import recipe_warnings

ALIKE = {"name": "alike", "shape": [16, 16]}


def components(*parts: tuple[list, float]) -> dict:
    return {
        "components": [{"kernel": "rbf", "length_scales": s, "weight": w} for s, w in parts],
    }


def loaded(*parts: tuple[list, float], **fields: object) -> Recipe:
    return Recipe.from_dict({**ALIKE, **components(*parts), **fields})


@pytest.mark.parametrize(
    ("scales", "named"),
    [
        ([2.0, 2], "length-scale 2 px appears twice"),
        ([10.0, [10.0, 10.0]], "length-scales 10 and 10x10 px"),
        ([3.0, 2.0, 2.0000000001], "length-scales 2 and 2.0000000001 px"),
        (
            [float(np.nextafter(np.float32(2), np.float32(3))), 2.0],
            "length-scales 2.000000238418579 and 2 px",
        ),
        ([[2.0, 4.0], [2.0, 4.000001]], "length-scales 2x4 and 2x4.000001 px"),
    ],
)
def test_length_scales_with_one_covariance_are_refused(scales, named) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(([4.0, 6.0], 0.5), (scales, 1.0))
    assert f"component 2: {named}" in caught.value.message
    assert caught.value.hint == "remove one: two classes would be the same"
    scales = tuple(tuple(s) if isinstance(s, list) else s for s in scales)
    with pytest.raises(RecipeError, match="component 1: "):
        Recipe("direct", (16, 16), (Component("rbf", scales),))


def test_length_scales_so_long_that_the_image_is_constant_are_one() -> None:
    with pytest.raises(RecipeError, match="length-scales 1000000 and 1000000000 px"):
        loaded(([1e6, 1e9], 1.0), standardize=False)
    assert loaded(([100.0, 200.0], 1.0), standardize=False).class_count == 2


@pytest.mark.parametrize("standardize", [True, False])
def test_components_whose_exchange_changes_nothing_are_refused_with_the_labels(standardize) -> None:
    for weights in ((1.0, 1.0), (0.3, 0.3), (2.0, 2.0 + 1e-12)):
        with pytest.raises(RecipeError, match="labels 1 and 2, classes '6-2' and '2-6x6', are one"):
            loaded(
                ([2.0, 6.0], weights[0]),
                ([2.0, [6.0, 6.0]], weights[1]),
                standardize=standardize,
            )
    with pytest.raises(
        RecipeError, match=r"labels 0 and 5, classes '2-4-6' and '6-4-2', .* components 1, 3 can't"
    ):
        loaded(([2.0, 6], 1), ([4.0, 5.0], 1), ([6.0, 2.0], 1), standardize=standardize)
    different = loaded(([2.0, 6], 1), ([2.0, 6], 1.001), standardize=standardize)
    assert different.class_count == 4
    assert loaded(([2.0, 6], 1), ([6, 3.0], 1), standardize=standardize).class_count == 4


def test_equal_sums_of_gaussian_fields_are_refused_and_of_standardized_ones_are_not() -> None:
    """3² + 4² = 5²: where fields are Gaussian, two of one length-scale are one."""
    parts = [([2.0, 6.0], 0.3), ([2.0, 6.0], 0.4), ([2.0, 6.0], 0.5)]
    with pytest.raises(RecipeError, match="labels 3 and 4, classes '6-6-2' and '2-2-6', are one"):
        loaded(*parts, standardize=False)
    assert loaded(*parts).class_count == 8


def test_refused_classes_have_one_covariance_and_accepted_ones_have_not() -> None:
    """Against the covariance matrix of each class, computed densely."""
    rng = np.random.default_rng(3)
    x = np.arange(12.0)
    distance = x[:, None] - x
    refused = 0
    for _ in range(300):
        parts = [
            (sorted(rng.choice([1.0, 2.0, 3.0], size=2, replace=False).tolist()), weight)
            for weight in rng.choice([0.6, 0.8, 1.0], size=rng.integers(1, 4)).tolist()
        ]
        fields = {**ALIKE, "shape": [12], "standardize": False, **components(*parts)}
        unchecked = StoredRecipe.from_dict(fields)
        covariances = np.array(
            [
                sum(
                    c.weight**2 * np.exp(-0.5 * (distance / scale) ** 2)
                    for c, scale in zip(
                        unchecked.components, unchecked.length_scales_of(label), strict=True
                    )
                )
                for label in range(unchecked.class_count)
            ]
        )
        apart = np.abs(covariances[:, None] - covariances).max(axis=(2, 3))
        alike = (apart + np.eye(len(apart)) < 1e-6).any()
        assert alike == isinstance(unchecked, StoredRecipe)
        refused += alike
    assert 30 < refused < 270


@pytest.mark.parametrize(
    ("parts", "fields", "number"),
    [
        ([([2.0], 1e-60)], {}, 1),
        ([([2.0], 1e-9)], {"dtype": "float16"}, 1),
        ([([2.0], 1e6), ([3.0], 1e-3)], {}, 2),
        ([([2.0], 1e-8), ([3.0], 1.0), ([4.0], 1.0)], {}, 1),
        ([([2.0], 1.0), ([3.0], 5e-4), ([4.0], 1.0)], {"dtype": "float16"}, 2),
        ([([2.0], 1.0), ([3.0], 2e-7)], {}, 2),  # the float64 grid's, not the pixels'
    ],
)
def test_a_weight_that_is_lost_in_rounding_is_refused(parts, fields, number) -> None:
    with pytest.raises(RecipeError, match=f"component {number}: weight .* is lost in the rounding"):
        loaded(*parts, **fields)


def test_a_weight_just_large_enough_is_in_the_pixels() -> None:
    for dtype, weight in (("float32", 1e-6), ("float16", 2e-3)):
        recipe = loaded(([2.0], 1.0), ([3.0], weight), dtype=dtype)
        alone = loaded(([2.0], 1.0), dtype=dtype)
        with_it, without = (gpgen.sample(r, seed=5, label=0).image for r in (recipe, alone))
        # Its values have deviation 1: those below half of the spacing at 1 may be lost.
        assert (with_it != without).mean() > 0.5


def test_warnings_name_one_class_and_length_scales_beyond_the_image_and_empty_splits() -> None:
    one = loaded(([2.0], 1.0), ([17.0], 0.5))
    assert recipe_warnings(one) == (
        "there is one class only, '2-17': nothing to classify",
        "component 2: length-scale 17 px is longer than the image of 16x16 px",
    )
    assert recipe_warnings(loaded(([2.0, 16.0], 1.0)), 20) == ()
    assert recipe_warnings(loaded(([2.0, 16.0], 1.0)), 8) == (
        "split 'test' gets none of the 8 samples",
    )
    wide = loaded(([[2.0, 30.0], [9.0, 3.0]], 1.0), shape=[8, 64])
    assert recipe_warnings(wide) == (
        "component 1: length-scale 9x3 px is longer than the image of 8x64 px",
    )
    two = loaded(([0.5, 1.0], 1.0), shape=[2])
    assert recipe_warnings(two) == ("a standardized image of 2 pixels looks alike in every class",)
    for name in builtin_recipes():
        assert recipe_warnings(Recipe.load(name), 1000) == ()


def test_a_warning_of_an_empty_split_is_right_for_every_n() -> None:
    recipe = loaded(([2.0, 3.0], 1.0), splits={"a": 0.5, "b": 0.45, "c": 0.05})
    for n in range(1, 60):
        empty = {name for name in recipe.splits if not len(recipe.split_indices(name, n))}
        told = "".join(recipe_warnings(recipe, n))
        assert {name for name in recipe.splits if repr(name) in told} == empty


def test_plan_holds_the_warnings_and_make_warns_once_where_it_is_called(tmp_path: Path) -> None:
    recipe = tiny(components=components(([2.0], 1.0))["components"])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        plan = gpgen.plan(recipe, 1, tmp_path / "a.zarr")
        assert told == []
        gpgen.make(recipe, 1, tmp_path / "a.zarr", workers=2).close()
        gpgen.open_dataset(tmp_path / "a.zarr").image[0]
    assert [str(w.message) for w in told] == [f"recipe 'tiny': {text}" for text in plan.warnings]
    assert [w.filename for w in told] == [__file__] * 2
    assert plan.warnings[1] == "split 'validation', 'test' gets none of the 1 samples"


@pytest.mark.cluster
def test_workers_of_dask_and_of_a_loader_do_not_repeat_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "one.toml").write_text(loaded(([2.0], 1.0)).to_toml())
    script = tmp_path / "script.py"
    script.write_text(
        "import gpgen\n"
        "from gpgen.torch import EndlessTextures, GeneratedTextures\n"
        "from torch.utils.data import DataLoader\n"
        "if __name__ == '__main__':\n"
        "    gpgen.make('one.toml', 20, 'd.zarr', processes=True, shard_size=5).close()\n"
        "    for method in ('spawn', 'fork'):\n"
        "        drawn = GeneratedTextures('one.toml', 20)\n"
        "        loader = DataLoader(drawn, num_workers=2, multiprocessing_context=method)\n"
        "        assert len(list(loader)) == 20\n"
        "    EndlessTextures('one.toml', 4)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
        text=True,
    )
    lines = [line for line in done.stderr.splitlines() if "RecipeWarning" in line]
    assert [line.split(":")[1] for line in lines] == ["5", "7", "10"]


def test_the_command_line_shows_warnings_in_plan_and_recipe_and_nowhere_else(
    capfd, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gpgen = Caller(capfd, tmp_path)
    (gpgen.folder / "one.toml").write_text(loaded(([2.0, 3.0], 1.0), ([20.0], 1.0)).to_toml())
    long = "component 2: length-scale 20 px is longer than the image of 16x16 px"
    shown = gpgen("recipes", "show", "one.toml")
    assert f"# warning    {long}\n" in shown.out
    (gpgen.folder / "again.toml").write_text(shown.out)
    make = ["make", "--recipe", "again.toml", "--n", "2", "--out", "d.zarr"]
    made = gpgen(*make)
    assert (made.status, made.err) == (0, "")
    assert f"warning  {long}\n" in made.out
    empty = "split 'validation', 'test' gets none of the 2 samples"
    assert f"warning  {empty}\n" in made.out
    told = json.loads(gpgen(*make, "--dry-run", "--json").out)
    assert told["warnings"] == [long, empty]
    assert json.loads(gpgen("recipes", "show", "one.toml", "--json").out)["warnings"] == [long]


def test_a_dataset_whose_recipe_would_be_refused_today_is_read_and_made_again(tmp_path) -> None:
    unclear = {**ALIKE, **components(([2.0, 6.0], 1.0), ([2.0, 6.0], 1.0))}
    with pytest.raises(RecipeError, match="are one distribution"):
        Recipe.from_dict(unclear)
    recipe = stored_recipe(unclear)
    assert recipe.classes == ("2-2", "6-2", "2-6", "6-6")
    copy = pickle.loads(pickle.dumps(recipe))  # noqa: S301 - as workers get it
    assert (copy, copy.sha256) == (recipe, recipe.sha256)
    with gpgen.make(recipe, 8, tmp_path / "old.zarr") as made:
        pixels = made.image[:]
    with gpgen.open_dataset(tmp_path / "old.zarr") as dataset:
        assert dataset.recipe == recipe
        np.testing.assert_array_equal(dataset.image[:], pixels)
        with pytest.raises(RecipeError, match="are one distribution"):
            dataset.recipe.replace(seed=1)
    assert gpgen.verify(tmp_path / "old.zarr", regenerate=8).ok
    assert type(stored_recipe(tiny().to_dict())) is Recipe


def test_a_name_or_a_path_is_taken_wherever_a_recipe_is(tmp_path: Path) -> None:
    recipe = tiny(standardize=False)
    path = tmp_path / "my.toml"
    path.write_text(recipe.to_toml())
    image = gpgen.Sampler(recipe).images(3, 4)[0]
    for given in (recipe, path, str(path)):
        np.testing.assert_array_equal(gpgen.sample(given, index=3).image, image)
        np.testing.assert_array_equal(gpgen.Sampler(given).images(3, 4)[0], image)
        assert gpgen.plan(given, 5, tmp_path / "d.zarr").recipe == recipe
    with gpgen.make(path, 4, tmp_path / "d.zarr") as made:
        np.testing.assert_array_equal(made.image[3], image)
    assert gpgen.sample("two-scale-mini", index=0).class_name == "4-24"
    with pytest.raises(RecipeError, match="did you mean 'two-scale-mini'"):
        gpgen.sample("two-scale-mni", index=0)
    with pytest.raises(RecipeError, match="missing required field"):
        gpgen.plan({"name": "x"}, 5, tmp_path / "d.zarr")
    for wrong in (None, 5, ["two-scale"]):
        with pytest.raises(RecipeError, match="is no path"):
            gpgen.plan(wrong, 5, tmp_path / "d.zarr")


def test_torch_takes_a_name_or_a_path_too(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from gpgen.torch import EndlessTextures, GeneratedTextures, sample_batch

    recipe = tiny()
    path = tmp_path / "my.toml"
    path.write_text(recipe.to_toml())
    image = gpgen.sample(recipe, index=3).image
    for given in (recipe, path, str(path)):
        np.testing.assert_array_equal(GeneratedTextures(given, 20)[3][0][0], image)
        np.testing.assert_array_equal(next(iter(EndlessTextures(given, 4)))[0][3, 0], image)
        np.testing.assert_array_equal(sample_batch(given, [3])[0, 0], image)
