"""Backdrop: the identity going forward, random parts of the gradient blocked going backward.

The method of Golkar and Cranmer, "Backdrop: Stochastic Backpropagation",
arXiv:1806.01337.
"""

from __future__ import annotations

from backdrop import functional, losses, models, plots
from backdrop.geometry import ReceptiveField, receptive_field
from backdrop.layer import Backdrop
from backdrop.placing import Insertion, Place, insert

__all__ = [
    "Backdrop",
    "Insertion",
    "Place",
    "ReceptiveField",
    "functional",
    "insert",
    "losses",
    "models",
    "plots",
    "receptive_field",
]
