"""The baseline network: a place for a mask at each of the texture's length-scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from backdrop.functional import DEFAULT_P, check_probability
from backdrop.layer import Backdrop, fx_leaf
from backdrop.placing import length_scales_of
from backdrop.sparse import SparseBackward
from backdrop.uniform import draw_uniform
from gpgen.errors import UsageError

if TYPE_CHECKING:
    from gpgen.recipe import AnyRecipe

__all__ = ["BLOB", "TwoScaleCNN"]

BLOB = 2.355
"""Width of a blob at half its height, in length-scales, for the squared exponential."""

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


class TwoScaleCNN(nn.Module):
    """Convolutions at ever coarser scales, a mask at each length-scale, averages, a linear layer.

    The image is averaged down until the finest length-scale is about two
    pixels. Then come stages of a convolution and a ReLU, the first 7 wide with
    stride 2, the others 3 wide after an average pooling by two, until the
    receptive field holds the largest blobs. Every stage's channels are averaged
    over all positions; a batch normalization of these averages and a linear
    layer end it.

    A mask sits after the stage whose receptive field is nearest to the blobs of
    a length-scale, on the way to the average and to the next stage alike. As
    each stage has an average of its own, what is learned at the fine scale
    reaches the loss on a way that the coarse mask doesn't block. The only batch
    normalization comes after all masks: before them its backward pass would
    carry gradient into masked positions.

    Parameters
    ----------
    length_scales
        In pixels, one mask for each; two in the paper's benchmark.
    n_classes
        Number of outputs.
    p
        Masking probability of all masks, or one for each length-scale; 0 for
        no mask.
    dropout
        Probability that one of the averages is dropped.
    channel_dropout
        Like `p`, at the same places: probability that a channel is dropped.
    in_channels, ndim
        Channels and spatial axes (1, 2 or 3) of the input.
    width
        Channels of the first stage; doubled at each stage up to four times that.
    sparse
        Whether a masked stage is a `SparseBackward`: the same gradient, and what its mask blocks
        is not computed. Names of its parameters then hold a further ``0.stem``. Pays for `p` from
        about 0.95; only the stage itself is saved, as the gradient goes round every mask.
    generator
        Where masks and dropout are drawn from; default is torch's global one.

    Attributes
    ----------
    fields, stride
        The stages' receptive fields, and the last one's stride, pixels.
    places
        For each length-scale the index of the stage that its mask follows.

    Raises
    ------
    UsageError
        For length-scales that are not positive, as many probabilities as don't
        fit, or arguments outside their range.
    """

    def __init__(
        self,
        length_scales: Sequence[float],
        n_classes: int,
        *,
        p: float | Sequence[float] = DEFAULT_P,
        dropout: float = 0.0,
        channel_dropout: float | Sequence[float] = 0.0,
        in_channels: int = 1,
        ndim: int = 2,
        width: int = 16,
        sparse: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if ndim not in _CONVOLUTIONS:
            raise UsageError(f"ndim is {ndim}", "choose 1, 2 or 3 spatial axes")
        if n_classes < 1 or in_channels < 1 or width < 1:
            raise UsageError(
                f"n_classes, in_channels, width are {n_classes}, {in_channels}, {width}",
                "choose all at least 1",
            )
        scales = tuple(length_scales)
        if not scales or not all(0 < scale < math.inf for scale in scales):
            raise UsageError(
                f"the length-scales are {scales}",
                "give at least one, all positive numbers of pixels",
            )
        masks = _one_each(p, len(scales))
        drops = _one_each(channel_dropout, len(scales))
        check_probability(dropout)
        stride = 1
        while 4 * stride <= min(scales):
            stride *= 2
        self.shrink = _POOLS[ndim](stride) if stride > 1 else nn.Identity()
        self.pool = _POOLS[ndim](2)
        self.stages = nn.ModuleList()
        self.fields: list[int] = []
        channels, field, averages = in_channels, stride, 0
        while len(self.stages) < 2 or field < BLOB * max(scales):
            kernel, step = (3, 1) if self.stages else (7, 2)
            if self.stages:
                field += stride
                stride *= 2
            wider = min(width * 2 ** len(self.stages), 4 * width)
            convolution = _CONVOLUTIONS[ndim](channels, wider, kernel, step, padding=kernel // 2)
            self.stages.append(nn.Sequential(convolution, nn.ReLU()))
            averages += wider
            field += (kernel - 1) * stride
            stride *= step
            self.fields.append(field)
            channels = wider
        self.stride = stride
        self.places = tuple(self._nearest(BLOB * scale) for scale in scales)
        for place, mask, drop in zip(self.places, masks, drops, strict=True):
            stage = self.stages[place]
            if mask > 0 and sparse:
                stage = nn.Sequential(SparseBackward(stage, mask, generator=generator))
                self.stages[place] = stage
            elif mask > 0:
                stage.append(Backdrop(mask, range(2, 2 + ndim), generator=generator))  # type: ignore[operator]
            if drop > 0:
                stage.append(_Dropout(drop, generator))  # type: ignore[operator]
        self.norm = nn.BatchNorm1d(averages)
        self.dropout = _Dropout(dropout, generator)
        self.classify = nn.Linear(averages, n_classes)

    @classmethod
    def from_recipe(cls, recipe: AnyRecipe, **arguments: Any) -> TwoScaleCNN:  # noqa: ANN401
        """Return the network for a recipe: its axes, its classes, a place a component.

        Parameters
        ----------
        recipe
            A recipe, the name of a built-in one, a path, or a dict. Each place is found by the
            mean of its component's length-scales.
        **arguments
            Passed on.

        Raises
        ------
        UsageError
            Also if the images are too small for the stages.
        """
        from gpgen.recipe import Recipe

        recipe = Recipe.load(recipe)
        arguments = {"ndim": len(recipe.shape), "n_classes": len(recipe.classes), **arguments}
        scales = length_scales_of(recipe)
        model = cls(scales, **arguments)
        if min(recipe.shape) < 2 * model.stride:
            raise UsageError(
                f"images of {' x '.join(map(str, recipe.shape))} pixels are too small for blobs "
                f"of length-scale {max(scales):g} px",
                f"use images of at least {2 * model.stride} pixels",
            )
        return model

    def _nearest(self, blob: float) -> int:
        return min(range(len(self.fields)), key=lambda stage: abs(self.fields[stage] - blob))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape ``(sample, class)``, of images ``(sample, channel, *axes)``."""
        features = self.shrink(image)
        averages = []
        for number, stage in enumerate(self.stages):
            features = stage(features if number == 0 else self.pool(features))
            averages.append(features.flatten(2).mean(2))
        logits: Tensor = self.classify(self.dropout(self.norm(torch.cat(averages, 1))))
        return logits


class _Dropout(nn.Module):
    """Dropout of whole channels, like `torch.nn.Dropout2d`, with a generator of its own."""

    def __init__(self, p: float, generator: torch.Generator | None) -> None:
        super().__init__()
        self.p = p
        self.generator = generator

    def forward(self, values: Tensor) -> Tensor:
        if isinstance(values, Proxy):
            return fx_leaf(self, values)
        if not self.training or self.p == 0:
            return values
        drawn = draw_uniform(values.shape[:2], values.device, self.generator)
        keep = (drawn >= self.p).reshape(*drawn.shape, *(1,) * (values.ndim - 2))
        return values * keep / (1 - self.p)


def _one_each(p: float | Sequence[float], count: int) -> tuple[float, ...]:
    """Return a probability for each length-scale."""
    given = (p,) if isinstance(p, int | float) else tuple(p)
    if len(given) not in (1, count):
        raise UsageError(
            f"{len(given)} probabilities for {count} length-scales", "give one, or one for each"
        )
    for one in given:
        check_probability(one)
    return given if len(given) == count else given * count
