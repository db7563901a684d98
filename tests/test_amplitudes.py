"""Amplitudes that nobody knows, against sums on a fine grid, and with more and more modes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from observer_support import recipe
from scipy.special import logsumexp

from gpgen import Recipe
from gpgen.observer.amplitudes import Amplitude, integrated
from gpgen.observer.class_modes import ComponentModes
from gpgen.observer.judging import IdealObserver, noise_variance
from gpgen.observer.likelihood import log_likelihood
from gpgen.observer.simulation import SeenImages


@pytest.mark.parametrize(("reach", "modes"), [(0.05, 16_000), (0.4, 16_000), (1.2, 300)])
def test_the_integral_over_an_amplitude_is_that_on_a_fine_grid(reach, modes) -> None:
    rng = np.random.default_rng(0)
    signal = rng.uniform(0.1, 30, modes)
    share = signal / (signal + 1)
    amplitude = Amplitude(reach, float(2 * (share**2).sum()), None)
    at = np.array([-1.5, -0.5, 0.0, 0.9]) * reach  # the first lies beyond what is looked at
    squares = (np.exp(2 * at)[:, None] * signal + 1) * rng.chisquare(1, (4, modes))

    def values(t: np.ndarray) -> np.ndarray:
        variances = np.outer(signal, np.exp(2 * t)) + 1
        return -0.5 * (squares @ (1 / variances) + np.log(variances).sum(axis=0))

    fine = np.linspace(-reach, reach, 1501)
    weights = np.full(1501, 1 / 1500)
    weights[[0, -1]] /= 2
    expected = logsumexp(values(fine), b=weights, axis=1)
    assert integrated(values(amplitude.nodes), [amplitude])[1:] == pytest.approx(
        expected[1:], abs=0.02
    )
    assert integrated(values(amplitude.nodes), [amplitude])[0] == pytest.approx(expected[0], abs=2)


@pytest.mark.slow
def test_a_rough_components_amplitude_counts_though_it_hardly_varies() -> None:
    modes, noise = 8000, 1e-3
    k = np.arange(1, modes + 1)
    small, large = 1 / (1 + (k / 800) ** 2), 30 / (1 + (k / 20) ** 2)
    sides = [ComponentModes((), each, float(each.sum())) for each in (small, large)]
    spreads = [side.spread for side in sides]
    assert spreads[0] < 0.03  # and yet the modes tell it to 0.01
    rng = np.random.default_rng(1)
    truth = 1.06**2 * small + large + noise
    squares = (truth * rng.chisquare(1, (3, modes))).astype(np.float32)

    fine = [np.linspace(-3 * s, 3 * s, 151) for s in spreads]
    values = np.empty((3, 151, 151))
    for row, t in enumerate(fine[1]):
        variances = np.outer(small, np.exp(2 * fine[0])) + (large * np.exp(2 * t) + noise)[:, None]
        values[:, row] = -0.5 * (squares @ (1 / variances) + np.log(variances).sum(axis=0))
    values -= 0.5 * (fine[0] / spreads[0]) ** 2
    density = logsumexp(-0.5 * (fine[0] / spreads[0]) ** 2)
    expected = logsumexp(values, axis=(1, 2)) - density - math.log(150)

    found = log_likelihood(sides, noise, SeenImages((), squares), spreads)
    assert found == pytest.approx(expected, abs=0.1)


def _rough(kernel: str, **fields: object) -> Recipe:
    components = [
        {"kernel": kernel, "length_scales": [3, 4], "weight": 0.75, **fields},
        {"kernel": kernel, "length_scales": [14, 18], "weight": 1.25, **fields},
    ]
    return Recipe.from_dict({"name": "rough", "shape": [128, 128], "components": components})


ROUGH = {
    "matern-two-scale": Recipe.load("matern-two-scale"),
    "matern 1/2": _rough("matern", smoothness=0.5),
    "exponential": _rough("exponential"),
    "rbf": recipe((128, 128), ((3, 3.2), 0.75), ((14, 18), 1.25)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("matern 1/2", "rbf") else pytest.param(name, marks=pytest.mark.long)
        for name in ROUGH
    ],
)  # a minute each
def test_more_modes_tell_no_less_apart(name) -> None:
    texture = ROUGH[name].texture
    before = None
    for level in range(3):
        observer = IdealObserver.of(texture, level, noise_variance(texture, 0.01))
        now = observer.accuracies(*observer.simulate(800, seed=0)).components
        for few, many in zip(before or now, now, strict=True):
            assert few is not None
            assert many is not None
            assert many.accuracy > few.accuracy - 3 * math.hypot(few.error, many.error)
        before = now
