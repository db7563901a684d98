"""What changes while a network is trained, and the file that keeps it."""

from __future__ import annotations

import io
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from backdrop.training.settings import Settings
from gpgen.errors import Argument, DatasetError
from gpgen.io.failures import reading
from gpgen.io.recognizing import SAVED_BY_TORCH, refused
from gpgen.io.user_paths import AnyText, given
from gpgen.recipe import Recipe

__all__ = ["CHECKPOINT", "Epoch", "State", "load_checkpoint", "restore", "save"]

CHECKPOINT = "checkpoint.pt"
_WANTED = "a checkpoint of `gpgen train`"
_GIVE = f"give a {CHECKPOINT} that `gpgen train` left"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    Attributes
    ----------
    epoch
        Counts from 1.
    learning_rate
        At its last step.
    loss, accuracy, relative_error
        Mean over the training images as they were trained on, masks, dropout
        and crops in place. Of classes there is an accuracy, of length-scales a relative error.
    """

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float | None = None
    relative_error: float | None = None

    @property
    def score(self) -> float:
        """The accuracy, or the relative error."""
        found = self.relative_error if self.accuracy is None else self.accuracy
        assert found is not None  # noqa: S101 - narrows the type
        return found

    def to_dict(self) -> dict[str, float]:
        """Return what there is, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
            "epochs": [epoch.to_dict() for epoch in state.epochs],
        },
        temporary,
    )
    os.replace(temporary, path)  # noqa: PTH105


def load_checkpoint(path: AnyText) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Raises
    ------
    DatasetError
        If the file is no checkpoint of `gpgen train`, or damaged.
    StorageError
        If the system can't read it.
    """
    path = given(path)
    error = refused(path, SAVED_BY_TORCH, _GIVE)
    if error is not None:
        raise error
    with reading(path, _GIVE):
        content = path.read_bytes()
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        keys = checkpoint.keys() if isinstance(checkpoint, dict) else set()
    except UnpicklingError:
        keys = set()  # torch refuses what runs code, such as a whole network
    except Exception as error:
        if "TorchScript" in str(error):
            raise DatasetError(f"{path} is a TorchScript program, not {_WANTED}", _GIVE) from error
        raise DatasetError(
            f"{path} is damaged, or was not saved by torch: {str(error).partition('.')[0][:100]}",
            f"if `gpgen train` made it, move it away and train again with {Argument.RESUME}",
        ) from error
    if not {"recipe", "settings", "seed", "model", "epochs"} <= set(keys):
        raise DatasetError(f"{path} was saved by torch, but is not {_WANTED}", _GIVE)
    return dict(checkpoint)


def restore(state: State, checkpoint: dict[str, Any], device: torch.device) -> None:
    """Bring `state` to where a checkpoint was."""
    state.model.load_state_dict(checkpoint["model"])
    state.model.to(device)
    state.optimizer.load_state_dict(checkpoint["optimizer"])
    state.masks.set_state(checkpoint["masks"])
    state.data.set_state(checkpoint["data"])
    state.epochs = [Epoch(**epoch) for epoch in checkpoint["epochs"]]
