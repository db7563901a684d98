"""A page that shows a dataset: what it is, how it looks, and that it is what it says."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpgen.report.page import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> object:
    """Import the page when it is first used: its charts need fewer packages than that."""
    if name != "write_report":
        raise AttributeError(f"module 'gpgen.report' has no attribute {name!r}")
    return importlib.import_module("gpgen.report.page").write_report


def __dir__() -> list[str]:
    return sorted(__all__)
