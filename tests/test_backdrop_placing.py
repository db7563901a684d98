"""Where masks are put."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import backdrop
from backdrop import masks_of
from gpgen.errors import UsageError


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(0)


def network():
    # Receptive fields after the activations: 3 (1 1), 4 (pool), 8, 10 (pool), 18.
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(inplace=True), nn.AvgPool2d(2),
        nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(inplace=True), nn.AvgPool2d(2),
        nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4),
    )  # fmt: skip


def test_masks_go_after_the_nearest_receptive_field_and_it_says_where():
    model = network()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)  # no activation is dead
    new, places = backdrop.insert(model, {15: 0.9, 8.4: 0.5})
    assert [(p.length_scale, p.p, p.layer) for p in places] == [(8.4, 0.5, "4"), (15, 0.9, "7")]
    assert [p.receptive_field.size for p in places] == [(8, 8), (18, 18)]
    assert str(places[0]) == (
        "length-scale 8.4 px, p = 0.5: after '4', receptive field 8 x 8 px, "
        f"blocks {places[0].blocked:.0%} of the input's gradient"
    )
    assert {name: (m.p, m.dims) for name, m in masks_of(new).items()} == {
        "4": (0.5, (2, 3)),
        "7": (0.9, (2, 3)),
    }


def test_the_original_is_untouched_and_the_copy_computes_the_same():
    model = network()
    before = copy.deepcopy(model.state_dict())
    new, _ = backdrop.insert(model, {3: 0.5})
    assert masks_of(model) == {}
    assert list(new.state_dict()) == list(before)
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(new(x), model(x))
    new.load_state_dict(before)


def test_the_default_device_is_not_the_models():
    expected = backdrop.insert(network(), {8.4: 0.5, 15: 0.9})[1]
    torch.manual_seed(0)
    model = network()
    with torch.device("meta"):  # a device that computes nothing stands for a GPU
        assert [str(place) for place in backdrop.insert(model, {8.4: 0.5, 15: 0.9})[1]] == [
            str(place) for place in expected
        ]


def test_the_inserted_mask_blocks_the_gradient_there():
    new, (place,) = backdrop.insert(network(), {10: 0.5})
    assert place.layer == "5"
    keep = torch.zeros(4, 4)
    keep[1, 2] = 1
    masks_of(new)["5"].fix(keep)
    x = torch.ones(1, 1, 16, 16, requires_grad=True)
    nn.init.ones_(new[0].weight)
    nn.init.ones_(new[3].weight)
    nn.init.ones_(new[6].weight)
    nn.init.ones_(new[10].weight)
    new(x).sum().backward()
    (y0, y1), (x0, x1) = place.receptive_field.span(1, 2)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = True
    assert torch.equal(x.grad[0, 0] != 0, inside)
    eval_grad = torch.autograd.grad(new.eval()(x).sum(), x)[0]
    assert bool((eval_grad != 0).all())


def test_a_recipe_names_the_length_scales(small):
    assert backdrop.placing.length_scales_of(small) == (2.25, 10.0)
    _, places = backdrop.insert(network(), small, p=0.8)
    assert [(p.length_scale, p.p, p.layer) for p in places] == [(2.25, 0.8, "1"), (10.0, 0.8, "5")]
    assert places[1].receptive_field.shape == (8, 8)  # of the recipe's 32 x 32


def test_a_residual_block_is_masked_behind_its_sum():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(x + self.relu(self.conv(x)))

    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), Block())
    new, (place,) = backdrop.insert(model, {5: 0.5}, (1, 16, 16))
    assert place.layer == "2"
    keep = torch.zeros(16, 16)
    keep[8, 8] = 1
    masks_of(new)["2"].fix(keep)
    x = torch.ones(1, 1, 16, 16, requires_grad=True)
    new(x).sum().backward()
    assert int((x.grad[0, 0] != 0).sum()) <= 25


@pytest.mark.parametrize("ndim", [1, 3])
def test_one_and_three_dimensions(ndim):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[ndim]
    model = nn.Sequential(conv(1, 2, 3, padding=1), nn.ReLU(), conv(2, 2, 3, padding=1))
    new, (place,) = backdrop.insert(model, {3: 0.5})
    assert place.layer == "1"
    assert masks_of(new)["1"].dims == tuple(range(2, 2 + ndim))
    new(torch.ones(1, 1, *[8] * ndim)).sum().backward()


@pytest.mark.parametrize(
    ("model", "masks", "what"),
    [
        (nn.Sequential(nn.Linear(4, 4)), {3: 0.5}, "no convolution layer"),
        (network(), {50: 0.5}, r"50 px is larger than any receptive field.*18 px"),
        (network(), {8: 0.5, 8.2: 0.5}, "both nearest to layer '4'"),
        (network(), {3: 1.0}, "p is 1.0"),
        (network(), {-3: 0.5}, "not positive"),
        (network(), {}, "no length-scale"),
    ],
)
def test_what_it_cannot_do_is_refused(model, masks, what):
    with pytest.raises(UsageError, match=what):
        backdrop.insert(model, masks)


def test_a_second_mask_in_one_place_is_refused():
    once, _ = backdrop.insert(network(), {8: 0.5})
    with pytest.raises(UsageError, match="layer '4' has a mask already"):
        backdrop.insert(once, {8: 0.5})


def test_a_model_of_fixed_size_asks_for_the_input_shape():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 2))
    with pytest.raises(UsageError, match="give input_shape"):
        backdrop.insert(model, {3: 0.5})
    assert backdrop.insert(model, {3: 0.5}, (1, 8, 8)).places[0].layer == "0"
