from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpgen import Component, Recipe, builtin_recipes
from gpgen.errors import RecipeError, UsageError
from gpgen.exact.drawn_range import DrawnRange

MINIMAL = """
name = "m"
shape = [16, 16]
[[components]]
kernel = "rbf"
length_scales = [2.0]
"""


def test_built_in_recipes_are_found_and_each_has_a_card() -> None:
    assert {"two-scale", "three-scale", "two-scale-mini"} <= set(builtin_recipes())
    for name in builtin_recipes():
        assert Recipe.load(name).name == name
        assert (Path(__file__).parents[1] / "datasets" / f"{name}.md").is_file()


def test_two_scale_is_the_papers() -> None:
    recipe = Recipe.load("two-scale")
    assert recipe.shape == (1024, 1024)
    assert recipe.classes == ("9.5-80", "10-80", "9.5-140", "10-140")
    assert [c.weight for c in recipe.components] == [0.75, 1.25]


@pytest.mark.parametrize("name", builtin_recipes())
def test_covariance_error_of_built_in_recipes_is_at_most_1e_6(name: str) -> None:
    accuracy = Recipe.load(name).accuracy
    assert 0 < accuracy.covariance_error <= 1e-6
    assert accuracy.bits_used <= 53


def test_toml_and_dictionary_and_pickle_give_the_recipe_back(small: Recipe) -> None:
    for recipe in (small, *map(Recipe.load, builtin_recipes())):
        assert Recipe.from_toml(recipe.to_toml()) == recipe
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
        pickled = pickle.loads(pickle.dumps(recipe))  # noqa: S301
        assert pickled == recipe
        assert pickled.sha256 == recipe.sha256  # a worker must know it for the same


def test_hash_follows_the_content_and_not_the_writing() -> None:
    recipe = Recipe.from_toml(MINIMAL)
    spelled_out = MINIMAL.replace("[2.0]", "[2]") + "weight = 1.0\n"
    assert Recipe.from_toml("seed = 0\n" + spelled_out).sha256 == recipe.sha256
    assert recipe.replace(seed=1).sha256 != recipe.sha256
    turned = recipe.replace(splits={"test": 0.1, "train": 0.8, "validation": 0.1})
    assert turned.sha256 != recipe.sha256  # the order of splits decides who is in which


def test_hashes_are_pinned() -> None:
    assert Recipe.from_toml(MINIMAL).sha256[:16] == "4ad9dc16ad13305f"


def test_labels_count_the_first_component_fastest() -> None:
    recipe = Recipe.load("three-scale")
    assert recipe.classes[1] == "10-60-140"
    assert recipe.classes[2] == "9.5-80-140"
    assert recipe.classes[4] == "9.5-60-200"
    assert recipe.labels(5, 12).tolist() == [5, 6, 7, 0, 1, 2, 3]
    scales = recipe.length_scale_array(0, 16)
    for label, row in zip(recipe.labels(0, 16), scales, strict=True):
        assert tuple(row) == recipe.length_scales_of(int(label))


def test_length_scales_an_axis_are_named_and_stored() -> None:
    recipe = Recipe.from_toml(MINIMAL.replace("[2.0]", "[[2.0, 3.5], 2.0]"))
    assert recipe.classes == ("2x3.5", "2")
    assert recipe.length_scale_array(0, 2).tolist() == [[[2.0, 3.5]], [[2.0, 2.0]]]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(0, 50),
)
def test_splits_hold_in_every_prefix_whole_classes_together(parts, scales, start) -> None:
    total = sum(parts)
    fractions = [p / total for p in parts]
    recipe = Recipe.from_dict(
        {
            "name": "s",
            "shape": [64],
            "components": [{"kernel": "rbf", "length_scales": [1.0 + i for i in range(scales)]}],
            "splits": {f"part{i}": f for i, f in enumerate(fractions)},
        }
    )
    codes = recipe.split_codes(0, 200 * scales).reshape(-1, scales)
    assert (codes == codes[:, :1]).all()
    counts = np.stack([np.cumsum(codes[:, 0] == i) for i in range(len(parts))], axis=1)
    ideal = np.arange(1, 201)[:, None] * np.array(fractions)
    # A half from rounding the first share, passed on to each later one.
    assert np.abs(counts - ideal).max() <= 0.5 * len(parts) + 0.01
    assert (
        recipe.split_codes(start, start + 40) == codes.ravel()[start : start + 40]
    ).all() or scales * 200 < start + 40


def test_splits_of_400_are_exact() -> None:
    recipe = Recipe.load("two-scale-mini")
    assert np.bincount(recipe.split_codes(0, 400)).tolist() == [320, 40, 40]


BAD = {
    "component 1: unknown kernel 'spherical'; use one of: rbf, matern": MINIMAL.replace(
        "rbf", "spherical"
    ),
    "unknown kernel 'RBF'; did you mean 'rbf'?": MINIMAL.replace("rbf", "RBF"),
    "component 1: unknown key 'length_scale'; did you mean 'length_scales'?": MINIMAL.replace(
        "length_scales", "length_scale"
    ),
    "unknown key 'shapes'; did you mean 'shape'?": MINIMAL.replace("shape", "shapes"),
    "component 1: length-scale -2.0 px is not between": MINIMAL.replace("2.0", "-2.0"),
    "component 1: length-scale nan px is not between": MINIMAL.replace("2.0", "nan"),
    "component 1: length-scale inf px is not between": MINIMAL.replace("2.0", "inf"),
    "length-scale 2 px appears twice": MINIMAL.replace("[2.0]", "[2.0, 2]"),
    "component 1: weight nan": MINIMAL + "weight = nan\n",
    "component 1: weight -1.0": MINIMAL + "weight = -1.0\n",
    "splits sum to 0.9, not 1": "splits = { train = 0.8, test = 0.1 }\n" + MINIMAL,
    "no length_scales": MINIMAL.replace("[2.0]", "[]"),
    "2 length-scales for 2 axes": None,
    "an axis of 0 pixels is out of range; use 2 to": MINIMAL.replace("[16, 16]", "[0, 16]"),
    "has 4 axes; give one, two or three": MINIMAL.replace("[16, 16]", "[4, 4, 4, 4]"),
    "seed -1 is out of range": "seed = -1\n" + MINIMAL,
    "is too large; use at most": MINIMAL.replace("[16, 16]", "[65536, 65536]"),
    "there are no components": 'name = "m"\nshape = [16]\ncomponents = []\n',
    "not valid TOML": "name = ",
    "missing required field `components`": 'name = "m"\nshape = [16]\n',
    "expected `int`, got `str`": MINIMAL.replace("[16, 16]", '["a", 16]'),
    "so long that an image of 16x16 px is almost constant": MINIMAL.replace("2.0", "5000.0"),
    "does not fit on a periodic axis of 16 px": 'boundary = "periodic"\n' + MINIMAL,
    "weights that sum to 1000 overflow float16": 'dtype = "float16"\n' + MINIMAL + "weight = 1e3\n",
    "unknown boundary 'wrap'; use one of: open, periodic": 'boundary = "wrap"\n' + MINIMAL,
    "did you mean 'periodic'? use one of: open, periodic": 'boundary = "Perodic"\n' + MINIMAL,
    "unknown dtype 'float64'; use one of: float32, float16": 'dtype = "float64"\n' + MINIMAL,
    "unknown dtype 16; use one of: float32, float16": "dtype = 16\n" + MINIMAL,
    "unknown algorithm 'golkar'; did you mean 'golkar2018'?": 'algorithm = "golkar"\n' + MINIMAL,
}
del BAD["2 length-scales for 2 axes"]


@pytest.mark.parametrize("message", BAD)
def test_bad_recipes_get_one_line_that_says_what_and_where(message: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(BAD[message])
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    text = str(caught.value)
    assert message in text
    assert str(path) in text
    assert "\n" not in text.strip()
    assert caught.value.hint


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'two-scale'"):
        Recipe.load("two-scales")


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "from-windows.toml"
    path.write_text("\ufeff" + Recipe.load("two-scale-mini").to_toml(), encoding="utf-8")
    assert Recipe.load(path) == Recipe.load("two-scale-mini")


def test_an_unreadable_file_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="can't be read: No such file"):
        Recipe.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="isn't UTF-8"):
        Recipe.load(tmp_path / "binary.toml")
    with pytest.raises(RecipeError, match="can't be read"):
        Recipe.load(tmp_path)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_keys = [*Recipe.__struct_fields__, "algorithm", "sizes"]


@given(st.dictionaries(st.sampled_from(_keys), _values), st.data())
def test_hostile_recipes_are_refused_with_a_recipe_error_or_make_a_recipe(fields, data) -> None:
    good = {
        "name": "g",
        "shape": [8],
        "components": [{"kernel": "rbf", "length_scales": [2.0], "weight": 1.0}],
    }
    if data.draw(st.booleans()):
        component = dict(good["components"][0])
        component.update(
            data.draw(st.dictionaries(st.sampled_from([*component, "kernels"]), _values))
        )
        good["components"] = [component]
    good.update(fields)
    try:
        recipe = Recipe.from_dict(good)
    except RecipeError:
        return
    assert recipe.accuracy.covariance_error <= 1e-6


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_hostile_text_is_refused_with_a_recipe_error(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_toml(text)


def test_recipes_are_frozen_and_replace_checks(small: Recipe) -> None:
    with pytest.raises(AttributeError):
        small.seed = 3
    assert small.replace(shape=(16, 24)).shape == (16, 24)
    with pytest.raises(RecipeError, match="small: unknown key 'sead'; did you mean 'seed'"):
        small.replace(sead=3)
    with pytest.raises(RecipeError, match="an axis of 1 pixels"):
        Recipe(name="x", shape=(1,), components=small.components)


def test_a_class_or_seed_that_there_is_not_has_no_length_scales_or_weights() -> None:
    recipe = Recipe.load("two-scale-mini")
    assert recipe.length_scales_of(np.int64(3)) == (4.2, 32.0)
    for label, said in ((4, "label 4 is out of range; use 0 to 3"), (-1, "label is -1"),
                        (True, "label is True"), (1.0, "label is 1.0")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            recipe.length_scales_of(label)
    for seed, said in ((2**64, r"out of range; use 0 to 2\*\*64 - 1"), (-1, "seed is -1"),
                       (2.5, "seed is 2.5")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            recipe.weights_of(seed)
        with pytest.raises(UsageError, match=said):
            recipe.length_scales_of(0, seed)


def test_a_recipe_built_with_lists_is_the_one_read_from_them() -> None:
    component = Component("matern", [[2, 3]], smoothness=[0.5, 1.5])
    built = Recipe("a", [64, 48], [component], boundary=["open", "periodic"])
    fields = {"kernel": "matern", "length_scales": [[2, 3]], "smoothness": [0.5, 1.5]}
    read = Recipe.from_dict(
        {"name": "a", "shape": [64, 48], "boundary": ["open", "periodic"], "components": [fields]}
    )
    assert built == read
    assert hash(built) == hash(read)
    assert built.shape == (64, 48)
    assert built.components[0].length_scales == ((2.0, 3.0),)
    assert Recipe("a", [64, 48], [fields], ["open", "periodic"]) == read
    drawn = Component("rbf", {"low": 3, "high": 9})
    assert drawn.length_scales == DrawnRange(3.0, 9.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": 64}, "shape: expected `array`, got `int`"),
        ({"shape": (64.0, 64)}, r"shape\[0\]: expected `int`, got `float`"),
        ({"shape": np.array([64, 64])}, "shape: expected `array`, got `numpy.ndarray`"),
        ({"components": [{"kernel": 3}]}, r"components\[0\].kernel: expected `str`, got `int`"),
        ({"standardize": "no"}, "standardize: expected `bool`, got `str`"),
        ({"seed": "7"}, "seed: expected `int`, got `str`"),
    ],
)
def test_a_recipe_built_with_other_types_is_refused(changes: dict[str, Any], said: str) -> None:
    fields = {"name": "a", "shape": (64, 64), "components": [Component("rbf", [3.0])]}
    with pytest.raises(RecipeError, match=f"^{said}; ") as caught:
        Recipe(**{**fields, **changes})
    assert "\n" not in str(caught.value)


def test_a_component_built_with_other_types_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"^length_scales: expected `object \| array`, got"):
        Component("rbf", 3.0)
    with pytest.raises(RecipeError, match=r"^high: expected `float`, got `str`"):
        DrawnRange(3.0, "x")
