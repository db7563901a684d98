"""Training the baseline: one method or several, many seeds, everything kept."""

from __future__ import annotations

from backdrop.name_clash import check as _check_name
from backdrop.training.campaign import choose_device, run_all
from backdrop.training.examples import Examples, Source
from backdrop.training.network import network
from backdrop.training.report import LengthScaleSummary, MethodSummary, plot, summarize, write
from backdrop.training.run import DivergedError, Run, evaluate_checkpoint, train
from backdrop.training.settings import METHODS, TARGETS, Settings
from backdrop.training.state import Epoch, load_checkpoint

__all__ = [
    "METHODS",
    "TARGETS",
    "DivergedError",
    "Epoch",
    "Examples",
    "LengthScaleSummary",
    "MethodSummary",
    "Run",
    "Settings",
    "Source",
    "choose_device",
    "evaluate_checkpoint",
    "load_checkpoint",
    "network",
    "plot",
    "run_all",
    "summarize",
    "train",
    "write",
]

_check_name()
