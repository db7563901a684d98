"""Exact, bit-reproducible multi-scale Gaussian-process texture datasets."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gpgen._version import __version__

if TYPE_CHECKING:
    from gpgen.dataset import Dataset, open_dataset
    from gpgen.making.run import make, plan
    from gpgen.recipe import Component, Recipe, builtin_recipes
    from gpgen.sampling import Sample, Sampler, sample
    from gpgen.verification import verify

__all__ = [
    "Component",
    "Dataset",
    "Recipe",
    "Sample",
    "Sampler",
    "__version__",
    "builtin_recipes",
    "make",
    "open_dataset",
    "plan",
    "sample",
    "verify",
]

_HOME = {
    "Component": "recipe",
    "Dataset": "dataset",
    "Recipe": "recipe",
    "Sample": "sampling",
    "Sampler": "sampling",
    "builtin_recipes": "recipe",
    "make": "making.run",
    "open_dataset": "dataset",
    "plan": "making.run",
    "sample": "sampling",
    "verify": "verification",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line starts fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'gpgen' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpgen.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
