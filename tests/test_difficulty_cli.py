"""``gpgen difficulty`` and `gpgen.difficulty`: what they say, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_support import SMALL, Caller, command
from observer_support import recipe

import gpgen
from gpgen import Recipe
from gpgen.errors import RecipeError, UsageError

FEW = recipe((96,), ((2, 3), 0.75), ((8, 14), 1.25))
QUICK = {"samples": 400}


@pytest.fixture
def prompt(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "line.toml").write_text(SMALL.replace("[32, 32]", "[64]"))
    return Caller(capfd, tmp_path)


def test_json_has_the_accuracy_of_all_and_of_each_component(prompt) -> None:
    result = prompt("difficulty", "line.toml", "--samples", "400", "--json")
    assert (result.status, result.err) == (0, "")
    told = json.loads(result.out)
    assert 0.25 < told["accuracy"] <= 1
    assert [each["choices"] for each in told["components"]] == [["2", "2.5"], ["8", "12"]]
    for each in told["components"]:
        assert set(each) >= {"accuracy", "error", "bound", "modes"}
        assert told["accuracy"] <= each["accuracy"] + 0.02 <= 1.02
        assert 0 < each["error"] < 0.05
        assert 0.5 <= each["bound"] <= 1
        assert [side["shape"] for side in each["by_side"]] == [[32], [64], [128]]
        assert [group["images"] for group in each["by_images"]] == [1, 2, 4, 8]
    assert told["converged"] is True


def test_people_read_a_table(prompt) -> None:
    result = prompt("difficulty", "line.toml", "--samples", "400")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].split()[:5] == ["component", "accuracy", "at", "known", "amplitudes"]
    assert [line.partition(":")[0] for line in lines[1:3]] == ["1", "2"]
    assert lines[3].startswith("all classes")
    assert "400 images" in lines[-1]


def test_drawn_length_scales_have_errors_in_the_place_of_accuracies(prompt, tmp_path) -> None:
    images = recipe((96,), ((8,), 1)).to_dict()
    images["components"][0]["length_scales"] = {"low": 2.0, "high": 4.0, "steps": 5}
    (tmp_path / "drawn.toml").write_text(Recipe.from_dict(images).to_toml())
    result = prompt("difficulty", "drawn.toml")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[1].startswith("1: 2..4 px")
    assert [line.split()[-5] for line in lines[2:4]] == ["px", "px"]
    assert "Cramér-Rao bound" in lines[-1]
    told = json.loads(prompt("difficulty", "drawn.toml", "--json").out)
    (component,) = told["components"]
    assert [each["length_scale"] for each in component["bounds"]] == [2.0, 2.8284, 4.0]
    errors = [each["error"] for each in component["bounds"]]
    assert 0 < errors[0] < errors[1] < errors[2] < 1


@pytest.mark.slow
def test_a_dataset_stands_for_its_recipe_and_an_imported_one_is_refused(
    prompt, tmp_path, monkeypatch
) -> None:
    assert prompt.make().status == 0
    of_data, of_recipe = (
        prompt("difficulty", source, "--samples", "100", "--json")
        for source in ("data.zarr", "small.toml")
    )
    assert of_data.out == of_recipe.out


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_one_nearly_so() -> None:
    first, again, other = (gpgen.difficulty(FEW, **QUICK, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert abs(first.accuracy - other.accuracy) < 4 * 2**0.5 * first.estimate.error


@pytest.mark.slow
def test_larger_images_more_images_and_less_noise_are_easier() -> None:
    found = gpgen.difficulty(FEW, **QUICK, noise=0.1)
    by_side = [each.accuracy for each in found.by_side.values()]
    assert by_side == sorted(by_side)
    assert by_side[-1] > by_side[0] + 0.1
    assert found.by_images[8].accuracy > found.accuracy
    assert gpgen.difficulty(FEW, **QUICK, noise=1.0).accuracy < found.accuracy - 0.1


@pytest.mark.slow
def test_a_component_without_a_choice_has_no_accuracy() -> None:
    found = gpgen.difficulty(recipe((32, 32), ((2, 2.5), 1), ((8,), 1)), **QUICK)
    assert found.components[1].estimate is None
    assert found.to_dict()["components"][1]["accuracy"] is None
    assert found.components[0].estimate == found.estimate


@pytest.mark.slow
def test_the_length_scale_for_a_target_gives_it() -> None:
    images = recipe((32, 32), ((3, 4), 1))
    (component,) = gpgen.difficulty(images, target=0.8, samples=1000).components
    assert component.wished is not None
    assert component.wished.instead_of == 4
    wished = component.wished.length_scale
    again = gpgen.difficulty(recipe((32, 32), ((3, wished), 1)), samples=1000, seed=1)
    assert again.accuracy == pytest.approx(0.8, abs=0.05)


@pytest.mark.slow
def test_progress_is_told_to_its_end() -> None:
    told = []
    gpgen.difficulty(FEW, samples=100, progress=told.append)
    assert [each.done for each in told] == list(range(told[-1].total + 1))
    assert {each.unit for each in told} == {"estimate"}


@pytest.mark.parametrize(
    ("images", "options", "error", "says"),
    [
        (recipe((32, 32), ((2,), 1)), {}, UsageError, "one class only"),
        ("two-scale-minni", {}, RecipeError, "two-scale-mini"),
        ("golkar2018", {}, UsageError, "algorithm of 2018"),
        (recipe((32, 32), (range(2, 11), 1), (range(2, 10), 2)), {}, UsageError, "72 classes"),
        (FEW, {"noise": -0.1}, UsageError, "noise -0.1 is out of range"),
        (FEW, {"noise": float("nan")}, UsageError, "noise nan is out of range"),
        (FEW, {"noise": 0.0}, UsageError, "told apart in principle"),
        (FEW, {"samples": 10}, UsageError, "samples 10"),
        (FEW, {"seed": -1}, UsageError, "seed -1"),
        (FEW, {"target": 0.5}, UsageError, "target 0.5 is out of range"),
        (FEW, {"target": 1.0}, UsageError, "target 1.0 is out of range"),
        (
            recipe((16, 16), ((2, 2.1), 0.01), ((4,), 1)),
            {"target": 0.999, "noise": 1.0},
            UsageError,
            "target 0.999 is out of reach",
        ),
    ],
)
def test_what_cant_be_answered_is_refused_in_one_line(images, options, error, says) -> None:
    with pytest.raises(error, match=says) as caught:
        gpgen.difficulty(images, **{**QUICK, **options})
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_wrong_options_are_one_line_at_the_prompt(prompt) -> None:
    for arguments in (("nothing-like-it",), ("small.toml", "--noise", "-1"), ("small.toml", "x")):
        result = prompt("difficulty", *arguments)
        assert result.status == 2
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1


@pytest.mark.kill
def test_ctrl_c_ends_it_in_one_line(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("difficulty", "two-scale-mini", "--samples", "50000"),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(6)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert out == ""
    assert err.splitlines()[-1].endswith("interrupted")
