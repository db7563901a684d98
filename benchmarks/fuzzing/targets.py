"""The targets by name: functions of hypothesis, each a hostile input and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.fuzzing import deposits, stores, texts

__all__ = ["TARGETS"]

TARGETS: dict[str, Callable[..., Any]] = {
    "recipe": texts.recipes,
    "publication": texts.publication,
    "journal": texts.journal,
    "manifest": stores.manifest,
    "zarr": stores.zarr,
    "hdf5": stores.hdf5,
    "zip": stores.zipped,
    "deposit": deposits.deposits,
}
