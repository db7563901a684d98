"""Copies of samples in files that other programs read, and gpgen doesn't."""

from gpgen.exporting.exporting import Exported, export
from gpgen.exporting.targets import ExportTarget

__all__ = ["ExportTarget", "Exported", "export"]
