"""The audit of drawn length-scales, of transformed values, and of large datasets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from audit_support import SMALL, drawn, stored, with_scales

import gpgen
from gpgen import Recipe, UsageError
from gpgen.observer.choosing import chosen_samples

DRAWN = Recipe.from_dict(
    {
        "name": "drawn",
        "shape": [32, 32],
        "components": [
            {"kernel": "rbf", "length_scales": {"low": 2.0, "high": 4.0, "steps": 8}},
            {"kernel": "rbf", "length_scales": {"low": 5.0, "high": 8.0, "steps": 8}},
        ],
    }
)


def transformed(name: str) -> Recipe:
    one = {"kernel": "rbf", "length_scales": [2.0, 2.5], "transform": name, "weight": 0.5}
    return Recipe.from_dict({"name": name, "shape": [32, 32], "components": [one]})


@pytest.mark.parametrize("recipe", [DRAWN, transformed("lognormal"), transformed("threshold")])
def test_drawn_length_scales_and_transformed_values_are_right(recipe, tmp_path: Path) -> None:
    with gpgen.make(recipe, 80, tmp_path / "d.zarr", workers=1) as dataset:
        found = gpgen.audit(dataset)
    assert found.ok
    assert found.redrawn == 80


def test_drawn_length_scales_other_than_those_said_are_named(tmp_path: Path) -> None:
    components = DRAWN.to_dict()["components"]
    components[0]["length_scales"] = {"low": 2.06, "high": 4.12, "steps": 8}
    images = drawn(DRAWN.replace(components=components), 120)
    found = gpgen.audit(stored(DRAWN, images, tmp_path / "d.zarr"), recipe=DRAWN)
    (finding,) = found.findings
    pattern = r"component 1 has length-scales about 1\.0[23]\d* times those .* said to have"
    assert re.fullmatch(pattern, finding.text), finding.text

    images = np.roll(drawn(DRAWN, 120), 1, axis=0)
    found = gpgen.audit(stored(DRAWN, images, tmp_path / "rolled.zarr"), recipe=DRAWN)
    assert [each.text for each in found.findings] == [
        "all: images don't have the length-scales that they are said to have"
    ]

    images = drawn(DRAWN.replace(components=DRAWN.to_dict()["components"][:1]), 120)
    found = gpgen.audit(stored(DRAWN, images, tmp_path / "one.zarr"), recipe=DRAWN)
    assert [each.text for each in found.findings] == ["component 2 is left out"]


@pytest.mark.parametrize("name", ["lognormal", "uniform", "threshold"])
def test_length_scales_of_transformed_values_are_named(name, tmp_path: Path) -> None:
    recipe = transformed(name)
    images = drawn(with_scales(recipe, 1.1), 120)
    found = gpgen.audit(stored(recipe, images, tmp_path / "d.zarr"), recipe=recipe)
    said = [re.fullmatch(r".* has (\S+) px \(to .* %\), not 2", f.text) for f in found.findings]
    assert [float(match[1]) for match in said if match] == [pytest.approx(2.2, rel=0.02)]


def test_length_scales_that_the_recipe_doesnt_draw_are_refused(tmp_path: Path) -> None:
    components = DRAWN.to_dict()["components"]
    components[0]["length_scales"] = {"low": 3.0, "high": 4.0, "steps": 8}
    dataset = stored(DRAWN, drawn(DRAWN, 80), tmp_path / "d.zarr")
    with pytest.raises(UsageError, match=r"sample \d+ is said to have 2\.\d+ px in component 1"):
        gpgen.audit(dataset, recipe=DRAWN.replace(components=components))


def test_some_of_many_images_are_measured_closely(tmp_path: Path) -> None:
    images = drawn(with_scales(SMALL, 1.03, 1.0), 200)
    images[199] = images[3]  # neither is measured
    found = gpgen.audit(stored(SMALL, images, tmp_path / "d.zarr"), recipe=SMALL, images=64)
    assert (found.samples, found.measured) == (200, 64)
    assert {each.kind for each in found.findings} == {"repeated", "length-scale"}
    with pytest.raises(UsageError, match="images 7 is out of range"):
        gpgen.audit(tmp_path / "d.zarr", images=7)


@pytest.mark.parametrize(("n", "count", "classes"), [(1000, 128, 4), (130, 128, 64), (40, 40, 2)])
def test_samples_are_chosen_in_runs_of_neighbours(n, count, classes) -> None:
    chosen = chosen_samples(n, count, classes, 0)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen[0] <= chosen[-1] < n
    runs = 1 + np.count_nonzero(np.diff(chosen) > 1)
    assert runs <= max(1, count // (2 * classes))


def test_threads_change_nothing(tmp_path: Path) -> None:
    dataset = stored(SMALL, drawn(SMALL, 40), tmp_path / "d.zarr")
    assert gpgen.audit(dataset, workers=1) == gpgen.audit(dataset, workers=3)
