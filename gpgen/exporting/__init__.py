"""Copies of samples in files that other programs read, and gpgen doesn't."""

from gpgen.exporting.exporting import export
from gpgen.exporting.files import Exported
from gpgen.exporting.pictures import PICTURES, Pictures

__all__ = ["PICTURES", "Exported", "Pictures", "export"]
