"""Training the baseline: paired runs, checkpoints, what is refused, what is written."""

from __future__ import annotations

import csv
import json
import math
import shlex

import gpgen_cli.evaluate as evaluate_verb
import gpgen_cli.train as train_verb
import numpy as np
import pytest
import scipy.stats
import torch
from gpgen_cli.main import main
from torch import nn

import gpgen
from backdrop import evaluation, training
from backdrop.training import examples as examples_module
from backdrop.training.report import interval
from gpgen.errors import DatasetError, TargetError, UsageError

pytestmark = pytest.mark.train

RECIPE = """
name = "tiny"
shape = [32, 32]
splits = { train = 0.6, validation = 0.2, test = 0.2 }
[[components]]
kernel = "rbf"
length_scales = [2.0, 2.5]
weight = 0.75
[[components]]
kernel = "rbf"
length_scales = [5.0, 8.0]
weight = 1.25
"""


ONE_NETWORK = ("none", "backdrop", "dropout", "crop")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(examples_module, "POOL", 400)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return str(path)


def settings(method="none", **fields):
    fields = {"train_size": 16, "test_size": 40, "epochs": 3, "batch_size": 8, **fields}
    return training.Settings(method=method, masks=(0.5, 0.9), **fields)


@pytest.fixture
def source(recipe):
    return training.Source(recipe)


def test_methods_with_one_seed_start_from_the_same_weights(source):
    first = [training.network(source.recipe, settings(m), 3).state_dict() for m in ONE_NETWORK]
    for other in first[1:]:
        assert other.keys() == first[0].keys()
        assert all(torch.equal(other[name], first[0][name]) for name in other)
    another = training.network(source.recipe, settings(), 4).state_dict()
    assert not torch.equal(another["classify.weight"], first[0]["classify.weight"])


def test_building_a_network_leaves_the_global_generator_alone(source):
    before = torch.get_rng_state()
    training.network(source.recipe, settings("backdrop"), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_examples_are_balanced_and_of_their_split(source):
    part = source.training(16, seed=1)
    assert part.image.shape == (16, 1, 32, 32)
    assert part.image.dtype == torch.float32
    assert part.label.bincount().tolist() == [4, 4, 4, 4]
    # Components have variance 1 and mean 0 over the pixels: the scaled sum has, over the
    # images, a mean square of 1, up to the product of the two, which has mean 0.
    cross = 2 * 0.75 * 1.25 / (0.75**2 + 1.25**2)
    assert part.image.square().mean((1, 2, 3)).sub(1).abs().max() <= cross
    again = source.training(16, seed=1)
    assert torch.equal(part.image, again.image)
    assert not torch.equal(part.image, source.training(16, seed=2).image)


def test_no_training_image_is_a_test_image(source):
    test = source.held_out("test", 40).image
    for seed in range(3):
        train = source.training(16, seed).image
        assert not (train[:, None] == test[None]).flatten(2).all(2).any()


def test_a_dataset_gives_the_examples_of_its_recipe(recipe, source, tmp_path):
    gpgen.make(source.recipe, 400, tmp_path / "tiny.zarr", workers=1).close()
    stored = training.Source(str(tmp_path / "tiny.zarr"))
    for one, other in (
        (source.training(16, 5), stored.training(16, 5)),
        (source.held_out("test", 40), stored.held_out("test", 40)),
    ):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)


@pytest.mark.parametrize("method", training.METHODS)
def test_the_same_run_gives_the_same_numbers(source, method):
    runs = [training.train(source, settings(method), 0) for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(runs[0].epochs) == (1 if runs[0].settings.fitted_at_once else 3)
    assert runs[0].seconds > 0


def test_methods_differ(source):
    losses = {training.train(source, settings(m), 0).epochs[-1].loss for m in training.METHODS}
    assert len(losses) == len(training.METHODS) == 7


@pytest.mark.parametrize("method", ["backdrop", "crop"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(source, method, tmp_path):
    long = settings(method, epochs=12)
    whole = training.train(source, long, 0)

    def stop(epoch):
        if epoch.epoch == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(source, long, 0, folder=tmp_path / "run", on_epoch=stop)
    seen = []
    again = training.train(source, long, 0, folder=tmp_path / "run", on_epoch=seen.append)
    assert [epoch.epoch for epoch in seen] == [11, 12]  # from the checkpoint after epoch 10
    assert again == whole


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(source, tmp_path):
    wild = settings(epochs=40, learning_rate=1e37)
    folder = tmp_path / "run"
    training.train(source, settings(), 0, folder=folder)
    good = training.load_checkpoint(folder / "checkpoint.pt")["model"]
    with pytest.raises(training.DivergedError, match=r"at step \d+, epoch \d+, of method 'none'"):
        training.train(source, wild, 0, folder=folder)
    kept = training.load_checkpoint(folder / "checkpoint.pt")["model"]
    assert all(torch.equal(good[name], kept[name]) for name in good)
    assert all(bool(torch.isfinite(value).all()) for value in kept.values())


def test_weights_that_overflow_at_an_epoch_s_last_step_are_not_kept(source, tmp_path, monkeypatch):
    step = torch.optim.Adam.step
    count = 0

    def overflowing(self, *arguments):
        nonlocal count
        count += 1
        step(self, *arguments)
        if count == 4:  # the second epoch's last
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(math.inf)

    monkeypatch.setattr(torch.optim.Adam, "step", overflowing)
    with pytest.raises(training.DivergedError, match=r"a weight .* at step 4, epoch 2"):
        training.train(source, settings(epochs=2), 0, folder=tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_settings_are_compared_on_the_split_that_they_name(source):
    scores = {
        split: training.train(source, settings(split=split), 0).test
        for split in ("validation", "test")
    }
    assert scores["validation"].loss != scores["test"].loss


def test_what_no_run_could_do_is_refused_before_anything_is_written(recipe, tmp_path):
    out = tmp_path / "runs"
    for wrong, message in (
        (settings("backdrop", test_size=400), "are wanted"),
        (settings("backdrop", train_size=18), "divided evenly"),
        (settings("backdrop", split="exam"), "no split 'exam'"),
        (training.Settings("backdrop", masks=(0.1, 0.2, 0.3)), "3 probabilities"),
    ):
        with pytest.raises(UsageError, match=message):
            training.run_all(recipe, [wrong], [0], out)
        assert not out.exists()


def test_scores_agree_with_counting_by_hand():
    predicted, label = [0, 1, 2, 3, 5, 4], [0, 0, 2, 5, 5, 1]

    class Fixed(nn.Module):
        def forward(self, image):
            return nn.functional.one_hot(image.flatten().long(), 6).float()

    model = Fixed().train()
    image = torch.tensor(predicted, dtype=torch.float32)[:, None]
    scores = evaluation.evaluate(model, image, torch.tensor(label), (2, 3), batch_size=4)
    pairs = list(zip(predicted, label, strict=True))
    assert scores.accuracy == sum(p == q for p, q in pairs) / 6
    assert scores.components[0] == sum(p % 2 == q % 2 for p, q in pairs) / 6
    assert scores.components[1] == sum(p // 2 == q // 2 for p, q in pairs) / 6
    assert scores.n == 6
    assert model.training


def test_scores_refuse_another_number_of_classes():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(UsageError, match="tells 3 classes apart, the data has 4"):
        evaluation.evaluate(model, torch.zeros(2, 1, 2, 2), torch.zeros(2), (2, 2))
    with pytest.raises(UsageError, match="no image"):
        evaluation.evaluate(model, torch.zeros(0, 1, 2, 2), torch.zeros(0), (2, 2))


def test_intervals_are_students():
    values = [0.5, 0.61, 0.43, 0.7, 0.52]
    low, high = scipy.stats.t.interval(
        0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values)
    )
    ours = interval(values)
    assert ours.mean - ours.half_width == pytest.approx(low, rel=1e-12)
    assert ours.mean + ours.half_width == pytest.approx(high, rel=1e-12)
    assert math.isnan(interval([0.5]).half_width)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "magic"}, "no method is called 'magic'"),
        ({"masks": (0.5, 1.0)}, "probability p is 1.0"),
        ({"dropout": -0.1}, "probability p is -0.1"),
        ({"crop": 0.0}, "crop is 0.0"),
        ({"split": "train"}, "is what is trained on"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": math.nan}, "learning rate is nan"),
        ({"train_size": 8, "batch_size": 9}, "larger than the training set of 8"),
        ({"learning_rate": 1e38}, "learning rate is 1e\\+38"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"channel_dropout": (1.0,)}, "probability p is 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        training.Settings(**fields)


def test_data_that_do_not_fit_are_refused(source):
    with pytest.raises(UsageError, match=r"18 images of .train. can't be divided evenly among 4"):
        source.training(18, 0)
    with pytest.raises(UsageError, match=r"has \d+ images of class 2-5, 200 are wanted"):
        source.training(800, 0)
    with pytest.raises(UsageError, match="no split 'exam'"):
        source.held_out("exam", 4)
    with pytest.raises(UsageError, match="3 probabilities for 2 length-scales"):
        training.network(
            source.recipe, training.Settings(method="backdrop", masks=(0.1, 0.2, 0.3)), 0
        )
    with pytest.raises(UsageError, match="6 x 6 pixels are too small"):
        training.network(source.recipe.replace(shape=(6, 6)), settings(), 0)
    with pytest.raises(UsageError, match="crops of 1 pixels are too small"):
        training.network(source.recipe, training.Settings(method="crop", crop=0.02), 0)


@pytest.mark.parametrize("shape", [(64,), (16, 16, 16)])
def test_one_and_three_axes_train_too(tmp_path, shape, monkeypatch):
    monkeypatch.setattr(examples_module, "POOL", 100)
    path = tmp_path / "other.toml"
    path.write_text(RECIPE.replace("[32, 32]", str(list(shape))).replace("8.0", "6.0"))
    few = settings("backdrop", train_size=8, test_size=8, batch_size=4, epochs=1)
    run = training.train(training.Source(str(path)), few, 0)
    assert math.isfinite(run.epochs[0].loss)


def test_runs_in_processes_are_the_runs_in_this_one_and_are_kept(recipe, tmp_path, monkeypatch):
    # Worker processes read the true POOL, not this test's: give everybody that one.
    monkeypatch.setattr(examples_module, "POOL", 10_000)
    both = [settings(), settings("backdrop")]
    out = tmp_path / "runs"
    seen = []
    runs = training.run_all(
        recipe, both, [0, 1], out, device="cpu", workers=2, progress=seen.append
    )
    assert (seen[-1].done, seen[-1].total) == (12, 12)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    here = training.train(training.Source(recipe), both[1], 1)
    torch.set_num_threads(threads)
    assert runs[3] == here
    # Any other device: one run after the other, or in processes if asked for several at once.
    for count, some in ((None, both), (2, both[1:])):
        elsewhere = tmp_path / f"elsewhere-{count}"
        again = training.run_all(recipe, some, [1], elsewhere, device="cpu:0", workers=count)
        assert again == runs[4 - len(some) :]
    kept = training.run_all(recipe, both, [0, 1], out, device="cpu", resume=True)
    assert kept == runs
    with pytest.raises(TargetError, match="holds runs already"):
        training.run_all(recipe, both, [0, 1], out, device="cpu")
    with pytest.raises(UsageError, match="other settings"):
        training.run_all(recipe, [settings(epochs=4)], [0], out, device="cpu", resume=True)

    written = training.write(runs, out)
    with (out / "epochs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["seed"], row["epoch"]) for row in rows[:4]] == [
        ("none", "0", "1"),
        ("none", "0", "2"),
        ("none", "0", "3"),
        ("backdrop", "0", "1"),
    ]
    assert float(rows[3]["loss"]) == runs[1].epochs[0].loss
    assert len(json.loads((out / "results.json").read_text())["runs"]) == 4
    gains = [runs[2 * seed + 1].test.accuracy - runs[2 * seed].test.accuracy for seed in (0, 1)]
    assert written["summary"][1]["gain"]["mean"] == pytest.approx(sum(gains) / 2)
    training.plot(runs, out / "accuracy.png")
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")

    checkpoint = out / "backdrop" / "seed-1" / "checkpoint.pt"
    scores = training.evaluate_checkpoint(checkpoint, recipe, n=40)
    assert scores.accuracy == here.test.accuracy


def test_a_checkpoint_is_checked_before_it_is_used(recipe, source, tmp_path):
    training.train(source, settings(), 0, folder=tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("2.5", "2.7"))
    with pytest.raises(UsageError, match=r"trained for the classes 2-5, 2.5-5"):
        training.evaluate_checkpoint(checkpoint, str(other), n=8)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="is damaged, or was not saved by torch"):
        training.evaluate_checkpoint(checkpoint, recipe, n=8)


def test_the_command_line_trains_and_evaluates(recipe, tmp_path, capsys, monkeypatch):
    out = tmp_path / "first"
    sizes = ["--train-size", "16", "--test-size", "40", "--epochs", "2", "--batch-size", "8"]
    command = ["train", recipe, "--method", "none", "--seeds", "1", "--out", str(out), *sizes]
    assert main([*command, "--device", "cpu", "--workers", "1", "--no-ideal", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (summary,) = told["summary"]
    assert (summary["method"], summary["n"], summary["gain"]) == ("none", 1, None)
    assert main(command) == 1
    assert "--resume" in capsys.readouterr().err

    checkpoint = str(out / "none" / "seed-0" / "checkpoint.pt")
    assert main(["evaluate", checkpoint, recipe, "--n", "40", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 40

    epilogs = "".join(verb.epilog or "" for verb in (train_verb.command, evaluate_verb.command))
    lines = [line.strip() for line in epilogs.splitlines() if line.startswith("  gpgen ")]
    assert len(lines) == 7
    monkeypatch.chdir(tmp_path)
    drawn = tmp_path / "drawn.toml"
    drawn.write_text(RECIPE.replace("[2.0, 2.5]", "{ low = 2.0, high = 4.0 }"))
    for line in lines:
        arguments = shlex.split(line)[1:]
        arguments = [recipe if a in ("two-scale-mini", "data.zarr") else a for a in arguments]
        arguments = [str(drawn) if a == "regression" else a for a in arguments]
        # Another device than plain `cpu`: in this process, which saves starting others.
        small = [*sizes, "--seeds", "1", "--device", "cpu:0", "--no-ideal"]
        assert main([*arguments, *(small if arguments[0] == "train" else ["--n", "40"])]) == 0
    capsys.readouterr()

    # One component of few pixels: its ideal observer is there in a second.
    alone = tmp_path / "alone.toml"
    component = 'kernel = "rbf"\nlength_scales = [5.0, 5.5]'
    alone.write_text(f'name = "alone"\nshape = [16, 16]\n[[components]]\n{component}\n')
    recipe = str(alone)
    table = ["train", recipe, "--method", "power-spectrum", "--train-size", "16,32", "--seeds", "2"]
    both = [*table, "--test-size", "40", "--device", "cpu:0", "--out", "sizes"]
    assert main([*both, "--epochs", "2,3,4"]) == 2
    assert "--epochs has 3 numbers, --train-size 2" in capsys.readouterr().err
    assert main([*both, "--epochs", "2,3", "--plot", "sizes.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["train_size"], one["n"]) for one in told["summary"]] == [(16, 2), (32, 2)]
    assert told["ideal"]["accuracy"] > told["summary"][1]["accuracy"]["mean"] - 0.1
    assert (tmp_path / "sizes" / "power-spectrum" / "32" / "seed-1" / "checkpoint.pt").exists()
    last = (tmp_path / "sizes" / "table.md").read_text().splitlines()[-1]
    assert last.startswith(f"|  | ideal observer | {told['ideal']['accuracy']:.3f} ± ")
    fitted = str(tmp_path / "sizes" / "power-spectrum" / "32" / "seed-1" / "checkpoint.pt")
    assert main(["evaluate", fitted, recipe, "--n", "40", "--json"]) == 0
    rows = list(csv.DictReader((tmp_path / "sizes" / "runs.csv").read_text().splitlines()))
    assert json.loads(capsys.readouterr().out)["accuracy"] == float(rows[3]["accuracy"])

    assert main(["train", recipe, "--out", "x", "--train-size", "8,"]) == 2
    assert "not a list of whole numbers like 20,60" in capsys.readouterr().err
    assert main(["train", recipe, "--out", str(tmp_path / "x"), "--masks", "a,b"]) == 2
    assert "not a list of probabilities" in capsys.readouterr().err
