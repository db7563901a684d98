"""What deposits say of their difficulty: looked up, given, or left to be computed."""

from __future__ import annotations

import json

import pytest
from publish_help import make_small, publication, refusal, small_recipe

import gpgen
from gpgen import Recipe
from gpgen.description.abstract import abstract, difficulty_paragraph
from gpgen.description.dataset_description import describe_dataset, describe_drawn
from gpgen.errors import UsageError
from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.publish.describing import describe
from gpgen.publish.packaging import package


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_small(tmp_path_factory.mktemp("made") / "data.h5")


@pytest.fixture
def figures(tmp_path):
    """What `gpgen difficulty` would write of the small recipe, more digits than are kept."""
    component = {"choices": ["2", "2.5"], "accuracy": 0.98765, "error": 0.00123}
    other = {**component, "choices": ["8", "12"], "accuracy": 0.7}
    fields = {"accuracy": 0.69, "error": 0.0071, "components": [component, other]}
    about = {"sha256": small_recipe().sha256, "converged": False, "noise": 0.01, "samples": 4000}
    path = tmp_path / "difficulty.json"
    path.write_text(json.dumps({**fields, **about, "bound": 0.6}))
    return path


def test_a_difficulty_that_is_given_stands_in_card_and_metadata(made, figures, tmp_path):
    done = package(made, publication(), tmp_path / "d", recipe_only=True, difficulty=figures)
    said = "is right in at least 0.690 ± 0.007 of the images"
    parts = "component 1 (2 or 2.5 px) in 0.988 ± 0.001; component 2 (8 or 12 px) in 0.700 ± 0.001"
    croissant, datacite = (
        json.loads((done.path / f"{name}.json").read_text()) for name in ("croissant", "datacite")
    )
    for text in (
        (done.path / "README.md").read_text(),
        croissant["description"],
        datacite["descriptions"][0]["description"],
    ):
        assert said in text
        assert parts in text
    description, _ = describe(done.path)
    assert description.difficulty.accuracy == 0.69
    assert not description.difficulty.converged


def test_without_one_a_card_says_how_it_is_computed_or_why_it_is_not(made, tmp_path):
    """Nothing is computed: another machine would find other last digits."""
    done = package(made, publication(), tmp_path / "d", recipe_only=True)
    card = (done.path / "README.md").read_text()
    assert "`gpgen difficulty recipe.toml` computes it" in card
    of_2018 = describe_drawn(Recipe.load("golkar2018"), 4, "zarr", layout={})
    assert "have no known density" in difficulty_paragraph(of_2018)
    mini = Recipe.load("two-scale-mini")
    assert describe_drawn(mini, 4, "zarr", layout={}).difficulty is None


def test_a_built_in_recipe_is_looked_up(tmp_path):
    recipe = Recipe.load("two-scale-mini").replace(seed=3, name="another")
    with gpgen.make(recipe, 1, tmp_path / "d.zarr") as dataset:
        description = describe_dataset(dataset)
    said = "is right in 0.990 ± 0.002 of the images"
    assert said in abstract(publication(), description)


def test_a_difficulty_of_another_recipe_or_none_at_all_is_refused(made, figures, tmp_path):
    fields = json.loads(figures.read_text())
    wrong = tmp_path / "wrong.json"
    for text, words in (
        (json.dumps({**fields, "sha256": "0" * 64}), "is of another recipe than"),
        (json.dumps({**fields, "accuracy": 2}), "is not what `gpgen difficulty --json` writes"),
        (json.dumps([1]), "is not what `gpgen difficulty --json` writes"),
        ("{", "is not what `gpgen difficulty --json` writes"),
    ):
        wrong.write_text(text)
        told = refusal(UsageError, package, made, publication(), tmp_path / "d", difficulty=wrong)
        assert words in told
    assert not (tmp_path / "d").exists()


def test_the_files_of_2018_have_none(figures, tmp_path):
    archive = make_archive(
        ArchivePlan(((9.5, 2), (10.0, 2), (80.0, 2), (140.0, 2)), size=64),
        tmp_path / "a",
        workers=1,
    )
    told = refusal(
        UsageError, package, archive.path, publication(), tmp_path / "d", difficulty=figures
    )
    assert "whose difficulty nobody knows" in told
