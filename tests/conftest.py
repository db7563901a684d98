"""What the tests share."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from gpgen import Recipe

# Machines are shared and noisy: time says nothing about a test here, and CI repeats itself.
settings.register_profile(
    "gpgen", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("gpgen")

# A background shell starts its children with Ctrl-C ignored, and theirs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def small() -> Recipe:
    """A recipe whose images take no time: four classes of 32 x 32 pixels."""
    return Recipe.from_dict(
        {
            "name": "small",
            "shape": [32, 32],
            "seed": 11,
            "components": [
                {"kernel": "rbf", "length_scales": [2.0, 2.5], "weight": 0.75},
                {"kernel": "rbf", "length_scales": [8.0, 12.0], "weight": 1.25},
            ],
        }
    )
