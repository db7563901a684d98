"""The network that every method trains: only what is put into it differs."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from backdrop.functional import check_probability
from backdrop.placing import insert, length_scales_of
from backdrop.training.settings import Settings
from gpgen.errors import UsageError
from gpgen.recipe import Recipe

__all__ = ["BLOB", "network"]

BLOB = 2.355
"""Width of a blob at half its height, in length-scales, for the squared exponential."""

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


class ChannelDropout(nn.Module):
    """`torch.nn.Dropout2d` for any number of axes, with a generator of its own."""

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        check_probability(p)
        self.p = p
        self.generator = generator

    def forward(self, features: Tensor) -> Tensor:
        """Zero channels of ``(sample, channel, *axes)``."""
        if not self.training or self.p == 0:
            return features
        keep = torch.rand(features.shape[:2], generator=self.generator, device=features.device)
        scale = (keep >= self.p).to(features.dtype) / (1 - self.p)
        return features * scale.reshape(*features.shape[:2], *[1] * (features.ndim - 2))


class _Average(nn.Module):
    """Average over all positions."""

    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(2).mean(2)


def network(
    recipe: Recipe,
    settings: Settings,
    seed: int,
    generator: torch.Generator,
    device: torch.device,
) -> nn.Module:
    """Return an untrained network; one seed gives the same weights for every method.

    The image is averaged down until the finest length-scale is about two
    pixels. Then come stages of a convolution, a ReLU and an average pooling by
    two, with 16, 32, 64, 64, ... channels, until the receptive field holds the
    largest blobs; then the average over all positions, a batch normalization of
    the averages (none before, so that the masks' gradient isn't mixed between
    positions) and a linear layer. Masks and dropped channels are drawn from
    `generator`.

    Raises
    ------
    UsageError
        If the images are too small for the recipe's length-scales, or as many
        mask probabilities were given as don't fit its components.
    """
    scales = length_scales_of(recipe)
    ndim = len(recipe.shape)
    masks = settings.masks * len(scales) if len(settings.masks) == 1 else settings.masks
    if len(masks) != len(scales):
        raise UsageError(
            f"{len(masks)} mask probabilities for {len(scales)} components",
            "give one, or one for each component",
        )
    shrink = 1
    while 4 * shrink <= min(scales):
        shrink *= 2
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if shrink > 1:
        layers["shrink"] = _POOLS[ndim](shrink)
    channels, field, stride, stage = 1, shrink, shrink, 0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        while stage < 2 or field < BLOB * max(scales):
            stage += 1
            kernel, step = (7, 2) if stage == 1 else (3, 1)
            wider = min(8 * 2**stage, 64)
            layers[f"conv{stage}"] = _CONVOLUTIONS[ndim](
                channels, wider, kernel, step, padding=kernel // 2
            )
            layers[f"relu{stage}"] = nn.ReLU()
            layers[f"pool{stage}"] = _POOLS[ndim](2)
            field += (kernel - 1) * stride + step * stride
            stride *= 2 * step
            channels = wider
        if min(recipe.shape) < 2 * stride:
            raise UsageError(
                f"images of {' x '.join(map(str, recipe.shape))} pixels are too small for blobs "
                f"of length-scale {max(scales):g} px",
                f"use images of at least {2 * stride} pixels",
            )
        if settings.method == "dropout":
            layers["dropout"] = ChannelDropout(settings.dropout, generator)
        layers["average"] = _Average()
        layers["norm"] = nn.BatchNorm1d(channels)
        layers["classify"] = nn.Linear(channels, len(recipe.classes))
        model: nn.Module = nn.Sequential(layers)
    wanted = {BLOB * scale: p for scale, p in zip(scales, masks, strict=True) if p > 0}
    if settings.method == "backdrop" and wanted:
        model = insert(model, wanted, (1, *recipe.shape), generator=generator).model
    # Twice as fast for two axes on a CPU.
    return model.to(device, memory_format=torch.channels_last) if ndim == 2 else model.to(device)
