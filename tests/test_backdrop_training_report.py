"""What runs say together: by method and number of images, within 0 and 1, beside the possible."""

from __future__ import annotations

import csv
import json
import math

import pytest

from backdrop import training
from backdrop.evaluation import Scores
from backdrop.training import pictures
from backdrop.training.report import Interval, of_ideal
from gpgen.figures import new_figure
from gpgen.observer import ComponentDifficulty, Difficulty, Estimate


def run(method, train_size, seed, accuracy, seconds=2.0):
    settings = training.Settings.tuned(method, train_size=train_size)
    epochs = tuple(training.Epoch(k + 1, 0.1, 1 / (k + 1), 0.5) for k in range(settings.passes))
    scores = Scores(accuracy, (1.0, accuracy), 0.3, 400)
    return training.Run(settings, seed, epochs, scores, seconds)


RUNS = [
    run(method, size, seed, accuracy + seed / 10)
    for seed in (0, 1)
    for method, size, accuracy in (
        ("none", 20, 0.5),
        ("gabor", 20, 0.85),
        ("none", 60, 0.6),
        ("gabor", 60, 0.88),
    )
]


def ideal():
    parts = [(("2",), None), (("5", "8"), Estimate(0.99, 0.002))]
    components = tuple(ComponentDifficulty(names, each, 0.98, {}, {}) for names, each in parts)
    whole = Estimate(0.99, 0.002)
    return Difficulty(whole, 0.98, components, 100, (10, 10), True, 0.01, 4000, {}, {})


def test_each_number_of_images_has_its_own_means_and_pairs():
    summaries = training.summarize(RUNS)
    assert [(s.method, s.train_size, s.n) for s in summaries] == [
        ("none", 20, 2),
        ("gabor", 20, 2),
        ("none", 60, 2),
        ("gabor", 60, 2),
    ]
    assert summaries[1].gain.mean == pytest.approx(0.35)
    assert summaries[3].gain.mean == pytest.approx(0.28)
    assert summaries[0].gain is None
    assert summaries[2].seconds == 2.0


def test_the_table_ends_with_the_ideal_observer(tmp_path):
    written = training.write(RUNS, tmp_path, ideal())
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[3] == "| 20 | gabor | 0.900 ± 0.635 | 1.000 ± 0.000 | 0.900 ± 0.635 | 2 | 2 |"
    assert (
        lines[-1] == "|  | ideal observer | 0.990 ± 0.004 | 1.000 ± 0.000 | 0.990 ± 0.004 |  |  |"
    )
    assert len({line.count("|") for line in lines}) == 1
    assert written["ideal"]["accuracy"] == 0.99
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["ideal"] == written["ideal"]
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [row["train_size"] for row in rows[:4]] == ["20", "20", "60", "60"]


def test_runs_whose_time_is_not_known_are_reported_without_it(tmp_path):
    runs = [run("none", 60, seed, 0.5, math.nan) for seed in (0, 1)]
    written = training.write(runs, tmp_path)
    assert written["summary"][0]["seconds"] is None
    assert "|  | 2 |" in (tmp_path / "table.md").read_text()
    assert runs[0].to_dict()["seconds"] is None


def test_intervals_end_at_0_and_1():
    assert Interval(0.95, 0.2).within_0_and_1 == (0.75, 1.0)
    assert Interval(0.1, 0.2).within_0_and_1 == (0.0, pytest.approx(0.3))
    assert Interval(0.4, math.nan).within_0_and_1 == (0.4, 0.4)
    assert of_ideal(None) == Interval(1.0, 0.0)


@pytest.mark.parametrize("images", [{20, 60}, {60}])
@pytest.mark.parametrize("possible", [None, ideal()])
def test_pictures_show_chance_and_the_possible(images, possible, tmp_path, monkeypatch):
    figures = []

    def kept(*arguments, **options):
        figures.append(new_figure(*arguments, **options))
        return figures[-1]

    monkeypatch.setattr(pictures, "new_figure", kept)
    runs = [one for one in RUNS if one.settings.train_size in images]
    training.plot(runs, tmp_path / "a.png", choices=(2, 3), ideal=possible)
    axes = figures[-1].axes
    assert [panel.get_title(loc="left") for panel in axes] == list("abc" if images > {60} else "ab")
    levels = [
        line.get_ydata()[0]
        for line in axes[0 if images > {60} else 1].lines
        if line.get_label() in ("chance", "ideal observer")
    ]
    assert levels == ([] if possible is None else [0.99]) + [1 / 6]
    training.plot(runs, tmp_path / "b.png", choices=(1, 4), ideal=possible)
    assert len(figures[-1].axes) == (1 if images > {60} else 2)
    for panel in axes if images > {60} else axes[1:]:
        low, high = panel.dataLim.intervaly
        assert 0 <= low < high <= 1 + 1e-12
