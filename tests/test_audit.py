"""The audit: right datasets pass, and each fault of a wrong one is found and named."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from audit_support import SMALL, drawn, stored, with_scales, wrong
from cli_support import Caller

import gpgen
from gpgen import Recipe, UsageError
from gpgen.imported import Imported
from gpgen.observer.axis_modes import modes_of_axis
from gpgen.observer.cells import Cells, in_modes
from gpgen.observer.ranks import RankSums
from gpgen.observer.single_samples import Dependence

KINDS = ("length-scale", "labels", "component", "repeated", "pixels", "clipped", "rounded")

NAMES = {
    "length-scale": r"1, in all classes with 2 px, has 2\.0[56]\d* px \(to 0\.\d+ %\), not 2",
    "labels": "classes 2.5-5 and 2-8 are exchanged",
    "component": "component 2 is left out",
    "repeated": "samples 40 and 96 are equal",
    "pixels": r"samples 60 to 99 are not what the recipe's seed draws.*\(40 of 240 compared\)",
    "clipped": r"values are clipped above 2\.8",
    "rounded": "values are rounded",
}


def recipes() -> list[Recipe]:
    """Recipes of all kinds, small."""
    one = {"kernel": "matern", "smoothness": 1.5, "length_scales": [1.0, 2.0]}
    turned = {"kernel": "rbf", "length_scales": [[2.0, 6.0]], "angle": [30.0, 120.0]}
    line = {"kernel": "rbf", "length_scales": [2.0, 2.5]}
    fields = {"name": "r", "shape": [32, 32]}
    return [
        SMALL.replace(shape=[48, 32]),
        SMALL.replace(shape=[32, 32], standardize=False, dtype="float16"),
        Recipe.from_dict({**fields, "components": [one], "boundary": "periodic"}),
        Recipe.from_dict({**fields, "components": [turned, one], "standardize": False}),
        Recipe.from_dict({**fields, "shape": [200], "components": [line]}),
        SMALL.replace(algorithm="golkar2018"),
        Recipe.from_dict({**fields, "shape": [12, 12, 12], "components": [one]}),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(7))
def test_what_make_makes_is_right(number, tmp_path: Path) -> None:
    recipe = recipes()[number]
    with gpgen.make(recipe, 80, tmp_path / "d.zarr", workers=1) as dataset:
        found = gpgen.audit(dataset)
    assert found.ok
    assert not found.findings
    assert found.redrawn == 80
    assert 0 < found.comparisons[0].p <= found.p


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.long)])
def test_p_values_of_right_datasets_are_seldom_small(number, tmp_path: Path) -> None:
    small = 0
    for seed in range(40):
        recipe = recipes()[number].replace(seed=seed)
        with gpgen.make(recipe, 120, tmp_path / f"{seed}.zarr", workers=1) as dataset:
            small += gpgen.audit(dataset).p < 0.01
    # Of 40 at most one in a hundred: 3 or more have a probability below 0.01.
    assert small <= 2


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow)
        if kind in ("length-scale", "labels", "component")
        else kind
        for kind in KINDS
    ],
)
def test_a_wrong_dataset_is_found_and_its_fault_named(kind, tmp_path: Path) -> None:
    dataset = stored(SMALL, wrong(kind, SMALL, 240), tmp_path / "d.zarr")
    found = gpgen.audit(dataset)
    assert not found.ok
    named = [each for each in found.findings if each.kind == kind]
    assert named, found.findings
    assert any(re.search(NAMES[kind], each.text) for each in named), named


@pytest.mark.slow
def test_one_class_with_another_length_scale_is_named(tmp_path: Path) -> None:
    images = drawn(SMALL, 240)
    labels = np.arange(240) % 4
    images[labels == 0] = drawn(with_scales(SMALL, 1.0, 1.2), 240)[labels == 0]
    found = gpgen.audit(stored(SMALL, images, tmp_path / "d.zarr"), recipe=SMALL)
    (finding,) = found.findings
    assert finding.kind == "length-scale"
    assert finding.text.startswith("class 2-5: its second component has ")
    measured = float(finding.text.split(" has ")[1].split()[0])
    assert measured == pytest.approx(6, rel=0.05)


def test_images_of_two_pixels_are_audited(tmp_path: Path) -> None:
    line = {"kernel": "rbf", "length_scales": [1.0]}
    recipe = Recipe.from_dict({"name": "tiny", "shape": [2], "components": [line]})
    assert gpgen.audit(stored(recipe, drawn(recipe, 96), tmp_path / "d.zarr")).ok
    found = gpgen.audit(stored(recipe, 1.1 * drawn(recipe, 96), tmp_path / "w.zarr"))
    assert any("variance" in c.what and c.p < 1e-9 for c in found.comparisons)


def test_the_labels_of_two_samples_are_named(tmp_path: Path) -> None:
    images = drawn(SMALL, 240)
    images[[40, 41]] = images[[41, 40]]
    found = gpgen.audit(stored(SMALL, images, tmp_path / "d.zarr"), recipe=SMALL)
    assert [each.samples for each in found.findings] == [(40,), (41,)]
    assert found.findings[0].text == "sample 40 is labelled 2-5 and looks like 2.5-5"


@pytest.mark.slow
def test_samples_that_depend_on_each_other_are_named(tmp_path: Path) -> None:
    images = drawn(SMALL, 240)
    images[1::2] = 0.6 * images[::2] + 0.8 * images[1::2]
    found = gpgen.audit(stored(SMALL, images, tmp_path / "d.zarr"), recipe=SMALL)
    assert any("samples 1 apart are correlated" in each.text for each in found.findings)


@pytest.mark.slow
def test_another_marginal_distribution_is_found(tmp_path: Path) -> None:
    images = drawn(SMALL, 240)
    bent = np.sign(images) * np.abs(images) ** 1.1
    found = gpgen.audit(stored(SMALL, bent * images.std() / bent.std(), tmp_path / "d.zarr"))
    assert not found.ok
    assert any(c.what == "kurtosis" and c.p < 1e-6 for c in found.comparisons)


def test_equal_samples_in_two_splits_are_named_as_such(tmp_path: Path) -> None:
    images = drawn(SMALL, 240)
    train, test = (int(SMALL.split_indices(name, 240)[0]) for name in ("train", "test"))
    images[test] = images[train]
    found = gpgen.audit(stored(SMALL, images, tmp_path / "d.zarr"), recipe=SMALL)
    (finding,) = found.findings
    assert f"{min(train, test)} and {max(train, test)} are equal, one in " in finding.text
    assert "train" in finding.text
    assert "test" in finding.text


def test_a_view_is_audited(tmp_path: Path) -> None:
    images = wrong("pixels", SMALL, 240)
    dataset = stored(SMALL, images, tmp_path / "d.zarr")
    assert gpgen.audit(dataset[:60]).ok
    assert gpgen.audit(dataset[60:100]).findings[0].kind == "pixels"
    with pytest.raises(UsageError, match="repeats samples"):
        gpgen.audit(dataset[[3] * 20])


def test_the_same_audit_gives_the_same_result(tmp_path: Path) -> None:
    dataset = stored(SMALL, drawn(SMALL, 80), tmp_path / "d.zarr")
    first = gpgen.audit(dataset)
    assert first == gpgen.audit(tmp_path / "d.zarr")
    assert first != gpgen.audit(dataset, seed=1)


def test_progress_counts_images_drawn_and_read(tmp_path: Path) -> None:
    told: list[gpgen.Progress] = []
    dataset = stored(SMALL, drawn(SMALL, 80), tmp_path / "d.zarr")
    found = gpgen.audit(dataset, progress=told.append)
    assert {each.unit for each in told} == {"drawn image", "image"}
    assert told[-1] == gpgen.Progress(80, 80, "image")
    assert max(each.total for each in told) == found.drawn


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"level": 0}, "level 0 is out of range"),
        ({"seed": -1}, "seed -1 is negative"),
        ({"recipe": "two-scale-mini"}, "images of 64 x 64 pixels"),
        ({"recipe": SMALL.replace(components=SMALL.to_dict()["components"][:1])}, "has 2 class"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, match, tmp_path: Path) -> None:
    dataset = stored(SMALL, drawn(SMALL, 16), tmp_path / "d.zarr")
    with pytest.raises(UsageError, match=match):
        gpgen.audit(dataset, **arguments)
    with pytest.raises(UsageError, match="too few"):
        gpgen.audit(dataset[:4])


def test_imported_images_need_a_recipe(tmp_path: Path) -> None:
    told = Imported(
        "old", SMALL.shape, class_names=SMALL.classes, source_sha256="0" * 64, source_name="x"
    )
    dataset = stored(told, drawn(SMALL, 80), tmp_path / "d.zarr")
    with pytest.raises(UsageError, match="was imported"):
        gpgen.audit(dataset)
    assert gpgen.audit(dataset, recipe=SMALL).ok


def test_the_command_says_what_is_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = Caller(capfd, tmp_path)
    path = tmp_path / "d.zarr"
    stored(SMALL, wrong("repeated", SMALL, 120), path).close()
    result = command("audit", path)
    assert result.status == 1
    assert "samples 40 and 96 are equal" in result.out
    result = command("audit", path, "--json")
    assert result.status == 1
    assert not json.loads(result.out)["ok"]


@pytest.mark.parametrize("shape", [(7,), (8,), (6, 5), (4, 5, 6)])
@pytest.mark.parametrize("closed", [True, False])
def test_modes_have_the_powers_of_the_observers(shape, closed) -> None:
    images = np.random.default_rng(0).standard_normal((3, *shape))
    periodic = (closed,) * len(shape)
    found = in_modes(images, periodic)
    assert (found**2).sum() == pytest.approx((images**2).sum())
    if closed:
        return
    expected = images
    for axis, pixels in enumerate(shape, start=1):
        modes = modes_of_axis(pixels, pixels, periodic=False)
        expected = np.moveaxis(np.moveaxis(expected, axis, -1) @ modes.T, -1, axis)
    assert found == pytest.approx(expected)


def test_cells_hold_each_mode_once() -> None:
    cells = Cells((40, 25), (False, True))
    images = np.random.default_rng(0).standard_normal((2, 40, 25))
    powers = cells.powers(images)
    flat = (images**2).reshape(2, -1)
    by_hand = np.bincount(cells.cell_of_mode, flat[1]) / np.bincount(cells.cell_of_mode)
    assert powers[1] == pytest.approx(by_hand)


def test_rank_sums_are_those_of_scipy() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    drawn_values, seen = rng.standard_normal((50, 1)), 0.3 + rng.standard_normal((30, 1))
    ranks = RankSums([drawn_values])
    ranks.add(0, seen[:10])
    ranks.add(0, seen[10:])
    by_class, together = ranks.p_values()
    expected = mannwhitneyu(seen, drawn_values, method="asymptotic", use_continuity=False).pvalue
    assert by_class[0, 0] == pytest.approx(expected[0])
    assert together[0] == pytest.approx(expected[0])


def test_dependence_of_independent_directions_is_seldom_small() -> None:
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        dependence = Dependence(1)
        directions = rng.standard_normal((40, 16))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        dependence.add(directions, np.arange(40))
        p.append(dependence.p_value(1))
    assert np.mean(np.array(p) < 0.1) <= 0.1


@pytest.mark.long
def test_300_right_and_60_wrong_datasets(tmp_path: Path) -> None:
    p = []
    for seed in range(300):
        with gpgen.make(SMALL.replace(seed=seed), 120, tmp_path / "d.zarr", overwrite=True) as data:
            p.append(gpgen.audit(data).p)
    small = sum(each < 0.01 for each in p)
    found = 0
    for number in range(60):
        kind, recipe = KINDS[number % len(KINDS)], SMALL.replace(seed=number)
        data = stored(recipe, wrong(kind, recipe, 400), tmp_path / f"{number}.zarr")
        audit = gpgen.audit(data)
        found += not audit.ok and kind in {each.kind for each in audit.findings}
    # For the table in docs/audit.md: pytest -s.
    below = {x: sum(each < x for each in p) for x in (0.001, 0.01, 0.05, 0.1, 0.5)}
    sys.stdout.write(f"p below: {below}; found and named: {found}\n")
    assert (small <= 8, found) == (True, 60), (small, found)
