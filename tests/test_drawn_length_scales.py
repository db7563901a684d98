"""Length-scales drawn from a range: which ones, how exactly, and where they are written."""

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
from gpgen.description.dataset_description import describe_drawn
from gpgen.errors import GpgenError, RecipeError
from gpgen.exact.drawn_range import DrawnRange, drawn_positions
from gpgen.exact.normal import random_words
from gpgen.recipe_warnings import recipe_warnings
from gpgen.report.theory import expected_power, kernel_correlation
from gpgen.sampling import sample
from gpgen.torch import EndlessTextures, GeneratedTextures, TextureDataset, sample_batch

RANGE = {"low": 2.0, "high": 6.0, "draw": "log-uniform", "steps": 16}
SMALL = {"kernel": "rbf", "length_scales": RANGE, "weight": 0.75}
LARGE = {
    "kernel": "rbf",
    "length_scales": {"low": 7.0, "high": 11.0, "draw": "uniform", "steps": 5},
    "weight": 1.25,
}
MATERN = {"kernel": "matern", "smoothness": [0.5, 1.5], "length_scales": RANGE}
FIXED = {"kernel": "rbf", "length_scales": [3.0, 5.0]}

RECIPES = {
    "separable": {"shape": [48, 40], "components": [SMALL, LARGE]},
    "convolved": {"shape": [32, 24], "components": [MATERN]},
    "beside-fixed": {"shape": [24, 20, 10], "components": [FIXED, SMALL], "standardize": False},
}
GOLDEN = {
    "separable": "633bc1b75d3f21fc",
    "convolved": "3fd3b33625159561",
    "beside-fixed": "0496a7a84ad6e145",
}


def recipe_of(name: str, **changes: object) -> Recipe:
    return Recipe.from_dict({"name": name, "seed": 5, **RECIPES[name], **changes})


def series(low: object, high: object, **more: object) -> Recipe:
    scales = {"low": low, "high": high, **more}
    component = {"kernel": "rbf", "length_scales": scales}
    return Recipe.from_dict({"name": "series", "shape": [64], "components": [component]})


# Which numbers


@pytest.mark.parametrize("draw", ["log-uniform", "uniform"])
def test_numbers_run_evenly_from_end_to_end(draw: str) -> None:
    values = np.array(DrawnRange(3.0, 12.0, draw, 64).values)
    spaced = np.geomspace if draw == "log-uniform" else np.linspace
    np.testing.assert_allclose(values, spaced(3, 12, 64), rtol=0, atol=5.1e-5)
    assert (values[0], values[-1], len(set(values))) == (3.0, 12.0, 64)
    assert all(value == round(value, 4) for value in values.tolist())


def test_each_number_is_drawn_as_often_as_the_others() -> None:
    recipe = recipe_of("separable")
    scales = recipe.length_scale_array(0, 20_000)
    for column, component in enumerate(recipe.components):
        values, counts = np.unique(scales[:, column], return_counts=True)
        assert values.tolist() == list(component.all_length_scales)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    first, second = (scipy.stats.rankdata(scales[:, k]) for k in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(20_000)


def test_a_position_is_the_words_share_of_the_range() -> None:
    """As docs/format.md says, in integers; the stream is none that noise is drawn from."""
    some = [0, 7, 2**64 - 1]
    for component, count in ((0, 64), (3, 7)):
        words = [int(random_words(seed, 2**32 + component, 1)[0]) for seed in some]
        expected = [(word >> 32) * count >> 32 for word in words]
        found = drawn_positions(np.array(some, np.uint64), 2**32 + component, count)
        assert found.tolist() == expected


def test_length_scales_of_any_samples_agree() -> None:
    recipe = recipe_of("beside-fixed")
    table = recipe.length_scale_array(3, 9)
    for index, row in zip(range(3, 9), table.tolist(), strict=True):
        one = sample(recipe, index)
        assert one.length_scales == tuple(row)
        assert one.seed is not None
        assert recipe.length_scales_of(one.label, one.seed) == tuple(row)
    unknown = recipe.length_scales_of(1)
    assert unknown[0] == 5.0
    assert math.isnan(unknown[1])


# What is drawn


@pytest.mark.parametrize("name", RECIPES)
def test_a_sample_is_that_of_its_own_length_scale(name: str) -> None:
    """Bit for bit what a recipe draws that lists the length-scale."""
    recipe = recipe_of(name)
    for index in range(4):
        one = sample(recipe, index)
        fields = recipe.to_dict()
        for component, scale in zip(fields["components"], one.length_scales, strict=True):
            if isinstance(component["length_scales"], dict):
                component["length_scales"] = [scale]
        listed = sample(Recipe.from_dict(fields), seed=one.seed, label=one.label)
        assert listed.length_scales == one.length_scales
        np.testing.assert_array_equal(listed.image, one.image)


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


def test_a_sampler_keeps_few_of_many_kinds() -> None:
    recipe = recipe_of("separable")
    sampler = Sampler(recipe)
    first = sampler.images(0, 3)
    sampler.images(3, 150)
    assert len(sampler._classes) <= 64
    np.testing.assert_array_equal(sampler.images(0, 3), first)


def test_the_variogram_is_that_of_the_drawn_length_scale() -> None:
    recipe = series(2.0, 8.0).replace(shape=[96, 96], standardize=False)
    number = 300
    images = Sampler(recipe).images(0, number).astype(np.float64)
    scales = recipe.length_scale_array(0, number)[:, 0]
    for lag in (1, 3, 8):
        found = 0.5 * np.mean((images[:, lag:] - images[:, :-lag]) ** 2, axis=(1, 2))
        ratio = found / (1 - np.exp(-0.5 * (lag / scales) ** 2))
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(number)
        # Short and long ones apart: a fixed length-scale would miss both.
        long = scales > 4
        for part in (ratio[long], ratio[~long]):
            assert abs(part.mean() - 1) < 4 * part.std() / math.sqrt(len(part))


def test_the_proof_holds_for_every_number() -> None:
    recipe = recipe_of("separable")
    listed = recipe.to_dict()
    for component, ranged in zip(listed["components"], recipe.components, strict=True):
        component["length_scales"] = list(ranged.all_length_scales)
    assert Recipe.from_dict(listed).accuracy == recipe.accuracy


# What it is called, and where it stands


def test_a_range_makes_no_classes() -> None:
    recipe = recipe_of("separable")
    assert (recipe.classes, recipe.class_count) == (("2..6-7..11",), 1)
    assert recipe_of("beside-fixed").classes == ("3-2..6", "5-2..6")
    assert recipe_of("convolved").classes == ("2..6(smoothness=0.5)", "2..6(smoothness=1.5)")
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    with_defaults = recipe.replace(
        components=[{**SMALL, "length_scales": {"low": 2.0, "high": 6.0, "steps": 16}}, LARGE]
    )
    assert with_defaults.sha256 == recipe.sha256
    assert recipe_warnings(recipe, 100) == ()


@pytest.mark.parametrize("out", ["d.zarr", "d.h5", "d-{shard:05d}.h5", "d-{shard:05d}.tar"])
def test_stored_datasets_tell_them(tmp_path: Path, out: str) -> None:
    recipe, n = recipe_of("beside-fixed"), 11
    expected = recipe.length_scale_array(0, n)
    with gpgen.make(recipe, n, tmp_path / out, shard_size=4) as dataset:
        np.testing.assert_array_equal(dataset.length_scales[:], expected)
        assert [one.length_scales for one in dataset] == [tuple(row) for row in expected.tolist()]
        assert gpgen.verify(dataset.path, regenerate=3)
        images = dataset.image[:]
        gpgen.convert(dataset.path, tmp_path / "again.zarr")
    np.testing.assert_array_equal(images, Sampler(recipe).images(0, n))
    with gpgen.open_dataset(tmp_path / "again.zarr") as again:
        np.testing.assert_array_equal(again.length_scales[:], expected)
    if out.endswith(".tar"):
        texts = []
        for path in sorted(tmp_path.glob("d-0*.tar")):
            with tarfile.open(path) as shard:
                members = [m for m in shard if m.name.endswith(".json")]
                texts += [json.load(shard.extractfile(m)) for m in members]  # type: ignore[arg-type]
        assert [text["length_scale"] for text in texts] == expected.tolist()


def test_a_run_that_is_resumed_draws_the_same(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: gpgen.Progress) -> None:
        if progress.done >= 4:
            raise Stopped

    recipe, n = recipe_of("beside-fixed"), 12
    gpgen.make(recipe, n, tmp_path / "whole.zarr", shard_size=2).close()
    with pytest.raises(Stopped):
        gpgen.make(recipe, n, tmp_path / "d.zarr", shard_size=2, workers=1, progress=stop)
    gpgen.make(recipe, n, tmp_path / "d.zarr", shard_size=2, resume=True).close()
    whole, resumed = (
        {p.name: p.read_bytes() for p in sorted((tmp_path / name).rglob("*")) if p.is_file()}
        for name in ("whole.zarr", "d.zarr")
    )
    assert whole == resumed


def test_a_deposit_without_pixels_is_drawn_again(tmp_path: Path) -> None:
    from gpgen.publish import package

    recipe = recipe_of("separable")
    gpgen.make(recipe, 6, tmp_path / "d.zarr").close()
    package(tmp_path / "d.zarr", publication(), tmp_path / "deposit", recipe_only=True)
    stored = Recipe.load(str(tmp_path / "deposit" / "recipe.toml"))
    assert stored == recipe
    np.testing.assert_array_equal(stored.length_scale_array(0, 6), recipe.length_scale_array(0, 6))


def test_endless_textures_give_them_too() -> None:
    recipe = recipe_of("separable")
    images, scales = next(iter(EndlessTextures(recipe, target="length_scales", batch_size=3)))
    assert (images.shape, scales.shape) == ((3, 1, 48, 40), (3, 2))
    values = [component.all_length_scales for component in recipe.components]
    for column, known in enumerate(values):
        assert set(scales[:, column].tolist()) <= {float(np.float32(v)) for v in known}


def test_tables_and_descriptions_tell_them(tmp_path: Path) -> None:
    from gpgen.publish import package

    recipe, n = recipe_of("separable"), 9
    gpgen.make(recipe, n, tmp_path / "d.zarr").close()
    package(tmp_path / "d.zarr", publication(), tmp_path / "deposit")
    rows = csv.DictReader(io.StringIO((tmp_path / "deposit" / "samples.csv").read_text()))
    found = [[float(row[f"length_scale_{k}"]) for k in (1, 2)] for row in rows]
    assert found == recipe.length_scale_array(0, n).tolist()
    summary = describe_drawn(recipe, n, "zarr", layout={}).summary
    assert "length-scale 2 to 6 (log-uniform, drawn for each image from 16 values)" in summary
    assert "makes a class" not in summary
    with_classes = describe_drawn(recipe_of("convolved"), n, "zarr", layout={}).summary
    assert "makes a class. Tables and arrays give the length-scales of each image" in with_classes


@pytest.mark.parametrize("workers", [0, 1])
def test_torch_gives_them_as_targets(tmp_path: Path, workers: int) -> None:
    recipe, n = recipe_of("beside-fixed"), 20
    gpgen.make(recipe, n, tmp_path / "d.zarr").close()
    for textures in (
        GeneratedTextures(recipe, n, split="train", target="length_scales"),
        TextureDataset(tmp_path / "d.zarr", split="train", target="length_scales"),
    ):
        expected = recipe.length_scale_array(0, n)[textures.indices].astype(np.float32)
        batches = [scales for _, scales in DataLoader(textures, 4, num_workers=workers)]
        np.testing.assert_array_equal(torch.cat(batches).numpy(), expected)
    both = GeneratedTextures(recipe, n, target="both")
    _, (label, scales) = both[5]
    assert label == 1
    assert scales.tolist() == recipe.length_scale_array(5, 6)[0].astype(np.float32).tolist()


def test_anisotropic_components_beside_drawn_ones() -> None:
    recipe = recipe_of("separable", components=[SMALL, {**FIXED, "length_scales": [[2.0, 4.0]]}])
    array = recipe.length_scale_array(0, 5)
    assert array.shape == (5, 2, 2)
    assert (array[:, 0, 0] == array[:, 0, 1]).all()
    assert array[:, 1].tolist() == [[2.0, 4.0]] * 5
    target = GeneratedTextures(recipe, 5, target="length_scales")[3][1]
    np.testing.assert_array_equal(target.numpy(), array[3].astype(np.float32))


@pytest.mark.slow
def test_reports_compare_with_the_mean_kernel(tmp_path: Path) -> None:
    from gpgen.report import write_report

    recipe = series(2.0, 8.0)
    distance = np.array([0.0, 1.0, 5.0])
    values = np.array(recipe.components[0].all_length_scales)
    expected = np.exp(-0.5 * (distance / values[:, None]) ** 2).mean(axis=0)
    found = kernel_correlation(recipe, 0, distance)
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    each = [
        expected_power(recipe.replace(components=[{"kernel": "rbf", "length_scales": [x]}]), 0)
        for x in values.tolist()
    ]
    np.testing.assert_allclose(expected_power(recipe, 0), np.mean(each, axis=0), rtol=1e-9)
    gpgen.make(recipe, 8, tmp_path / "d.zarr").close()
    write_report(tmp_path / "d.zarr", tmp_path / "report.html")
    assert "2..8" in (tmp_path / "report.html").read_text()


def test_figures_name_the_samples_own_length_scale() -> None:
    pytest.importorskip("matplotlib")
    recipe = recipe_of("separable")
    figure = gpgen.plots.components_figure(recipe, index=2)
    titles = " ".join(axes.get_title() for axes in figure.axes)
    for scale in sample(recipe, 2).length_scales:
        assert f"{scale:g}" in titles
    gpgen.plots.recipe_sheet(recipe)


def test_networks_that_tell_classes_apart_refuse_it() -> None:
    from backdrop.training import Source

    with pytest.raises(GpgenError, match=r"has one class: .*learns those that it draws"):
        Source("regression")


# What is refused

BAD = {
    "exchanged": ({"low": 6.0, "high": 2.0}, "exchange them: low = 2, high = 6"),
    "equal": ({"low": 2.0, "high": 2.0}, r"write length_scales = \[2\]"),
    "negative": ({"low": -1.0}, "give a positive number of pixels"),
    "zero": ({"low": 0.0}, "give a positive number of pixels"),
    "nan": ({"low": math.nan}, "give a positive number of pixels"),
    "infinite": ({"high": math.inf}, "give a positive number of pixels"),
    "no steps": ({"steps": 0}, "use 2 to 256"),
    "one step": ({"steps": 1}, "use 2 to 256"),
    "many steps": ({"steps": 10**12}, "use 2 to 256"),
    "half a step": ({"steps": 2.5}, "expected `int`, got `float`"),
    "too fine": ({"high": 2.001}, "use fewer steps, or a wider range"),
    "draw": ({"draw": "normal"}, "use one of: log-uniform, uniform"),
    "key": ({"step": 8}, "did you mean 'steps'"),
    "an end for each axis": ({"low": [1.0, 2.0]}, "expected `float`, got `array`"),
    "text": ({"low": "short"}, "expected `float`, got `str`"),
}


@pytest.mark.parametrize(("changes", "hint"), BAD.values(), ids=BAD.keys())
def test_bad_ranges_are_refused_in_one_line(changes: dict[str, object], hint: str) -> None:
    with pytest.raises(RecipeError, match=hint) as refused:
        series(**{"low": 2.0, "high": 6.0, **changes})
    assert "\n" not in str(refused.value)


def test_a_number_within_the_range_that_cant_be_drawn_refuses_it() -> None:
    with pytest.raises(RecipeError, match=r"does not fit on a periodic axis of 64 px.*at most 5\."):
        series(2.0, 9.0).replace(boundary="periodic")
    with pytest.raises(RecipeError, match="almost constant"):
        series(2.0, 1e6)
    with pytest.raises(RecipeError, match="at most"):
        recipe_of("convolved", components=[{**MATERN, "length_scales": {**RANGE, "high": 300.0}}])


def test_what_has_no_range_refuses_it() -> None:
    with pytest.raises(RecipeError, match="draws no length-scale from a range"):
        recipe_of("separable", shape=[64, 64], algorithm="golkar2018")
    with pytest.raises(RecipeError, match="white noise has no length-scale"):
        recipe_of("separable", components=[{**SMALL, "kernel": "white"}])
    with pytest.raises(RecipeError, match="make 4352 choices, each step of a range counted"):
        recipe_of(
            "separable", components=[{**SMALL, "length_scales": {**RANGE, "steps": 256}}] * 17
        )
    with pytest.raises(RecipeError, match="whose length-scales are equal"):
        recipe_of("separable", components=[{**SMALL, "angle": 30.0}])


def test_classes_that_are_one_are_refused_with_ranges_too() -> None:
    equal = [{**MATERN, "smoothness": [0.5, 0.5]}]
    with pytest.raises(RecipeError, match="two classes would be the same"):
        recipe_of("convolved", components=equal)
    two = [{**MATERN, "weight": 2.0}, {**MATERN, "weight": 2.0}]
    with pytest.raises(RecipeError, match="are one distribution"):
        recipe_of("convolved", components=two, standardize=False)
    # Two fields of two drawn length-scales are not one of one.
    three = [{**MATERN, "weight": weight} for weight in (3.0, 4.0, 5.0)]
    assert recipe_of("convolved", components=three, standardize=False).class_count == 8


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hashes()))
