"""What changes while a network is trained, and the file that keeps it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backdrop.training.settings import Settings
from gpgen.errors import DatasetError
from gpgen.recipe import Recipe

__all__ = ["CHECKPOINT", "Epoch", "State", "load_checkpoint", "restore", "save"]

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    Attributes
    ----------
    epoch
        Counts from 1.
    learning_rate
        At its last step.
    loss, accuracy
        Mean over the training images as they were trained on, masks, dropout
        and crops in place.
    """

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float


@dataclass
class State:
    """What changes while training, and all that a checkpoint must hold."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    masks: torch.Generator
    data: torch.Generator
    epochs: list[Epoch] = field(default_factory=list)


def save(state: State, recipe: Recipe, settings: Settings, seed: int, path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    temporary = path.with_suffix(".new")
    torch.save(
        {
            "recipe": recipe.to_dict(),
            "settings": settings.to_dict(),
            "seed": seed,
            "model": state.model.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "masks": state.masks.get_state(),
            "data": state.data.get_state(),
            "epochs": [asdict(epoch) for epoch in state.epochs],
        },
        temporary,
    )
    os.replace(temporary, path)  # noqa: PTH105


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Raises
    ------
    DatasetError
        If the file is no checkpoint of ours, or damaged.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if not {"recipe", "settings", "seed", "model", "epochs"} <= checkpoint.keys():
            raise ValueError
    except FileNotFoundError:
        raise
    except Exception as error:
        raise DatasetError(
            f"{path} is no checkpoint of gpgen train, or damaged", "delete it and train again"
        ) from error
    return dict(checkpoint)


def restore(state: State, checkpoint: dict[str, Any], device: torch.device) -> None:
    """Bring `state` to where a checkpoint was."""
    state.model.load_state_dict(checkpoint["model"])
    state.model.to(device)
    state.optimizer.load_state_dict(checkpoint["optimizer"])
    state.masks.set_state(checkpoint["masks"])
    state.data.set_state(checkpoint["data"])
    state.epochs = [Epoch(**epoch) for epoch in checkpoint["epochs"]]
