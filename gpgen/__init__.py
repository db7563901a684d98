"""Exact, bit-reproducible multi-scale Gaussian-process texture datasets."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gpgen._version import __version__

if TYPE_CHECKING:
    from gpgen import plots
    from gpgen.dataset import Dataset, open_dataset
    from gpgen.errors import (
        ClusterError,
        DatasetError,
        DatasetWarning,
        GpgenError,
        MissingPackageError,
        RecipeError,
        RecipeWarning,
        SampleIndexError,
        StorageError,
        TargetError,
        UsageError,
    )
    from gpgen.making.converting import convert
    from gpgen.making.run import Plan, make, plan
    from gpgen.observer.audited import Audit
    from gpgen.observer.auditing import audit
    from gpgen.observer.estimating import difficulty
    from gpgen.observer.result import Difficulty
    from gpgen.progress import Progress
    from gpgen.recipe import Component, Recipe, builtin_recipes
    from gpgen.sampling import Sample, Sampler, sample
    from gpgen.verification import verify
    from gpgen.virtual_store import virtual

__all__ = [
    "Audit",
    "ClusterError",
    "Component",
    "Dataset",
    "DatasetError",
    "DatasetWarning",
    "Difficulty",
    "GpgenError",
    "MissingPackageError",
    "Plan",
    "Progress",
    "Recipe",
    "RecipeError",
    "RecipeWarning",
    "Sample",
    "SampleIndexError",
    "Sampler",
    "StorageError",
    "TargetError",
    "UsageError",
    "__version__",
    "audit",
    "builtin_recipes",
    "convert",
    "difficulty",
    "make",
    "open_dataset",
    "plan",
    "plots",
    "sample",
    "verify",
    "virtual",
]

_HOME = {
    "Audit": "observer.audited",
    "audit": "observer.auditing",
    "ClusterError": "errors",
    "Component": "recipe",
    "Dataset": "dataset",
    "DatasetError": "errors",
    "DatasetWarning": "errors",
    "GpgenError": "errors",
    "MissingPackageError": "errors",
    "Plan": "making.run",
    "Progress": "progress",
    "Recipe": "recipe",
    "RecipeError": "errors",
    "RecipeWarning": "errors",
    "Sample": "sampling",
    "SampleIndexError": "errors",
    "Sampler": "sampling",
    "StorageError": "errors",
    "TargetError": "errors",
    "UsageError": "errors",
    "builtin_recipes": "recipe",
    "convert": "making.converting",
    "difficulty": "observer.estimating",
    "Difficulty": "observer.result",
    "make": "making.run",
    "open_dataset": "dataset",
    "plan": "making.run",
    "sample": "sampling",
    "verify": "verification",
    "virtual": "virtual_store",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line starts fast."""
    if name == "plots":
        return importlib.import_module("gpgen.plots")
    if name not in _HOME:
        raise AttributeError(f"module 'gpgen' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpgen.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
