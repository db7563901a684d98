"""The density of sums of standardized components, against sums over drawn components."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from gpgen.observer.class_modes import ComponentModes
from gpgen.observer.likelihood import log_likelihood
from gpgen.observer.simulation import SeenImages
from gpgen.observer.standardized import log_density

MODES, NOISE, POWERS, DRAWN = 8, 0.2, (1.0, 2.0), 500_000


def _variances(length: float, power: float) -> np.ndarray:
    found = np.exp(-0.5 * (np.arange(1, MODES + 1) / length) ** 2) + 0.01
    return power * found / found.sum()


CLASSES = [[_variances(6.4, 1.0), _variances(length, 2.0)] for length in (2.0, 3.2)]


def _sums(components: list[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of components, each scaled to its power."""
    total = np.zeros((count, MODES))
    for variances, power in zip(components, POWERS, strict=True):
        field = rng.standard_normal((count, MODES)) * np.sqrt(variances)
        total += field * np.sqrt(power / (field**2).sum(axis=1))[:, None]
    return total


@pytest.fixture(scope="module")
def summed() -> tuple[np.ndarray, np.ndarray]:
    """Images of both classes, and the logarithm of each class's density there: sums over draws."""
    rng = np.random.default_rng(0)
    images = np.concatenate([_sums(each, 8, rng) for each in CLASSES])
    images += math.sqrt(NOISE) * rng.standard_normal(images.shape)
    found = []
    for components in CLASSES:
        parts = []
        for _ in range(10):
            drawn = _sums(components, DRAWN // 10, rng)
            apart = (images**2).sum(axis=1)[:, None] + (drawn**2).sum(axis=1)
            parts.append(logsumexp(-0.5 * (apart - 2 * images @ drawn.T) / NOISE, axis=1))
        density = logsumexp(parts, axis=0) - math.log(DRAWN) - MODES / 2 * math.log(NOISE)
        found.append(density)
    return images, np.array(found)


def _independent(components: list[np.ndarray], images: np.ndarray) -> tuple:
    fields = [ComponentModes((), v, p) for v, p in zip(components, POWERS, strict=True)]
    return fields, SeenImages((), np.square(images, dtype=np.float32))


def _correlated(components: list[np.ndarray], images: np.ndarray) -> tuple:
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((MODES, MODES)))
    fields = [
        ComponentModes(((turn * v) @ turn.T,), np.zeros(0), p)
        for v, p in zip(components, POWERS, strict=True)
    ]
    return fields, SeenImages((images @ turn.T,), np.zeros((len(images), 0), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("seen", [_independent, _correlated])
def test_the_density_of_eight_modes_is_that_of_drawn_components(summed, seen) -> None:
    # Cube roots of powers are nearly normal; the sums over draws have errors of 0.02 to 0.03.
    images, expected = summed
    found = np.array([log_density(fields, NOISE, x) for fields, x in _each(seen, images)])
    assert found == pytest.approx(expected, abs=0.12)
    differences = (found[1] - found[0]) - (expected[1] - expected[0])
    assert float(np.std(differences)) < 0.04
    # Whoever doesn't know the powers is further off.
    ignoring = np.array(
        [log_likelihood(fields, NOISE, x, [0.3, 0.4]) for fields, x in _each(seen, images)]
    )
    differences = (ignoring[1] - ignoring[0]) - (expected[1] - expected[0])
    assert float(np.std(differences)) > 0.08


def _each(seen, images: np.ndarray) -> list[tuple]:
    return [seen(components, images) for components in CLASSES]
