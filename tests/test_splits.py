"""Splits are computed: compared with a list of every sample's code."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpgen import Recipe
from gpgen.splits import ComputedSplit, ListedSplit, split_codes

NAMES = "abcdefgh"


@st.composite
def fractions(draw: st.DrawFn) -> dict[str, float]:
    """Fractions that sum to 1 as nearly as a recipe asks, some of them tiny, in any order."""
    weights = draw(st.lists(st.integers(1, 100) | st.just(10**9), min_size=1, max_size=8))
    total = sum(weights)
    return dict(zip(NAMES, (weight / total for weight in weights), strict=False))


@given(fractions(), st.integers(1, 9), st.integers(0, 300))
def test_a_computed_split_is_the_list_of_its_samples(splits, classes: int, n: int) -> None:
    codes = split_codes(splits, classes, 0, n)
    bounds = np.arange(n + 1)
    for code, name in enumerate(splits):
        listed = np.flatnonzero(codes == code)
        for split in (ComputedSplit.of(splits, name, classes, n), ListedSplit(listed)):
            assert len(split) == len(listed)
            assert split.indices(np.arange(len(split))).tolist() == listed.tolist()
            assert split.below(bounds).tolist() == np.searchsorted(listed, bounds).tolist()


@given(fractions(), st.integers(1, 9), st.integers(10**11, 10**12))
def test_far_out_it_is_the_same_samples(splits, classes: int, start: int) -> None:
    """Where no list reaches: the codes there against the positions that lead there."""
    stop = start + 500
    codes = split_codes(splits, classes, start, stop)
    for code, name in enumerate(splits):
        split = ComputedSplit.of(splits, name, classes, stop)
        first, last = split.below(np.array([start, stop])).tolist()
        found = split.indices(np.arange(first, last))
        assert found.tolist() == (start + np.flatnonzero(codes == code)).tolist()


def test_every_sample_is_in_one_split_whatever_the_fractions_sum_to() -> None:
    """They may sum to a little more than 1, and leave nothing for the last: once an error."""
    for splits in ({"a": 1.0, "b": 4e-10, "c": 4e-10}, {"a": 0.5, "b": 0.5 + 8e-10, "c": 1e-320}):
        recipe = Recipe.load("two-scale").replace(splits=splits)
        parts = [recipe.split_indices(name, 4001).tolist() for name in splits]
        assert np.sort(np.concatenate(parts)).tolist() == list(range(4001))


def test_the_splits_of_a_recipe_are_a_billion_samples_at_no_cost() -> None:
    recipe, n = Recipe.load("two-scale"), 10**9
    splits = [recipe.split(name, n) for name in recipe.splits]
    assert sum(map(len, splits)) == n
    assert [len(split) for split in splits] == [8 * 10**8, 10**8, 10**8]
    last = np.flatnonzero(recipe.split_codes(n - 1000, n) == 2)[-1] + n - 1000
    assert splits[2].indices(np.array([10**8 - 1])).tolist() == [last]
