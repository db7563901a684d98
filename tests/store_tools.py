"""What the tests of making and storing share: tiny recipes, every format, hashes of files."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpgen import Recipe
from gpgen.dataset import Dataset
from gpgen.making.run import make
from gpgen.sampling import Sampler

# For processes that tests start: they find gpgen where this one did, and these tools.
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
}
OUTS = ("d.zarr", "d.h5", "d-{shard:03d}.h5")


def only_long(cases: Iterable[Any]) -> list[Any]:
    """Mark cases of a parametrized test as ones that only --long runs."""
    tuples = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*case, marks=pytest.mark.long) for case in tuples]


def tiny(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "name": "tiny",
        "shape": [16, 24],
        "seed": 5,
        "components": [
            {"kernel": "rbf", "length_scales": [1.5, 2.0], "weight": 0.75},
            {"kernel": "rbf", "length_scales": [4.0], "weight": 1.25},
        ],
    }
    return Recipe.from_dict(fields | changes)


def tiny_make(out: Path, n: int = 13, **options: Any) -> Dataset:
    options = {"shard_size": 4, "workers": 1} | options
    return make(options.pop("recipe", None) or tiny(), n, out, **options)


def drawn(recipe: Recipe, n: int) -> np.ndarray:
    return Sampler(recipe).images(0, n)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder, by relative path."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
