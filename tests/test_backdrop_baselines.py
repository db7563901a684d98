"""Baselines: their features against sums written out, their discriminant against scikit-learn's."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import gpgen
from backdrop.baselines import (
    FeatureClassifier,
    GaborBank,
    LinearDiscriminant,
    PlainCNN,
    PowerSpectrum,
)
from backdrop.evaluation import evaluate
from gpgen import Recipe
from gpgen.errors import UsageError
from gpgen.sampling import sampler_for

SHAPES = [(48,), (24, 16), (8, 12, 10)]


def images(shape, n=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def cosine_power(image):
    """The orthonormal DCT-II as dense matrices, squared."""
    for axis, n in enumerate(image.shape):
        k, x = np.arange(n)[:, None], np.arange(n) + 0.5
        basis = np.cos(math.pi * k * x / n) * np.where(k == 0, 1, math.sqrt(2)) / math.sqrt(n)
        image = np.moveaxis(np.tensordot(basis, image, (1, axis)), 0, axis)
    return image**2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("periodic", [False, True])
def test_all_power_but_the_mean_s_is_in_a_ring(shape, periodic):
    given = images(shape)
    features = PowerSpectrum(shape, periodic)
    ring_means = np.exp(features(given))
    total = (ring_means * features._sizes).sum(1)
    axes = tuple(range(1, given.ndim))
    expected = (given**2).sum(axes) - given.mean(axes) ** 2 * math.prod(shape)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert features.count == ring_means.shape[1] == len(features.frequencies)
    assert (np.diff(features.frequencies) > 0).all()


def test_open_axes_have_the_power_of_cosine_modes():
    given = images((16, 12))
    features = PowerSpectrum((16, 12), rings=6)
    y, x = np.arange(16) / 32, np.arange(12) / 24
    frequency = np.hypot(y[:, None], x)
    edges = np.geomspace(1 / 32, frequency.max(), 7)
    edges[[0, -1]] = 0.03, 1
    power = np.stack([cosine_power(image.astype(float)) for image in given])
    expected = [
        power[:, (frequency >= low) & (frequency < high)].mean(1)
        for low, high in itertools.pairwise(edges)
    ]
    np.testing.assert_allclose(np.exp(features(given)), np.stack(expected, 1), rtol=1e-4)


def test_a_wave_on_a_periodic_axis_is_in_one_ring_and_a_shift_changes_nothing():
    x = np.arange(64)
    wave = np.cos(2 * np.pi * 5 * x / 64)[None]
    features = PowerSpectrum((64,), True)
    power = np.exp(features(wave))[0]
    strongest = int(power.argmax())
    assert features.frequencies[strongest] == pytest.approx(5 / 64, rel=0.1)
    assert np.delete(power, strongest).max() < 1e-10 * power.max()
    given = images((64,))
    np.testing.assert_allclose(features(given), features(np.roll(given, 7, 1)), atol=1e-4)


@pytest.mark.parametrize("shape", [(512,), (64, 48), (24, 20, 28)])
@pytest.mark.parametrize("periodic", [False, True])
def test_a_gabor_feature_is_the_mean_modulus_of_a_filtered_image(shape, periodic):
    given = images(shape, 30)
    bank = GaborBank(shape, periodic)
    features = bank(given)
    assert features.shape == (30, bank.count)
    steps = math.floor(2 * math.log2(0.25 * max(shape)) + 1e-9)
    assert bank.count == (steps + 1) * {1: 1, 2: 4, 3: 13}[len(shape)]
    # The whole transform, every frequency, no coarser grid: agrees up to the Gaussians' tails, and
    # to the mean over fewer positions, which is another for each image and not over all.
    whole = given if periodic else np.pad(given, [(0, 0)] + [(0, n) for n in shape], "symmetric")
    spectra = np.fft.fftn(whole, axes=range(1, whole.ndim))
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in whole.shape[1:]), indexing="ij")
    here = (slice(None), *(slice(n) for n in shape))
    direction = np.zeros(len(shape))
    direction[-1] = 1  # the first direction behind the zero vector
    for step in (0, 2):
        frequency = 0.25 / math.sqrt(2) ** step
        distance = sum(
            ((axis - frequency * u + 0.5) % 1 - 0.5) ** 2
            for axis, u in zip(axes, direction, strict=True)
        )
        gain = np.exp(-0.5 * distance / (0.25 * frequency) ** 2)
        expected = np.abs(np.fft.ifftn(spectra * gain, axes=range(1, whole.ndim)))[here]
        expected = np.log(expected.reshape(30, -1).mean(1))
        ours = features[:, step * {1: 1, 2: 4, 3: 13}[len(shape)]]
        np.testing.assert_allclose(ours, expected, atol=0.15)
        assert ours.mean() == pytest.approx(expected.mean(), abs=0.05)


def test_gabor_filters_tell_directions_apart_and_the_power_spectrum_does_not():
    recipe = Recipe.from_dict(
        {
            "name": "two-ways",
            "shape": [32, 32],
            "components": [{"kernel": "rbf", "length_scales": [[2.0, 6.0], [6.0, 2.0]]}],
        }
    )
    drawn = sampler_for(recipe).images(0, 80)
    label = torch.from_numpy(recipe.labels(0, 80))
    image = torch.from_numpy(drawn[:, None].astype(np.float32))
    accuracies = []
    for features in (GaborBank((32, 32)), PowerSpectrum((32, 32))):
        model = FeatureClassifier(features, 2)
        model.fit(image[:40], label[:40])
        accuracies.append(evaluate(model, image[40:], label[40:], (2,)).accuracy)
    assert accuracies[0] > 0.95
    assert accuracies[1] < 0.8


def test_the_discriminant_is_scikit_learn_s():
    random = np.random.default_rng(3)
    label = np.arange(60) % 3
    features = random.standard_normal((60, 20)) + label[:, None] * random.standard_normal(20) / 2
    new = random.standard_normal((100, 20))
    ours = LinearDiscriminant(20, 3)
    ours.fit(features, label)
    scaled = (features - features.mean(0)) / features.std(0)
    centres = np.stack([scaled[label == k].mean(0) for k in range(3)])
    covariance, _ = ledoit_wolf(scaled - centres[label], assume_centered=True)
    weight = np.linalg.solve(covariance, centres.T).T
    logits = (new - features.mean(0)) / features.std(0) @ weight.T - (weight * centres).sum(1) / 2
    np.testing.assert_allclose(ours(torch.from_numpy(new).float()), logits, atol=1e-4)

    # Without shrinkage to speak of, its classes are those of scikit-learn's own discriminant.
    many = random.standard_normal((6000, 4)) @ random.standard_normal((4, 4))
    label = np.arange(6000) % 2
    many += label[:, None] * np.array([0.5, -0.2, 0.1, 0.3])
    ours = LinearDiscriminant(4, 2)
    ours.fit(many, label)
    theirs = LinearDiscriminantAnalysis().fit(many, label).predict(many)
    assert (ours(torch.from_numpy(many).float()).argmax(1).numpy() == theirs).mean() > 0.995


def test_one_sample_of_each_class_gives_the_nearest_one():
    ours = LinearDiscriminant(2, 3)
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    ours.fit(corners, [0, 1, 2])
    near = torch.tensor([[0.5, 0.2], [3.0, 0.4], [1.0, 3.0]])
    assert ours(near).argmax(1).tolist() == [0, 1, 2]


def test_a_feature_that_never_varies_doesn_t_matter():
    random = np.random.default_rng(0)
    label = np.arange(20) % 2
    features = np.stack([label + random.standard_normal(20) / 9, np.full(20, 7.0)], 1)
    ours = LinearDiscriminant(2, 2)
    ours.fit(features, label)
    assert (ours(torch.from_numpy(features).float()).argmax(1).numpy() == label).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PowerSpectrum((4, 64)), "4 x 64 pixels give no features"),
        (lambda: GaborBank((8, 8, 8, 8)), "8 x 8 x 8 x 8 pixels give no features"),
        (lambda: GaborBank(()), "images of no pixels"),
        (lambda: PowerSpectrum((16, 16), [True]), "periodic has 1 values for 2 axes"),
        (lambda: PowerSpectrum((16,), rings=0), "rings is 0"),
        (lambda: PowerSpectrum((16,))(np.zeros((2, 17))), "images have the shape"),
        (lambda: LinearDiscriminant(2, 2).fit(np.zeros((3, 5)), [0, 1, 1]), "features have"),
        (lambda: LinearDiscriminant(2, 2).fit(np.zeros((3, 2)), [0, 0, 0]), "not all of 0 to 1"),
        (lambda: LinearDiscriminant(1, 2).fit([[0.0], [math.nan]], [0, 1]), "sample 1 has"),
        (lambda: PlainCNN(2, ndim=4), "ndim is 4"),
        (lambda: PlainCNN(2, channels=()), r"shrink, channels are 2, 1, \(\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize("shape", [(128,), (64, 48), (16, 16, 16)])
def test_the_plain_network_takes_one_to_three_axes(shape):
    recipe = Recipe.load("two-scale-mini").replace(shape=shape)
    few = recipe.replace(
        components=[{"kernel": "rbf", "length_scales": [1.0, 2.0]}], standardize=False
    )
    model = PlainCNN.from_recipe(few)
    assert model(torch.zeros(2, 1, *shape)).shape == (2, 2)
    assert model.stride == 8
    with pytest.raises(UsageError, match="too small"):
        PlainCNN.from_recipe(few.replace(shape=(8,) * len(shape)))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("features", [PowerSpectrum, GaborBank])
def test_on_twenty_thousand_images_none_beats_the_ideal_observer(features):
    recipe = Recipe.load("two-scale-mini").replace(shape=(128, 128), seed=11)
    train, test = 20_000, 4_000
    of = features(recipe.shape)
    sampler = sampler_for(recipe)
    values = np.concatenate(
        [of(sampler.images(at, at + 500)) for at in range(0, train + test, 500)]
    )
    label = recipe.labels(0, train + test)
    model = LinearDiscriminant(of.count, 4)
    model.fit(values[:train], label[:train])
    right = model(torch.from_numpy(values[train:]).float()).argmax(1).numpy() == label[train:]
    ideal = gpgen.difficulty(recipe).estimate
    error = math.hypot(ideal.error, math.sqrt(right.mean() * (1 - right.mean()) / test))
    assert 0.5 < right.mean() < ideal.accuracy + 3 * error, (right.mean(), ideal, error)
