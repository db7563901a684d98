"""Hostile input, a minute for all targets together; longer with ``python -m benchmarks.fuzz``.

With --long each target gets 30 minutes instead, and other inputs each time.
"""

from __future__ import annotations

import time

import hypothesis
import pytest

from benchmarks.fuzzing.targets import TARGETS

LONG_MINUTES = 30
# Inputs that take about 7 s each target, on the two-core machine that these were chosen on.
INPUTS = {
    "recipe": 300, "publication": 250, "journal": 120, "manifest": 150, "zarr": 150, "hdf5": 100,
    "zip": 150, "deposit": 50,
}  # fmt: skip


def test_every_target_has_its_share() -> None:
    assert INPUTS.keys() == TARGETS.keys()


@pytest.mark.fuzz
@pytest.mark.parametrize("target", TARGETS)
def test_hostile_input_gets_a_right_answer_or_one_line(target: str, long: bool) -> None:
    end = time.monotonic() + 60 * LONG_MINUTES * long
    settings = hypothesis.settings(
        max_examples=INPUTS[target], derandomize=not long, database=None, deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    test = settings(TARGETS[target])
    while True:
        hypothesis.seed(time.time_ns())(test)() if long else test()
        if time.monotonic() >= end:
            break
