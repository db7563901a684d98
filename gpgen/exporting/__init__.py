"""Copies of samples in files that other programs read, and gpgen doesn't."""

from gpgen.exporting.exporting import check_options, export
from gpgen.exporting.files import Exported
from gpgen.exporting.pictures import PICTURES, Pictures
from gpgen.exporting.targets import ExportTarget

__all__ = ["PICTURES", "ExportTarget", "Exported", "Pictures", "check_options", "export"]
