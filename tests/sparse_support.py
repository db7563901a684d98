"""Stems, and gradients compared, for the tests of SparseBackward."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations

from backdrop import Backdrop, SparseBackward


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.branch = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))
        self.mask = Backdrop(0.3)

    def forward(self, x):
        return self.mask(x + self.branch(x))


class OverChannels(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


def chain(*layers):
    return nn.Sequential(*layers)


def conv(*a, **k):
    return nn.Conv2d(*a, **k)


STEMS = {
    "tiling": lambda: chain(conv(2, 4, 4, 4), nn.ReLU(), conv(4, 5, 2, 2), nn.Tanh()),
    "tiling, padded": lambda: chain(conv(2, 4, 5, 2, 2), nn.ReLU(), conv(4, 4, 2, 2), nn.ReLU()),
    "overlapping": lambda: chain(
        conv(2, 4, 3, 2, 1), nn.ReLU(), conv(4, 4, 3, 2, 1), nn.ReLU(), conv(4, 3, 3, 2, 1)
    ),
    "unpadded": lambda: chain(conv(2, 4, 5, 2), nn.ReLU(), conv(4, 4, 3, 1)),
    "dilated": lambda: chain(
        conv(2, 4, 3, 1, 2, dilation=2), nn.GELU(), nn.MaxPool2d(2), conv(4, 4, 3, 1, 1)
    ),
    "pooled": lambda: chain(
        conv(2, 4, 3, padding=1),
        nn.ReLU(True),
        nn.AvgPool2d(3, 2, 1),
        nn.MaxPool2d(2, ceil_mode=True),
        conv(4, 4, 1),
    ),
    "pooled first": lambda: chain(nn.AvgPool2d(2), conv(2, 4, 3, 2, 1), nn.ReLU(True)),
    "reflecting": lambda: chain(
        conv(2, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU(), conv(4, 4, 3, 2, 1)
    ),
    "finer again": lambda: chain(
        conv(2, 4, 4, 4), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, 2), conv(4, 3, 3, padding=1)
    ),
    "gaps": lambda: chain(conv(2, 4, 1, 3), nn.ReLU(), conv(4, 4, (2, 3), (3, 1), (0, 2))),
    "residual, masked inside": lambda: chain(
        conv(2, 4, 3, 2, 1),
        Residual(4),
        conv(4, 4, 3, 2, 1),
        Backdrop(0.5, (3,)),
        conv(4, 2, 1, padding=1),
    ),
    "normalized over channels": lambda: chain(
        conv(2, 4, 2, 2),
        OverChannels(4),
        nn.BatchNorm2d(4).eval(),
        chain(conv(4, 4, 3, 2, 1, groups=2), nn.SiLU()),
    ),
    "weights normalized": lambda: chain(
        parametrizations.weight_norm(conv(2, 4, 3, 2, 1)), conv(4, 4, 2, 2, bias=False)
    ),
    "one axis": lambda: chain(
        nn.Conv1d(2, 4, 5, 2, 2), nn.ReLU(), nn.MaxPool1d(3, 2), nn.Conv1d(4, 4, 3)
    ),
    "three axes": lambda: chain(
        nn.Conv3d(2, 3, 3, 2, 1), nn.ReLU(), nn.AvgPool3d(2), nn.Conv3d(3, 2, 2)
    ),
}


SHAPES = {"one axis": [(3, 2, 150)], "three axes": [(2, 2, 24, 21, 26)]}


AWKWARD = [(3, 2, 64, 48), (2, 2, 37, 50)]


def trained(stem, layer, images, seed=5):
    """The output, and the gradients of the images and of all parameters."""
    x = images.clone().requires_grad_()
    stem.zero_grad()
    torch.manual_seed(seed)
    output = layer(x)
    output.float().sin().sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in stem.parameters())]


def largest_difference(expected, found):
    """Relative to the largest entry of each tensor."""
    return max(
        float((a - b).abs().max() / a.abs().max().clamp(min=1e-30))
        for a, b in zip(expected, found, strict=True)
    )


def compare(stem, images, *, p=0.9, seed=5, **settings):
    dims = settings.get("dims") or tuple(range(2, images.ndim))
    plain = chain(stem, Backdrop(p, dims, settings.get("per_sample", True)))
    layer = SparseBackward(stem, p, **settings)
    expected = trained(stem, plain, images, seed)
    return largest_difference(expected, trained(stem, layer, images, seed)), layer


def stem_of_three():
    torch.manual_seed(0)
    return STEMS["overlapping"]().double()


def doubles(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
