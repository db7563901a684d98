"""Backdrop: the identity going forward, random parts of the gradient blocked going backward.

The method of Golkar and Cranmer, "Backdrop: Stochastic Backpropagation",
arXiv:1806.01337.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401 - told now, in our words, rather than later in Python's
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    from gpgen.errors import MissingPackageError

    raise MissingPackageError(
        "backdrop needs PyTorch, which is not installed",
        "install it with `pip install 'gpgen[torch]'`",
    ) from None

from backdrop import functional, losses, models, name_clash, plots
from backdrop.blocking import blocked_fraction, masks_of
from backdrop.coverage import coverage
from backdrop.geometry import ReceptiveField, receptive_field
from backdrop.image_parts import ImageParts, ImageRows
from backdrop.layer import Backdrop
from backdrop.placing import GradientSpreadWarning, Insertion, Place, insert
from backdrop.sparse import SparseBackward, SparseBackwardWarning

__all__ = [
    "Backdrop",
    "GradientSpreadWarning",
    "ImageParts",
    "ImageRows",
    "Insertion",
    "Place",
    "ReceptiveField",
    "SparseBackward",
    "SparseBackwardWarning",
    "blocked_fraction",
    "coverage",
    "functional",
    "insert",
    "losses",
    "masks_of",
    "models",
    "plots",
    "receptive_field",
]

name_clash.check()
