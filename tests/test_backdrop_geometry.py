"""Receptive fields, against what really reaches and what really leaves a position."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import backdrop
from backdrop.geometry import ReceptiveField
from gpgen.errors import UsageError

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


def output_of(model, name, x):
    """The output of the submodule `name`."""
    found = []
    handle = model.get_submodule(name).register_forward_hook(lambda m, a, y: found.append(y))
    model(x)
    handle.remove()
    return found[0]


def check_extent(seen, field, position, sides):
    """`seen` spans the field where that lies inside the image; else at most what is inside."""
    spans = field.span(*position)
    inside = all(a >= 0 and b < n for (a, b), n in zip(spans, sides, strict=True))
    if not inside and not seen.any():
        return
    index = seen.nonzero()
    low, high = index.min(0).values.tolist(), index.max(0).values.tolist()
    for first, last, (a, b) in zip(low, high, spans, strict=True):
        assert (first, last) == (a, b) if inside else a <= first <= last <= b, position


def corners_and_middle(shape):
    return {
        *itertools.product(*[(0, n - 1) for n in shape]),
        tuple(n // 2 for n in shape),
    }


def check_gradient_footprint(model, fields, sides):
    """The input pixels with a gradient are the field.

    All weights are positive, so that no contributions cancel.
    """
    model.double().eval()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    for name, field in fields.items():
        x = torch.ones(1, 1, *sides, dtype=torch.float64, requires_grad=True)
        y = output_of(model, name, x)
        assert tuple(y.shape[2:]) == field.shape
        for position in corners_and_middle(field.shape):
            (gradient,) = torch.autograd.grad(y[(0, 0, *position)], x, retain_graph=True)
            check_extent(gradient[0, 0] != 0, field, position, sides)


layer = st.tuples(
    st.sampled_from(["conv", "same", "pool", "relu"]),
    st.tuples(*[st.integers(1, 3)] * 3),  # kernel, an axis each
    st.integers(1, 3),  # stride
    st.integers(0, 2),  # padding
    st.integers(1, 2),  # dilation
)


def build(ndim, channels, kind, kernel, stride, padding, dilation):
    if kind == "conv" or channels == 1:
        return CONV[ndim](channels, 2, kernel[:ndim], stride, padding, dilation)
    if kind == "same":
        return CONV[ndim](channels, 2, kernel[:ndim], padding="same", dilation=dilation)
    if kind == "pool":
        return AVG[ndim](kernel[0], stride, kernel[0] // 2, ceil_mode=padding == 0)
    return nn.ReLU()


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(layer, min_size=1, max_size=4), st.sampled_from([1, 2, 2, 3]))
def test_the_field_is_the_footprint_of_the_gradient(parameters, ndim):
    sides = {1: (40,), 2: (23, 30), 3: (13, 15, 12)}[ndim]
    model = nn.Sequential()
    for each in parameters:
        trial = nn.Sequential(*model, build(ndim, 2 if len(model) else 1, *each))
        with contextlib.suppress(RuntimeError):  # the map has become too small for the layer
            trial(torch.zeros(1, 1, *sides))
            model = trial
    fields = backdrop.receptive_field(model, (1, *sides))
    assert list(fields) == [name for name, _ in model.named_children()]
    check_gradient_footprint(model, fields, sides)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 3, padding=1)
        self.conv2 = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.conv2(self.relu(self.conv1(x))))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.small = nn.Conv2d(2, 1, 3, padding=1)
        self.large = nn.Conv2d(2, 1, 5, padding=2)

    def forward(self, x):
        return torch.cat([self.large(x), self.small(x)], dim=1)


def test_branches_join_and_functions_count():
    model = nn.Sequential(nn.Conv2d(1, 2, 4, 2, 1), Residual(), Branches(), nn.AvgPool2d(2))
    fields = backdrop.receptive_field(model, (1, 40, 40))
    assert list(fields) == (
        ["0", "1.conv1", "1.relu", "1.conv2", "1.relu:2", "1", "2.large", "2.small", "2", "3"]
    )
    # By hand: 4; 4 + 2*2 = 8; + 4*2 = 16 and the sum with the shortcut's 4 stays 16;
    # 5 x 5 adds 4*2, 3 x 3 adds 2*2, their union is the larger; pooling adds 2.
    sizes = [field.size[0] for field in fields.values()]
    assert sizes == [4, 8, 8, 16, 16, 16, 24, 20, 24, 26]
    once = {name: field for name, field in fields.items() if not name.startswith("1.relu")}
    check_gradient_footprint(model, once, (40, 40))


@pytest.mark.slow
def test_max_pooling_and_padding_modes_against_spreading_nan():
    # The gradient of a maximum goes to one pixel only. A NaN instead reaches every position
    # that looks at its pixel, through maxima as well.
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="replicate"),
        nn.BatchNorm2d(2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.MaxPool2d(2, dilation=2, return_indices=False),
        nn.ZeroPad2d((1, 2, 3, 0)),
        nn.Conv2d(2, 2, (1, 3), stride=(1, 2)),
    ).eval()
    sides = (24, 31)
    fields = backdrop.receptive_field(model, (1, *sides))
    assert list(fields) == ["0", "1", "2", "3", "4", "5"]
    for name, field in fields.items():
        reach = torch.zeros(*sides, *field.shape, dtype=torch.bool)
        for pixel in itertools.product(*map(range, sides)):
            x = torch.zeros(1, 1, *sides)
            x[(0, 0, *pixel)] = torch.nan
            reach[pixel] = output_of(model, name, x)[0].isnan().any(0)
        for position in itertools.product(*map(range, field.shape)):
            check_extent(reach[(..., *position)], field, position, sides)


def test_what_is_no_map_of_the_input_is_left_out():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(4), nn.Upsample(scale_factor=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2),
    )  # fmt: skip
    fields = backdrop.receptive_field(model, (1, 18, 18))
    assert fields == {
        "0": ReceptiveField((3, 3), (1, 1), (0, 0), (16, 16)),
        "1": ReceptiveField((6, 6), (4, 4), (0, 0), (4, 4)),
        # Two positions each look at the same 6 pixels.
        "2": ReceptiveField((6, 6), (2, 2), (-2, -2), (8, 8), slack=(2, 2)),
        "3": ReceptiveField((18, 18), (0, 0), (0, 0), (1, 1)),
    }


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    random = torch.get_rng_state()
    backdrop.receptive_field(model, (1, 8, 8))
    assert [m.training for m in model] == [True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("model", "shape", "what"),
    [
        (nn.Linear(8, 2), (1, 8), "no convolution"),
        (nn.Conv2d(3, 2, 3), (1, 8, 8), r"failed on an input of shape \(1, 1, 8, 8\)"),
        (nn.Conv2d(1, 2, 3), (1, 2, 2), "failed on an input"),
        (nn.Conv2d(1, 2, 3), (8,), "without the batch"),
    ],
)
def test_what_it_cannot_do_is_refused(model, shape, what):
    with pytest.raises(UsageError, match=what):
        backdrop.receptive_field(model, shape)
