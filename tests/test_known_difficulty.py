"""Difficulties that are kept: right, the same everywhere, found under any name."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from observer_support import recipe
from store_tools import only_long

from gpgen import Recipe, difficulty
from gpgen.description.difficulty_in_words import accuracy_in_words
from gpgen.observer import DifficultySummary
from gpgen.observer.known import (
    KNOWN,
    compute_summary,
    known_summary,
    reason_for_none,
    summary_or_reason,
    texture_sha256,
)
from gpgen.recipe import builtin_folder, builtin_recipes

ENTRIES = json.loads((builtin_folder() / KNOWN).read_text())
QUICK = [
    name
    for name, entry in ENTRIES.items()
    if Recipe.load(name).shape[0] <= 256 and entry["converged"]
]
SLOW = only_long((name,) for name in ENTRIES if name not in QUICK)
FEW = recipe((16, 16), ((1.5, 2), 1.0))


@pytest.mark.parametrize("name", builtin_recipes())
def test_each_built_in_recipe_has_a_difficulty_or_a_reason_for_none(name) -> None:
    """If it fails: `python -m benchmarks.difficulty` writes the file anew."""
    built_in = Recipe.load(name)
    assert (known_summary(built_in) is None) == bool(reason_for_none(built_in))
    assert (name in ENTRIES) == (known_summary(built_in) is not None)


@pytest.mark.parametrize("name", builtin_recipes())
def test_each_card_carries_it(name) -> None:
    card = " ".join((builtin_folder() / f"{name}.md").read_text().split())
    known = known_summary(Recipe.load(name))
    if known is None:
        assert "ideal observer tells" in card or "gpgen difficulty" in card
        return
    least = "" if known.converged else "at least "
    assert least + accuracy_in_words(known.accuracy, known.error) in card


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_what_is_kept_is_what_is_computed(name) -> None:
    """Another library for linear algebra simulates other images: within four standard errors."""
    kept, again = known_summary(Recipe.load(name)), compute_summary(Recipe.load(name))
    assert kept is not None
    assert (kept.converged, kept.noise, kept.samples) == (
        again.converged, again.noise, again.samples,
    )  # fmt: skip
    for ours, theirs in zip((kept, *kept.components), (again, *again.components), strict=True):
        if ours.accuracy is None:
            assert theirs.accuracy is None
            continue
        assert theirs.accuracy == pytest.approx(
            ours.accuracy, abs=4 * math.hypot(ours.error, theirs.error) + 0.001
        )


def test_name_seed_splits_and_dtype_leave_a_difficulty_alone() -> None:
    mini = Recipe.load("two-scale-mini")
    other = mini.replace(name="other", seed=9, dtype="float16", splits={"train": 1.0})
    assert texture_sha256(other) == texture_sha256(mini)
    assert known_summary(other) == known_summary(mini) is not None
    for changes in ({"shape": (128, 128)}, {"standardize": False}):
        assert known_summary(mini.replace(**changes)) is None


@pytest.mark.slow
def test_a_summary_has_the_figures_of_the_whole_answer_rounded() -> None:
    whole, summary = difficulty(FEW), compute_summary(FEW)
    assert summary.accuracy == round(whole.accuracy, 3)
    assert summary.components[0].error == round(whole.components[0].estimate.error, 3)
    read = DifficultySummary.from_dict(json.loads(json.dumps(whole.to_dict())))
    assert read == summary == DifficultySummary.from_dict(summary.to_dict())


def test_what_takes_long_or_is_not_known_has_a_reason() -> None:
    many = recipe((64, 64), (tuple(range(2, 15)), 1.0))
    for asked, why in (
        (many, "takes long"),
        (Recipe.load("golkar2018"), "2018"),
        (Recipe.load("regression"), "it draws its length-scales"),
    ):
        found, reason = summary_or_reason(asked)
        assert found is None
        assert why in reason


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": 1.2},
        {"error": math.nan},
        {"noise": math.inf},
        {"samples": 0},
        {"samples": "many"},
        {"components": [{"choices": ["2"], "accuracy": 0.5, "error": None}]},
        {"components": [{"choices": ["2"], "accuracy": None, "error": 0.1}]},
    ],
)
def test_what_is_no_difficulty_is_refused(changes) -> None:
    fields = known_summary(Recipe.load("two-scale-mini")).to_dict()
    with pytest.raises(msgspec.ValidationError):
        DifficultySummary.from_dict({**fields, **changes})
