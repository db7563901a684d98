"""Training classifiers: one method or several, many seeds, everything kept."""

from __future__ import annotations

from backdrop.training.campaign import choose_device, run_all
from backdrop.training.examples import Examples, Source
from backdrop.training.network import network
from backdrop.training.pictures import plot
from backdrop.training.report import IDEAL, MethodSummary, of_ideal, summarize, write
from backdrop.training.run import DivergedError, Run, evaluate_checkpoint, train
from backdrop.training.settings import METHODS, Settings
from backdrop.training.state import Epoch, load_checkpoint

__all__ = [
    "IDEAL",
    "METHODS",
    "DivergedError",
    "Epoch",
    "Examples",
    "MethodSummary",
    "Run",
    "Settings",
    "Source",
    "choose_device",
    "evaluate_checkpoint",
    "load_checkpoint",
    "network",
    "of_ideal",
    "plot",
    "run_all",
    "summarize",
    "train",
    "write",
]
