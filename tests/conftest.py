"""What the tests share."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

# Before NumPy and PyTorch are loaded, here and in the processes that tests start: threads of OpenMP
# and OpenBLAS wait for each other by spinning, and with two test processes on two cores that took
# five times as long. What is about several threads sets their number itself.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings
from store_tools import OUTS, tiny_make

from gpgen import Recipe

# Machines are shared and noisy: time says nothing about a test here, and CI repeats itself.
settings.register_profile(
    "gpgen", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("gpgen")

# A background shell starts its children with Ctrl-C ignored, and theirs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = "the whole of what CI shortens: every kill, thousands of damaged bits, 30 minutes of fuzzing"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help=LONG)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --long leave out the cases marked `long`."""
    if config.getoption("long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a test shall try all that it can, however long that takes."""
    return request.config.getoption("long")


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


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> dict[str, Path]:
    """One dataset of 13 samples in each format, not to be changed."""
    paths = {}
    for out in OUTS:
        paths[out] = tmp_path_factory.mktemp("made") / out
        tiny_make(paths[out]).close()
    return paths


@pytest.fixture(params=OUTS)
def own(made, request, tmp_path: Path) -> Path:
    """A copy of it, each format in turn, to be damaged."""
    shutil.copytree(made[request.param].parent, tmp_path / "own")
    return tmp_path / "own" / request.param


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder for nothing but the dataset."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"
