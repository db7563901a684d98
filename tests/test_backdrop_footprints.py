"""Receptive fields behind joins, transforms and attention, against the gradient's footprint."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import backdrop
from benchmarks.architectures import ARCHITECTURES, UNet

SIDE = 48


class Calls(nn.Module):
    """A function of the input and of some layers; `out` hands on what it returns."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)
        self.out = nn.Identity()

    def forward(self, x):
        return self.out(self.function(x, *self.layers))


def conv(kernel=3, into=1, **options):
    options.setdefault("padding", options.get("dilation", 1) * (kernel // 2))
    return nn.Conv2d(into, 2, kernel, **options)


def spans_of_gradients(model, sides, positions=None):
    """For each axis: the first and last pixel with a gradient, by output position.

    Every tensor is made positive and random, so that nothing cancels and no activation is
    dead; average pooling stands in for maxima, whose gradient goes to one pixel only.
    """
    model = model.double().eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.05, 0.15)
    x = torch.rand(1, 1, *sides, dtype=torch.float64, requires_grad=True)
    out = model(x)
    spans = []
    for axis in range(len(sides)):
        ends = {}
        for i in positions or range(out.shape[2 + axis]):
            row = out.select(2 + axis, i)
            weights = torch.rand_like(row)
            (gradient,) = torch.autograd.grad((row * weights).sum(), x, retain_graph=True)
            others = [d for d in range(x.ndim) if d != 2 + axis]
            seen = (gradient != 0).sum(others).nonzero()
            if len(seen):  # a transposed convolution may leave positions out, at a border
                ends[i] = int(seen.min()), int(seen.max())
        spans.append(ends)
    return spans


def check(model, expected_size, sides=(SIDE, SIDE)):
    """The field has this size, the middle positions' gradients too, and no span misses a pixel."""
    model = model.eval()
    field = backdrop.receptive_field(model, (1, *sides))["out"]
    assert field.size == expected_size
    for axis, ends in enumerate(spans_of_gradients(model, sides)):
        n = field.shape[axis]
        middle = range(n // 4, n - n // 4) if field.stride[axis] else range(n)
        assert max(ends[i][1] - ends[i][0] + 1 for i in middle) == field.size[axis]
        for i in middle:
            first, last = field.span(*[i] * len(sides))[axis]
            assert first <= ends[i][0] <= ends[i][1] <= last
    return field


def attention(x, layer):
    y = layer(x)
    tokens = y.flatten(2).mT
    mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
    return y + mixed.mT.reshape(y.shape)


def attention_by_hand(x, layer):
    y = layer(x)
    tokens = y.flatten(2).mT
    return y + ((tokens @ tokens.mT).softmax(-1) @ tokens).mT.reshape(y.shape)


def windows(x, layer):
    # Attention within windows of 8 x 8, as in a Swin transformer.
    y = layer(x)
    parts = y.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).permute(0, 2, 4, 3, 5, 1)
    tokens = parts.reshape(-1, 64, y.shape[1])
    mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
    return mixed.reshape(parts.shape).permute(0, 5, 1, 3, 2, 4).reshape(y.shape)


def excited(x, layer):
    y = layer(x)
    return y * y.mean((2, 3), keepdim=True).sigmoid()


def in_place(x, layer):
    y = layer(x)
    out = torch.zeros_like(y)
    out[:, :, ::2] = y[:, :, ::2]
    out[:, :, 1::2].copy_(y[:, :, 1::2]).mul_(2)
    return out.add_(out.roll(4, 3)).relu_()


def rows_by_gru(x, layer, gru):
    y = layer(x)  # sample, channel, y, x: each row of pixels is a sequence
    rows, _ = gru(y.permute(0, 2, 3, 1).flatten(0, 1))
    return rows.unflatten(0, (y.shape[0], -1)).permute(0, 3, 1, 2)


ALL = (SIDE, SIDE)
CASES = {
    "roll": (Calls(lambda x, c: c(x + torch.roll(x, 8, 3)), conv(5)), (5, 13)),
    "flip": (Calls(lambda x, c: c(x).flip(3), conv()), (3, 3)),
    "sum with a flip": (Calls(lambda x, c: c(x) + c(x).flip(2), conv()), (SIDE, 3)),
    "transpose": (Calls(lambda x, c: c(x) + c(x).mT, conv()), ALL),
    "fft": (Calls(lambda x, c: torch.fft.irfft2(torch.fft.rfft2(c(x))), conv()), ALL),
    "fft of one axis": (Calls(lambda x, c: torch.fft.fft(c(x), dim=3).real, conv()), (3, SIDE)),
    "attention": (Calls(attention, conv()), ALL),
    "attention by hand": (Calls(attention_by_hand, conv()), ALL),
    "squeeze and excitation": (Calls(excited, conv()), ALL),
    "cumulative sum": (Calls(lambda x, c: c(x).cumsum(2), conv()), (SIDE, 3)),
    "gru": (Calls(rows_by_gru, conv(), nn.GRU(2, 2, batch_first=True)), (3, SIDE)),
    "softmax of positions": (Calls(lambda x, c: c(x).softmax(3), conv()), (3, SIDE)),
    "global mean": (Calls(lambda x, c: F.adaptive_avg_pool2d(c(x), 1), conv()), ALL),
    "nearest": (Calls(lambda x, c: F.interpolate(c(x), scale_factor=2), conv()), (3, 3)),
    "nearest, convolution": (
        Calls(lambda x, c, d: d(F.interpolate(c(x), scale_factor=2)), conv(), conv(into=2)),
        (4, 4),
    ),
    "bilinear": (
        Calls(lambda x, c: F.interpolate(c(x), scale_factor=2, mode="bilinear"), conv(stride=2)),
        (5, 5),
    ),
    "bicubic": (
        Calls(lambda x, c: F.interpolate(c(x), scale_factor=2, mode="bicubic"), conv(stride=2)),
        (9, 9),
    ),
    "transposed": (
        Calls(lambda x, c, d: d(c(x)), conv(stride=4), nn.ConvTranspose2d(2, 2, 4, 2, 1)),
        (7, 7),
    ),
    "transposed, dilated": (
        Calls(
            lambda x, c, d: d(c(x)),
            conv(stride=3),
            nn.ConvTranspose2d(2, 2, 3, 3, 2, output_padding=1, dilation=2),
        ),
        (3, 3),  # each position is reached from one position only
    ),
    "dilated": (Calls(lambda x, c: c(x), conv(dilation=3)), (7, 7)),
    "skip by cat": (
        Calls(lambda x, c, d: torch.cat([c(x), d(c(x))], 1), conv(5), conv(3, into=2)),
        (7, 7),
    ),
    "windows of attention": (Calls(windows, nn.Conv2d(1, 2, 1)), ALL),
    "in place": (Calls(in_place, conv()), (3, 7)),
    "slices": (Calls(lambda x, c: c(x)[:, :, 1:, 2:] - c(x)[:, :, :-1, :-2], conv()), (4, 5)),
    "pixel shuffle": (
        Calls(lambda x, c: F.pixel_shuffle(torch.cat([c(x), c(x)], 1), 2), conv()),
        (3, 3),
    ),
    "unfold": (
        Calls(lambda x, c: F.unfold(c(x), 3, padding=1).unflatten(2, x.shape[2:]).sum(1), conv()),
        None,
    ),
    "per-channel fields": (
        Calls(lambda x, c, d: torch.cat([c(x), d(x)], 1)[:, :2], conv(3), conv(7)),
        (3, 3),
    ),
}


SLOW = ("attention", "attention by hand", "gru")
USUAL = [name for name in CASES if name not in ("unfold", "windows of attention", *SLOW)]


@pytest.mark.parametrize(
    "name", [*USUAL, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_the_field_is_what_the_gradient_shows(name):
    model, size = CASES[name]
    check(model, size)


@pytest.mark.parametrize(("side", "size"), [(24, 24), (32, 13), (64, 13), (256, 13)])
def test_a_roll_counts_by_its_distance_unless_it_reaches_the_middle(side, size):
    # Positions up to 9 look at the other side; of 24 pixels' middle that is the first.
    model, _ = CASES["roll"]
    field = backdrop.receptive_field(model.float(), (1, side, side))["out"]
    assert (field.size[0], field.stride[0]) == (5, 1)
    assert (field.size[1], field.local) == (size, size == 13)


def test_a_window_of_attention_sees_its_own_pixels_only():
    # 8 positions share one window of 8 pixels, so fields begin up to 7 pixels off the stride.
    model = Calls(windows, nn.Conv2d(1, 2, 1))
    field = check(model, (8, 8))
    assert field.stride == (1, 1)
    assert field.slack == (7, 7)


def test_a_unet_s_head_sees_what_the_deepest_map_shows_it(monkeypatch):
    model = UNet()
    field = backdrop.receptive_field(model, (1, 128, 128))["head"]
    # Average pooling in place of the maxima, positive weights: the gradient's own footprint.
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)
    positions = range(60, 68)  # two periods of the deepest map
    ends = spans_of_gradients(model, (128, 128), positions)[0]
    assert field.size[0] == max(last - first + 1 for first, last in ends.values())
    for i, (low, high) in ends.items():
        first, last = field.span(i, i)[0]
        assert first <= low <= high <= last


def test_maps_finer_than_the_input_have_a_fraction_for_stride():
    model, _ = CASES["nearest"]
    field = backdrop.receptive_field(model, (1, SIDE, SIDE))["out"]
    assert field.stride == (Fraction(1, 2),) * 2
    assert field.span(0, 5) == ((-1, 1), (1, 3))


def test_channels_may_come_last():
    model = Calls(lambda x, c: c(x).permute(0, 2, 3, 1), conv(stride=2))
    field = backdrop.receptive_field(model, (1, 20, 30))["out"]
    assert (field.size, field.stride, field.shape, field.axis) == ((3, 3), (2, 2), (10, 15), 1)


def test_an_operation_that_is_not_known_sees_everything():
    def sample(x, layer):
        return F.grid_sample(layer(x), torch.zeros(1, 12, 12, 2), align_corners=False)

    field = backdrop.receptive_field(Calls(sample, conv()), (1, SIDE, SIDE))["out"]
    assert field.size == ALL
    assert not field.local


@pytest.mark.parametrize("name", ["transformer over time", "GRU behind convolutions"])
def test_sequences_after_attention_or_recurrence_see_everything(name):
    build, shape, _, _ = ARCHITECTURES[name]
    fields = backdrop.receptive_field(build(), shape)
    last = [field for layer, field in fields.items() if layer.startswith("encoder.layers.1")]
    assert all(field.size == shape[1:] for field in last)
    assert fields["patches" if last else "convolutions.0"].local


def test_normalizations_statistics_do_not_count():
    for norm in (nn.BatchNorm2d(2), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2)):
        field = backdrop.receptive_field(nn.Sequential(conv(), norm), (1, 16, 16))["1"]
        assert field.size == (3, 3)
