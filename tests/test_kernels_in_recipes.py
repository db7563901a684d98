"""Recipes of every stationary kernel: read, drawn, named, refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from machines import MACHINES, printed_on

import gpgen
from gpgen import Recipe, Sampler
from gpgen.errors import RecipeError
from gpgen.torch import GeneratedTextures, sample_batch

KERNELS: dict[str, dict[str, object]] = {
    "matern-1/2": {"kernel": "matern", "smoothness": 0.5, "length_scales": [3.0, 9.0]},
    "matern-3/2": {"kernel": "matern", "smoothness": 1.5, "length_scales": [3.0, 9.0]},
    "matern-5/2": {"kernel": "matern", "smoothness": 2.5, "length_scales": [3.0, 9.0]},
    "matern-0.8": {"kernel": "matern", "smoothness": 0.8, "length_scales": [3.0, 9.0]},
    "exponential": {"kernel": "exponential", "length_scales": [3.0, 9.0]},
    "rational-quadratic": {"kernel": "rational-quadratic", "alpha": 1.0, "length_scales": [3.0]},
    "power-law": {"kernel": "power-law", "hurst": [0.3, 0.7], "length_scales": [1e9]},
    "turbulence": {
        "kernel": "power-law",
        "exponent": 11 / 3,
        "inner_scale": 2.0,
        "length_scales": [20.0],
    },
    "white": {"kernel": "white", "length_scales": [1.0]},
    "rotated-rbf": {"kernel": "rbf", "angle": [30.0, -30.0], "length_scales": [[2.0, 6.0]]},
    "rotated-matern": {
        "kernel": "matern",
        "smoothness": 1.5,
        "angle": 30.0,
        "length_scales": [[2.0, 5.0]],
    },
}
RBF = {"kernel": "rbf", "length_scales": [4.0], "weight": 0.5}

RECIPES = {
    name: {"shape": [48, 40], "components": [kernel]} for name, kernel in KERNELS.items()
} | {
    "mixed": {"shape": [48, 40], "components": [RBF, KERNELS["matern-3/2"], RBF, KERNELS["white"]]},
    "not-standardized": {
        "shape": [48, 40],
        "components": [KERNELS["exponential"], RBF],
        "standardize": False,
    },
    "cylinder": {
        "shape": [96, 40],
        "components": [KERNELS["matern-3/2"] | {"length_scales": [3.0]}, RBF],
        "boundary": ["periodic", "open"],
    },
    "periodic": {
        "shape": [90, 77],
        "components": [{"kernel": "exponential", "length_scales": [2.0]}],
        "boundary": "periodic",
    },
    "series": {"shape": [300], "components": [KERNELS["exponential"]]},
    "volume": {
        "shape": [12, 16, 10],
        "components": [{"kernel": "matern", "smoothness": 2.5, "length_scales": [[1.0, 2.0, 1.5]]}],
    },
    "float16": {"shape": [48, 40], "components": [KERNELS["exponential"]], "dtype": "float16"},
}

GOLDEN = {
    "matern-1/2": "727b621da39786f7",
    "matern-3/2": "26a389b22dc34106",
    "matern-5/2": "e000363e07b8d9ab",
    "matern-0.8": "f36e6427ad417d0e",
    "exponential": "727b621da39786f7",
    "rational-quadratic": "11e90eab40620929",
    "power-law": "18c1ad2e5a59d252",
    "turbulence": "7a781d88cc2d2397",
    "white": "f820aabc96c7da48",
    "rotated-rbf": "9fe196526bb0ebed",
    "rotated-matern": "e50bd1fea98a7907",
    "mixed": "0bd082fe60724500",
    "not-standardized": "a0bb27cd7ef3b9d0",
    "cylinder": "e42eaf98844c728d",
    "periodic": "9957cb56f9f801a7",
    "series": "8d1429539870034e",
    "volume": "7490de974aba1e54",
    "float16": "5c545093f964bd67",
}


def recipe_of(name: str) -> Recipe:
    return Recipe.from_dict({"name": name, **RECIPES[name]})


def hashes() -> dict[str, str]:
    return {
        name: hashlib.sha256(Sampler(recipe_of(name)).images(0, 4)).hexdigest()[:16]
        for name in RECIPES
    }


def test_golden_hashes() -> None:
    assert hashes() == GOLDEN


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_golden_hashes_hold_on_other_machines(machine: str) -> None:
    assert json.loads(printed_on(machine, __file__)) == GOLDEN


@pytest.mark.parametrize("name", RECIPES)
def test_torch_draws_the_same_bits(name: str) -> None:
    recipe = recipe_of(name)
    expected = Sampler(recipe).images(0, 4).astype(np.float32)
    assert (sample_batch(recipe, range(4))[:, 0].numpy() == expected).all()
    rounded = sample_batch(recipe, range(4), dtype=torch.float32)[:, 0].numpy()
    assert np.abs(rounded - expected).max() < (1e-5 if recipe.dtype == "float32" else 5e-3)


def test_an_image_does_not_depend_on_those_drawn_with_it() -> None:
    sampler = Sampler(recipe_of("mixed"))
    together = sampler.images(0, 6)
    for index in range(6):
        assert (sampler.images(index, index + 1)[0] == together[index]).all()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_written_and_read_again(name: str) -> None:
    recipe = recipe_of(name)
    again = Recipe.from_toml(recipe.to_toml())
    assert again == recipe
    assert again.sha256 == recipe.sha256


def test_numbers_that_are_not_given_leave_the_hash_alone() -> None:
    fields = Recipe.load("two-scale-mini").to_dict()
    assert set(fields["components"][0]) == {"kernel", "length_scales", "weight"}


def test_standardized_images_have_mean_0_and_deviation_1() -> None:
    for name in KERNELS:
        images = Sampler(recipe_of(name)).images(0, 4).astype(np.float64)
        np.testing.assert_allclose(images.mean(axis=(1, 2)), 0, atol=1e-7)
        np.testing.assert_allclose(images.std(axis=(1, 2)), 1, atol=1e-7)


def test_a_sum_of_both_kinds_is_the_sum_of_its_components() -> None:
    mixed = recipe_of("mixed")
    image = gpgen.sample(mixed, 1).image.astype(np.float64)
    total = np.zeros(mixed.shape)
    for position in range(len(mixed.components)):
        fields = mixed.to_dict()
        for other, component in enumerate(fields["components"]):
            if other != position:
                component["weight"] = 1e-6
        alone = Recipe.from_dict(fields)
        total += gpgen.sample(alone, seed=gpgen.sample(mixed, 1).seed, label=1).image
    np.testing.assert_allclose(image, total, atol=3e-5)


def test_numbers_and_angles_make_classes() -> None:
    component = {
        "kernel": "matern",
        "smoothness": [0.5, 1.5],
        "angle": [0.0, 30.0],
        "length_scales": [[2.0, 5.0], [2.0, 6.0]],
    }
    fields = {"name": "all", "shape": [48, 40], "components": [RBF, component]}
    recipe = Recipe.from_dict(fields)
    assert recipe.class_count == 8
    assert recipe.classes[:4] == (
        "4-2x5(smoothness=0.5,angle=0)",
        "4-2x6(smoothness=0.5,angle=0)",
        "4-2x5(smoothness=1.5,angle=0)",
        "4-2x6(smoothness=1.5,angle=0)",
    )
    assert recipe.classes[4] == "4-2x5(smoothness=0.5,angle=30)"
    assert recipe.length_scales_of(5) == (4.0, (2.0, 6.0))
    textures = GeneratedTextures(recipe, 16, target="both")
    image, (label, scales) = textures[9]
    assert label == 1
    assert scales.tolist() == [[4.0, 4.0], [2.0, 6.0]]
    assert (image[0].numpy() == gpgen.sample(recipe, 9).image).all()


def test_an_angle_turns_from_down_to_right() -> None:
    component = {"kernel": "rbf", "length_scales": [[2.0, 12.0]], "angle": [45.0, 135.0]}
    fields = {"name": "a", "shape": [96, 96], "components": [component]}
    sampler = Sampler(Recipe.from_dict(fields))
    # At 45 degrees the short axis points down and right, so that values change fastest there.
    for label, fast in ((0, 1), (1, -1)):
        image = sampler.image(5, label)
        along = np.abs(image[1:, 1:] - image[:-1, :-1]).mean()
        across = np.abs(image[1:, :-1] - image[:-1, 1:]).mean()
        assert (along > 2 * across) == (fast == 1)
        assert (across > 2 * along) == (fast == -1)


def test_a_right_angle_exchanges_the_axes() -> None:
    turned = {"kernel": "rbf", "length_scales": [[2.0, 6.0]], "angle": 90.0}
    exchanged = {"kernel": "rbf", "length_scales": [[6.0, 2.0]]}
    images = [
        Sampler(Recipe.from_dict({"name": "a", "shape": [48, 40], "components": [c]})).images(0, 2)
        for c in (turned, exchanged)
    ]
    assert (images[0] == images[1]).all()


def test_matern_one_half_is_the_exponential() -> None:
    half = Sampler(recipe_of("matern-1/2")).images(0, 4)
    assert (half == Sampler(recipe_of("exponential")).images(0, 4)).all()


@pytest.mark.slow
def test_a_dataset_is_made_read_and_whole(tmp_path: Path) -> None:
    for name in ("mixed", "rotated-matern", "cylinder"):
        path = tmp_path / f"{name}.zarr"
        with gpgen.make(recipe_of(name), 8, path, workers=1) as dataset:
            assert (dataset.image[3] == gpgen.sample(recipe_of(name), 3).image).all()
            assert dataset.recipe == recipe_of(name)
        assert gpgen.verify(path, regenerate="all").ok


BAD: dict[str, dict[str, object]] = {
    "inner_scale 100 px damps all waves of an image of 48 px; use at most 48 px": {
        "kernel": "power-law",
        "exponent": 3.0,
        "inner_scale": [1.0, 100.0],
        "length_scales": [20.0],
    },
    "component 1: kernel 'matern' needs smoothness": {"kernel": "matern", "length_scales": [3.0]},
    "component 1: kernel 'matern': smoothness 20.0 is out of range; use 0.1 to 10": {
        "kernel": "matern",
        "smoothness": 20,
        "length_scales": [3.0],
    },
    "component 1: kernel 'rbf' has no alpha": {
        "kernel": "rbf",
        "alpha": 1.0,
        "length_scales": [3.0],
    },
    "component 1: an empty list of numbers": {
        "kernel": "matern",
        "smoothness": [],
        "length_scales": [3.0],
    },
    "component 1: angle 30 turns a kernel whose length-scales are equal": {
        "kernel": "rbf",
        "angle": 30.0,
        "length_scales": [3.0],
    },
    "component 1: angle 400 is out of range": {
        "kernel": "rbf",
        "angle": 400.0,
        "length_scales": [[2.0, 3.0]],
    },
    "component 1: white noise has no length-scale; write length_scales = [1]": {
        "kernel": "white",
        "length_scales": [3.0],
    },
    "choices 2x5(angle=10) and 2x5(angle=190) are one and the same": {
        "kernel": "rbf",
        "angle": [10.0, 190.0],
        "length_scales": [[2.0, 5.0]],
    },
    "component 1: length-scale 3 px appears twice": {
        "kernel": "exponential",
        "length_scales": [3.0, 3.0],
    },
    "more than 1e-6, on any torus": {
        "kernel": "rational-quadratic",
        "alpha": 0.2,
        "length_scales": [100.0],
    },
    "is so long that an image of 48x40 px is almost constant": {
        "kernel": "matern",
        "smoothness": 2.5,
        "length_scales": [1e5],
    },
    "make 16777216 classes": {
        "kernel": "matern",
        "smoothness": [0.1 + k / 1000 for k in range(4096)],
        "length_scales": [1.0 + k for k in range(4096)],
    },
}


@pytest.mark.parametrize("message", BAD)
def test_bad_components_are_refused_in_one_line(message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict({"name": "bad", "shape": [48, 40], "components": [BAD[message]]})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boundary": ["open"]}, "1 boundaries for 2 axes"),
        ({"boundary": ["open", "open"]}, 'is the same for all axes; write boundary = "open"'),
        ({"boundary": ["open", "closed"]}, "unknown boundary 'closed'"),
        ({"shape": [40, 40, 40]}, "angle 30 needs two axes"),
        ({"shape": [1021, 40], "boundary": ["periodic", "open"]}, "use 1022 pixels"),
        ({"algorithm": "golkar2018"}, "golkar2018"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {
        "name": "bad",
        "shape": [48, 40],
        "components": [KERNELS["rotated-matern"]],
    }
    if len(changes.get("shape", ())) == 3:  # type: ignore[arg-type]
        fields["components"] = [KERNELS["rotated-matern"] | {"length_scales": [[2.0, 5.0, 1.0]]}]
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict(fields | changes)
    assert message in str(caught.value)


def test_equal_classes_of_two_kernels_are_found() -> None:
    components = [
        {"kernel": "exponential", "length_scales": [3.0, 5.0]},
        {"kernel": "matern", "smoothness": 0.5, "length_scales": [5.0, 3.0]},
    ]
    with pytest.raises(RecipeError, match="are one distribution"):
        Recipe.from_dict({"name": "twins", "shape": [48, 40], "components": components})


if __name__ == "__main__":
    print(json.dumps(hashes()))  # noqa: T201
