"""The baseline network: a mask at each of the texture's length-scales."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from backdrop.layer import Backdrop
from backdrop.placing import length_scales_of
from gpgen.errors import UsageError

if TYPE_CHECKING:
    from gpgen.recipe import Recipe

__all__ = ["TwoScaleCNN"]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


class TwoScaleCNN(nn.Module):
    """Convolutions and pooling with a `Backdrop` at each length-scale, averaged and classified.

    A stage is a convolution, a ReLU and an average pooling by two. Stages
    follow one another until the receptive field is as near as it gets to the
    first length-scale, then comes the first mask, then further stages up to
    the second length-scale, the second mask, and so on; then the average over
    all positions and a linear layer. There is no batch normalization: the
    backward pass of its statistics would carry gradient into masked positions.

    Parameters
    ----------
    length_scales
        In pixels, one mask for each; two in the paper's benchmark.
    n_classes
        Number of outputs.
    p
        Masking probability of all masks, or one for each, finest first.
    in_channels, ndim
        Channels and spatial axes (1, 2 or 3) of the input.
    width
        Channels of the first stage; doubled at each stage up to four times that.
    kernel_size
        Of the convolutions, odd. Kernels wider than their stride let a mask's
        gradient bleed over its edges.
    per_sample, generator
        As in `Backdrop`.

    Attributes
    ----------
    places
        ``((length_scale, receptive field, stride), ...)`` of the masks, pixels.

    Raises
    ------
    UsageError
        For length-scales that are not positive or share a stage, as many
        probabilities as don't fit, or arguments outside their range.
    """

    def __init__(
        self,
        length_scales: Sequence[float],
        n_classes: int,
        *,
        p: float | Sequence[float] = 0.75,
        in_channels: int = 1,
        ndim: int = 2,
        width: int = 16,
        kernel_size: int = 3,
        per_sample: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if ndim not in _CONVOLUTIONS:
            raise UsageError(f"ndim is {ndim}", "choose 1, 2 or 3 spatial axes")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UsageError(f"kernel_size is {kernel_size}", "choose an odd one")
        if n_classes < 1 or in_channels < 1 or width < 1:
            raise UsageError(
                f"n_classes, in_channels, width are {n_classes}, {in_channels}, {width}",
                "choose all at least 1",
            )
        scales = sorted(length_scales)
        if not scales or not all(0 < scale < math.inf for scale in scales):
            raise UsageError(
                f"the length-scales are {tuple(length_scales)}",
                "give at least one, all positive numbers of pixels",
            )
        chances = [p] * len(scales) if isinstance(p, int | float) else list(p)
        if len(chances) != len(scales):
            raise UsageError(
                f"{len(chances)} probabilities for {len(scales)} length-scales", "give one for each"
            )
        stages = _stages(scales, kernel_size)
        dims = range(2, 2 + ndim)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for stage in range(1, stages[-1] + 1):
            wider = min(width * 2 ** (stage - 1), 4 * width)
            layers[f"conv{stage}"] = _CONVOLUTIONS[ndim](
                channels, wider, kernel_size, padding=kernel_size // 2
            )
            layers[f"relu{stage}"] = nn.ReLU()
            layers[f"pool{stage}"] = _POOLS[ndim](2)
            if stage in stages:
                mask = stages.index(stage)
                layers[f"mask{mask + 1}"] = Backdrop(
                    chances[mask], dims, per_sample, generator=generator
                )
            channels = wider
        self.features = nn.Sequential(layers)
        self.classify = nn.Linear(channels, n_classes)
        self.places = tuple(
            (scale, *_window(stage, kernel_size))
            for scale, stage in zip(scales, stages, strict=True)
        )

    @classmethod
    def from_recipe(cls, recipe: Recipe, **arguments: Any) -> TwoScaleCNN:  # noqa: ANN401
        """Return the network for a recipe: its axes, its classes, a mask a component.

        Parameters
        ----------
        recipe
            Each mask is sized by the mean of its component's length-scales.
        **arguments
            Passed on.

        Raises
        ------
        UsageError
            Also if the images are too small for the stages.
        """
        arguments = {"ndim": len(recipe.shape), **arguments}
        model = cls(length_scales_of(recipe), len(recipe.classes), **arguments)
        stride = model.places[-1][2]
        if min(recipe.shape) < 2 * stride:
            raise UsageError(
                f"images of {recipe.shape} pixels leave the mask at length-scale "
                f"{model.places[-1][0]:g} less than two positions an axis",
                f"use images of at least {2 * stride} pixels, or smaller length-scales",
            )
        return model

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape ``(sample, class)``, of images ``(sample, channel, *axes)``."""
        features: Tensor = self.features(image)
        return cast("Tensor", self.classify(features.flatten(2).mean(2)))


def _window(stage: int, kernel_size: int) -> tuple[int, int]:
    """Return receptive field and stride, in pixels, after so many stages.

    A stage at stride s adds (kernel_size - 1) s by its convolution and s by its
    pooling, and doubles s; the sum of the strides 1, 2, ... is 2**stage - 1.
    """
    return 1 + kernel_size * (2**stage - 1), 2**stage


def _stages(scales: Sequence[float], kernel_size: int) -> list[int]:
    """Return after which stage each length-scale's mask goes: nearest receptive field."""
    stages: list[int] = []
    for scale in scales:
        stage = 1
        while abs(_window(stage + 1, kernel_size)[0] - scale) <= abs(
            _window(stage, kernel_size)[0] - scale
        ):
            stage += 1
        if stages and stage == stages[-1]:
            raise UsageError(
                f"length-scales {scales[len(stages) - 1]:g} and {scale:g} px fall on one stage",
                "choose them a factor of two apart or more",
            )
        stages.append(stage)
    return stages
