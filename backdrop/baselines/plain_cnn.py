"""A plain convolutional network with batch normalization: one path, its end averaged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backdrop.placing import length_scales_of
from gpgen.errors import UsageError

if TYPE_CHECKING:
    from gpgen.recipe import AnyRecipe

__all__ = ["PlainCNN"]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


class PlainCNN(nn.Module):
    """Stages of convolution, batch normalization and ReLU, the last one's average, a linear layer.

    The image is averaged down by `shrink`. The first convolution is 7 wide with stride 2, the
    others 3 wide, with an average pooling by two between them.

    Parameters
    ----------
    n_classes
        Number of outputs.
    ndim
        Spatial axes: 1, 2 or 3.
    shrink
        How many pixels of an axis become one before the first stage.
    channels
        Of each stage.

    Raises
    ------
    UsageError
        If an argument is out of its range.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        ndim: int = 2,
        shrink: int = 1,
        channels: tuple[int, ...] = (16, 32, 64),
    ) -> None:
        super().__init__()
        if ndim not in _CONVOLUTIONS:
            raise UsageError(f"ndim is {ndim}", "choose 1, 2 or 3 spatial axes")
        if min(n_classes, shrink, len(channels), *channels) < 1:
            raise UsageError(
                f"n_classes, shrink, channels are {n_classes}, {shrink}, {channels}",
                "choose all at least 1",
            )
        layers: list[nn.Module] = [_POOLS[ndim](shrink)] if shrink > 1 else []
        before = 1
        for number, after in enumerate(channels):
            width, stride = (7, 2) if number == 0 else (3, 1)
            if number > 0:
                layers.append(_POOLS[ndim](2))
            convolution = _CONVOLUTIONS[ndim](
                before, after, width, stride, padding=width // 2, bias=False
            )
            layers += [convolution, _NORMS[ndim](after), nn.ReLU()]
            before = after
        self.stages = nn.Sequential(*layers)
        self.classify = nn.Linear(before, n_classes)
        self.stride = shrink * 2 ** len(channels)

    @classmethod
    def from_recipe(cls, recipe: AnyRecipe) -> PlainCNN:
        """Return the network for a recipe: its axes, its classes, its finest length-scale.

        The finest length-scale is averaged down to between two and four pixels, if it is larger.

        Raises
        ------
        UsageError
            If the images are too small for the stages.
        """
        from gpgen.recipe import Recipe

        recipe = Recipe.load(recipe)
        finest = min(length_scales_of(recipe))
        shrink = 2 ** max(0, math.floor(math.log2(finest)) - 1)
        model = cls(len(recipe.classes), ndim=len(recipe.shape), shrink=shrink)
        if min(recipe.shape) < 2 * model.stride:
            raise UsageError(
                f"images of {' x '.join(map(str, recipe.shape))} pixels are too small for the "
                f"{model.stride} pixels between the network's last positions",
                f"use images of at least {2 * model.stride} pixels",
            )
        return model

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape ``(sample, class)``, of images ``(sample, 1, *axes)``."""
        features: Tensor = self.stages(image)
        logits: Tensor = self.classify(torch.flatten(features, 2).mean(2))
        return logits
