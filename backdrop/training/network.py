"""The network that every method trains: only what is put into it differs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backdrop.layer import Backdrop
from backdrop.placing import length_scales_of
from backdrop.training.settings import Settings
from gpgen.errors import UsageError
from gpgen.recipe import Recipe

__all__ = ["BLOB", "MultiScaleCNN", "network"]

BLOB = 2.355
"""Width of a blob at half its height, in length-scales, for the squared exponential."""

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


class MultiScaleCNN(nn.Module):
    """Convolutions at ever coarser scales; the class is read off all scales' averages.

    The image is averaged down until the finest length-scale is about two
    pixels. Then come stages of a convolution and a ReLU, the first 7 wide with
    stride 2, the others 3 wide after an average pooling by two, with 16, 32,
    64, 64, ... channels, until the receptive field holds the largest blobs.
    Every stage's channels are averaged over all positions; a batch
    normalization of these averages and a linear layer end it.

    A mask sits after the stage whose receptive field is nearest to a
    component's blobs, on the way to the average and to the next stage alike.
    So what is learned at the fine scale reaches the loss on a way that the
    coarse mask doesn't block. The only batch normalization comes after all
    masks: before them its backward pass would carry gradient into masked
    positions.

    Parameters
    ----------
    recipe
        Gives axes, length-scales and number of classes.
    masks
        Masking probability for each component, 0 for no mask; one serves all.
    dropout
        Probability that one of the averages is dropped.
    generator
        Where masks and dropout are drawn from.

    Attributes
    ----------
    fields
        The stages' receptive fields, pixels.

    Raises
    ------
    UsageError
        If the images are too small for the recipe's length-scales, or as many
        probabilities were given as don't fit its components.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        masks: tuple[float, ...] = (0.0,),
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        scales = length_scales_of(recipe)
        if len(masks) not in (1, len(scales)):
            raise UsageError(
                f"{len(masks)} mask probabilities for {len(scales)} components",
                "give one, or one for each component",
            )
        ndim = len(recipe.shape)
        stride = 1
        while 4 * stride <= min(scales):
            stride *= 2
        self.shrink = _POOLS[ndim](stride) if stride > 1 else nn.Identity()
        self.pool = _POOLS[ndim](2)
        self.stages = nn.ModuleList()
        self.fields: list[int] = []
        channels, field = 1, stride
        while len(self.stages) < 2 or field < BLOB * max(scales):
            kernel, step = (3, 1) if self.stages else (7, 2)
            if self.stages:
                field += stride
                stride *= 2
            wider = min(16 * 2 ** len(self.stages), 64)
            convolution = _CONVOLUTIONS[ndim](channels, wider, kernel, step, padding=kernel // 2)
            self.stages.append(nn.Sequential(convolution, nn.ReLU()))
            field += (kernel - 1) * stride
            stride *= step
            self.fields.append(field)
            channels = wider
        if min(recipe.shape) < 2 * stride:
            raise UsageError(
                f"images of {' x '.join(map(str, recipe.shape))} pixels are too small for blobs "
                f"of length-scale {max(scales):g} px",
                f"use images of at least {2 * stride} pixels",
            )
        for scale, p in zip(scales, masks if len(masks) > 1 else masks * len(scales), strict=True):
            nearest = min(range(len(self.fields)), key=lambda i: self._off(i, scale))
            if p > 0:
                mask = Backdrop(p, range(2, 2 + ndim), generator=generator)
                self.stages[nearest].append(mask)  # type: ignore[operator]
        averages = sum(stage[0].out_channels for stage in self.stages)  # type: ignore[index]
        self.norm = nn.BatchNorm1d(averages)
        self.dropout = _Dropout(dropout, generator)
        self.classify = nn.Linear(averages, len(recipe.classes))

    def _off(self, stage: int, scale: float) -> float:
        return abs(self.fields[stage] - BLOB * scale)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape ``(sample, class)``, of images ``(sample, 1, *axes)``."""
        features = self.shrink(image)
        averages = []
        for number, stage in enumerate(self.stages):
            features = stage(features if number == 0 else self.pool(features))
            averages.append(features.flatten(2).mean(2))
        logits: Tensor = self.classify(self.dropout(self.norm(torch.cat(averages, 1))))
        return logits


class _Dropout(nn.Module):
    """`torch.nn.Dropout` with a generator of its own."""

    def __init__(self, p: float, generator: torch.Generator | None) -> None:
        super().__init__()
        self.p = p
        self.generator = generator

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return values
        keep = torch.rand(values.shape, generator=self.generator, device=values.device)
        return values * (keep >= self.p) / (1 - self.p)


def network(
    recipe: Recipe, settings: Settings, seed: int, generator: torch.Generator | None = None
) -> MultiScaleCNN:
    """Return an untrained network; one seed gives the same weights for every method."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return MultiScaleCNN(
            recipe,
            masks=settings.masks if settings.method == "backdrop" else (0.0,),
            dropout=settings.dropout if settings.method == "dropout" else 0.0,
            generator=generator,
        )
