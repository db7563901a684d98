"""A page that shows a dataset: what it is, how it looks, and that it is what it says."""

from __future__ import annotations

from gpgen.report.page import write_report

__all__ = ["write_report"]
