"""Backdrop: the identity going forward, random parts of the gradient blocked going backward.

The method of Golkar and Cranmer, "Backdrop: Stochastic Backpropagation",
arXiv:1806.01337.
"""

from __future__ import annotations

from backdrop import functional, losses, models, plots
from backdrop.blocking import blocked_fraction, masks_of
from backdrop.geometry import ReceptiveField, receptive_field
from backdrop.layer import Backdrop
from backdrop.placing import GradientSpreadWarning, Insertion, Place, insert

__all__ = [
    "Backdrop",
    "GradientSpreadWarning",
    "Insertion",
    "Place",
    "ReceptiveField",
    "blocked_fraction",
    "functional",
    "insert",
    "losses",
    "masks_of",
    "models",
    "plots",
    "receptive_field",
]
