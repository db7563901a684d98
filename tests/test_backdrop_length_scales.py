"""Networks that learn drawn length-scales: scores, runs, what is written, what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import sklearn.metrics
import torch
from gpgen_cli.main import main
from torch import nn

import gpgen
from backdrop import evaluation, training
from backdrop.training import examples as examples_module
from gpgen.errors import UsageError

pytestmark = pytest.mark.train

ONE = """
name = "one"
shape = [128]
splits = { train = 0.6, validation = 0.2, test = 0.2 }
[[components]]
kernel = "rbf"
length_scales = { low = 2.0, high = 8.0, steps = 16 }
"""
# Classes, length-scales along axes and drawn ones together.
TWO = """
name = "two"
shape = [32, 32]
[[components]]
kernel = "rbf"
length_scales = [3.0, [2.0, 4.0]]
weight = 0.5
[[components]]
kernel = "rbf"
length_scales = { low = 2.0, high = 4.0, steps = 8 }
[[components]]
kernel = "rbf"
length_scales = { low = 5.0, high = 8.0, steps = 8, draw = "uniform" }
"""
GIVEN = 'name = "given"\nshape = [32]\n[[components]]\nkernel = "rbf"\nlength_scales = [2.0, 4.0]\n'


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    monkeypatch.setattr(examples_module, "POOL", 400)
    paths = {}
    for name, text in (("one", ONE), ("two", TWO), ("given", GIVEN)):
        paths[name] = str(tmp_path / f"{name}.toml")
        (tmp_path / f"{name}.toml").write_text(text)
    return paths


def settings(method="none", target="length_scale", **fields):
    few = {"train_size": 60, "test_size": 40, "epochs": 3, "batch_size": 10, **fields}
    return training.Settings(method=method, target=target, **few)


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    true = np.log(rng.uniform(2, 8, (30, 2))).astype(np.float32)
    predicted = true + rng.normal(0, 0.1, true.shape).astype(np.float32)

    class Fixed(nn.Module):
        def forward(self, image):
            return torch.from_numpy(predicted)[image.flatten().long()]

    image = torch.arange(30.0)[:, None]
    scores = evaluation.evaluate_length_scales(Fixed(), image, torch.from_numpy(true), batch_size=7)
    r2 = [sklearn.metrics.r2_score(true[:, k], predicted[:, k]) for k in (0, 1)]
    assert scores.r2 == pytest.approx(np.mean(r2), rel=1e-5)
    assert scores.loss == pytest.approx(np.mean((predicted - true) ** 2), rel=1e-5)
    errors = np.abs(np.exp(predicted.astype(float)) / np.exp(true.astype(float)) - 1)
    assert scores.components == pytest.approx(errors.mean(0), rel=1e-5)
    assert scores.relative_error == pytest.approx(errors.mean(), rel=1e-5)
    same = torch.zeros(30, 2)
    assert evaluation.evaluate_length_scales(Fixed(), image, same).r2 == 0
    with pytest.raises(UsageError, match="predicts 2 length-scales, the data draws 1"):
        evaluation.evaluate_length_scales(Fixed(), image, torch.zeros(30, 1))


def test_targets_are_the_logarithms_of_the_drawn_length_scales(recipes, tmp_path):
    source = training.Source(recipes["two"], "length_scales")
    part = source.held_out("test", 40)
    index = source.recipe.split_indices("test", 400)[:40]
    expected = np.log(source.recipe.length_scale_array(0, 400)[index][:, 1:, 0])
    np.testing.assert_allclose(part.label.numpy(), expected, rtol=1e-6)
    gpgen.make(source.recipe, 400, tmp_path / "two.zarr", workers=1).close()
    stored = training.Source(str(tmp_path / "two.zarr"), "length_scales").held_out("test", 40)
    assert torch.equal(stored.label, part.label)
    assert torch.equal(stored.image, part.image)


def test_a_network_learns_them(recipes):
    """Far better than the best constant, whose R^2 is 0; it begins at that constant."""
    source = training.Source(recipes["one"], "length_scale")
    many = settings(epochs=40, train_size=200, batch_size=20)
    network = training.network(source.recipe, many, 0)
    values = np.log(source.recipe.components[0].all_length_scales)
    assert network.classify.bias.item() == pytest.approx(values.mean())
    run = training.train(source, many, 0)
    assert run.epochs[-1].loss < run.epochs[0].loss / 4
    assert run.test.r2 > 0.7
    assert run.test.relative_error < 0.2
    assert run.epochs[-1].accuracy is None


@pytest.mark.parametrize("method", training.METHODS)
def test_every_method_and_several_length_scales(recipes, method):
    few = settings(method, "length_scales", train_size=20, batch_size=4, epochs=1)
    if method in ("power-spectrum", "gabor", "batch-norm"):
        with pytest.raises(UsageError, match="tells classes apart, and predicts no length-scales"):
            training.train(training.Source(recipes["two"], "length_scales"), few, 0)
        return
    run = training.train(training.Source(recipes["two"], "length_scales"), few, 0)
    assert len(run.test.components) == 2


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(recipes, tmp_path, capsys):
    long = settings("backdrop", epochs=12)
    source = training.Source(recipes["one"], "length_scale")
    whole = training.train(source, long, 0)

    def stop(epoch):
        if epoch.epoch == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(source, long, 0, folder=tmp_path / "run", on_epoch=stop)
    assert training.train(source, long, 0, folder=tmp_path / "run") == whole
    scores = training.evaluate_checkpoint(tmp_path / "run/checkpoint.pt", recipes["one"], n=40)
    assert scores == whole.test
    with pytest.raises(UsageError, match=r"for 1 drawn length-scale in 1-D images, .* has 2 drawn"):
        training.evaluate_checkpoint(tmp_path / "run/checkpoint.pt", recipes["two"])
    assert main(["evaluate", str(tmp_path / "run/checkpoint.pt"), recipes["given"]]) == 2
    told = capsys.readouterr().err
    assert "for 1 drawn length-scale in 1-D images, " in told
    assert told.endswith("evaluate on data of the recipe that it was trained on\n")


def test_the_command_line_trains_evaluates_and_resumes(recipes, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(examples_module, "POOL", 10_000)  # as in worker processes
    command = ["train", recipes["one"], "--target", "length_scale", "--out", "runs"]
    command += ["--method", "none", "--method", "backdrop", "--seeds", "1", "--epochs", "2"]
    command += ["--train-size", "20", "--test-size", "20", "--device", "cpu", "--plot", "p.png"]
    assert main([*command, "--workers", "1"]) == 0
    told = capsys.readouterr()
    assert "test relative error" in told.out
    assert "below none, paired" in told.out
    results = json.loads((tmp_path / "runs" / "results.json").read_text())
    first, second = results["summary"]
    errors = [run["test"]["relative_error"] for run in results["runs"]]
    assert first["relative_error"]["mean"] == pytest.approx(errors[0])
    assert second["gain"]["mean"] == pytest.approx(errors[0] - errors[1])
    which, rates = ["method", "train_size", "seed"], ["learning_rate", "loss", "relative_error"]
    for name, columns in (
        ("runs", [*which, "relative_error", "r2", "component_1", "loss", "seconds"]),
        ("epochs", [*which, "epoch", *rates]),
    ):
        with (tmp_path / "runs" / f"{name}.csv").open() as file:
            assert next(csv.reader(file)) == columns
    assert main([*command, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"] == results["summary"]
    checkpoint = "runs/none/seed-0/checkpoint.pt"
    assert main(["evaluate", checkpoint, recipes["one"], "--n", "20", "--device", "cpu"]) == 0
    assert "R^2 of log length-scale" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "target", "message"),
    [
        ("one", "label", "has one class: .*target length_scales, which learns those that it draws"),
        ("two", "length_scale", "draws 2 length-scales; use .*target length_scales"),
        ("given", "length_scale", "draws no length-scale from a range; leave out .*target"),
    ],
)
def test_what_has_nothing_of_the_target_is_refused(recipes, capsys, recipe, target, message):
    arguments = ["train", recipes[recipe], "--target", target, "--out", "never"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    with pytest.raises(UsageError, match=message):
        training.Source(recipes[recipe], target)


def test_settings_of_classes_are_written_as_before():
    assert "target" not in settings(target="label").to_dict()
    assert settings().to_dict()["target"] == "length_scale"
    with pytest.raises(UsageError, match="no target 'size'"):
        settings(target="size")
    with pytest.raises(UsageError, match="different targets"):
        training.run_all("one", [settings(), settings("crop", "label")], [0], "never")
