"""Whether a dataset is whole."""

from __future__ import annotations

from gpgen.format.base import Problem
from gpgen.verification.report import Report
from gpgen.verification.verifying import verify

__all__ = ["Problem", "Report", "verify"]
