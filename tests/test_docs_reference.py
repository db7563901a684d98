"""The generated pages of the reference, and what they say of a recipe's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recipe_keys import COMPONENT_KEYS, RANGE_KEYS, RECIPE_KEYS, SMALL, Key
from reference import PAGES

from gpgen import Component, Recipe, RecipeError, builtin_recipes
from gpgen.exact.drawn_range import DrawnRange

ROOT = Path(__file__).parents[1]

TABLES = {"recipe": RECIPE_KEYS, "component": COMPONENT_KEYS, "range": RANGE_KEYS}
CASES = [(level, name) for level, keys in TABLES.items() for name in keys]


def fields(level: str, name: str, key: Key, value: Any) -> dict[str, Any]:
    """Return a small recipe's fields with a value under the key."""
    if level == "recipe":
        return {**SMALL, name: value}
    component = {**SMALL["components"][0], **key.beside}
    if level == "component":
        return {**SMALL, "components": [{**component, name: value}]}
    component["length_scales"] = {"low": 3.0, "high": 12.0, name: value}
    return {**SMALL, "components": [component]}


@pytest.mark.parametrize("page", PAGES)
def test_generated_pages_are_what_the_code_says(page: str) -> None:
    kept = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert kept == PAGES[page](), "run `python docs/site/reference.py`"


def test_every_key_is_told() -> None:
    assert tuple(RECIPE_KEYS) == Recipe.__struct_fields__
    assert tuple(COMPONENT_KEYS) == Component.__struct_fields__
    assert tuple(RANGE_KEYS) == DrawnRange.__struct_fields__


@pytest.mark.parametrize(("level", "name"), CASES)
def test_values_within_a_keys_limits_are_taken_and_those_beyond_refused(
    level: str, name: str
) -> None:
    key = TABLES[level][name]
    assert key.accepted
    assert key.refused
    for value in key.accepted:
        Recipe.from_dict(fields(level, name, key, value))
    for value in key.refused:
        with pytest.raises(RecipeError):
            Recipe.from_dict(fields(level, name, key, value))


def test_the_gallery_shows_every_built_in_recipe() -> None:
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    for name in builtin_recipes():
        assert f"## {name}\n" in gallery
        assert f"(pictures/{name}.png)" in gallery
        assert (ROOT / "docs" / "pictures" / f"{name}.png").is_file()
