"""What the tests of the layer under torch share."""

from __future__ import annotations

import torch
from torch import nn

from backdrop import Backdrop
from backdrop.functional import backdrop

KEEP = torch.tensor([[1, 0, 0], [0, 1, 1]])
SCALE = KEEP * 2.0


def masked(x):
    return backdrop(x, mask=KEEP)


def randn(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def gradient(function, x, incoming=None):
    x = x.detach().requires_grad_()
    y = function(x)
    (found,) = torch.autograd.grad(y, x, torch.ones_like(y) if incoming is None else incoming)
    return found


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), Backdrop(0.5), nn.ReLU(inplace=True), nn.AvgPool2d(4)
    )


def is_a_mask_over_its_mean(found):
    one = found[:, :1]
    kept = (one != 0).sum((1, 2, 3), keepdim=True)
    expected = (one != 0) * (one[0].numel() / kept)
    torch.testing.assert_close(found, expected.expand_as(found))
    return 0 < int(kept.min()) <= int(kept.max()) < one[0].numel()
