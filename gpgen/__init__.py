"""Exact, bit-reproducible multi-scale Gaussian-process texture datasets."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gpgen._version import __version__

if TYPE_CHECKING:
    from gpgen.recipe import Component, Recipe, builtin_recipes
    from gpgen.sampling import Sample, Sampler, sample

__all__ = [
    "Component",
    "Recipe",
    "Sample",
    "Sampler",
    "__version__",
    "builtin_recipes",
    "sample",
]

_HOME = {
    "Component": "recipe",
    "Recipe": "recipe",
    "Sample": "sampling",
    "Sampler": "sampling",
    "builtin_recipes": "recipe",
    "sample": "sampling",
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
