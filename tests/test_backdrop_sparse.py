"""SparseBackward's gradients are those of the stem followed by a mask."""

from __future__ import annotations

import warnings

import pytest
import torch
from sparse_support import (
    AWKWARD,
    SHAPES,
    STEMS,
    chain,
    compare,
    conv,
    doubles,
    largest_difference,
    stem_of_three,
    trained,
)
from torch import nn

import backdrop
from backdrop import Backdrop, SparseBackward, SparseBackwardWarning
from backdrop.crops import Crops

pytestmark = pytest.mark.filterwarnings("ignore::backdrop.SparseBackwardWarning")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", STEMS)
def test_the_gradients_are_those_of_the_mask(name, dtype, tolerance):
    torch.manual_seed(0)
    stem = STEMS[name]().to(dtype)
    for shape in SHAPES.get(name, AWKWARD):
        difference, layer = compare(stem, torch.randn(shape, dtype=dtype))
        assert difference < tolerance
        assert 0 < layer.last_mask.float().mean() < 0.5


@pytest.mark.parametrize("name", STEMS)
def test_patches_taken_at_once_as_on_a_gpu(name, monkeypatch):
    monkeypatch.setattr(Crops, "of", Crops.at_once)
    stem = STEMS[name]().to(torch.float64)
    shape = SHAPES.get(name, AWKWARD)[0]
    assert compare(stem, torch.randn(shape, dtype=torch.float64))[0] < 1e-12
    assert compare(stem, torch.randn(shape, dtype=torch.float64), tile=16)[0] < 1e-12


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("dims", [None, (2,), (-1,), (0,), (0, 3), (0, 2, 3)])
@pytest.mark.parametrize("inner", [None, (2, 3), (0,), (1, 2)])
def test_masks_over_any_dimensions_and_masks_inside(inner, dims, per_sample):
    stem = stem_of_three()
    if inner:
        stem.insert(2, Backdrop(0.5, inner, per_sample))
    difference, _ = compare(stem, doubles(4, 2, 48, 40), p=0.8, dims=dims, per_sample=per_sample)
    assert difference < 1e-12


@pytest.mark.parametrize("p", [0, 0.2, 0.5, 0.99, 0.9999])
def test_any_p_also_where_patches_cover_everything(p):
    assert compare(stem_of_three(), doubles(3, 2, 40, 40), p=p)[0] < 1e-12
    assert compare(stem_of_three(), doubles(3, 2, 40, 40), p=p, tile=16)[0] < 1e-12


@pytest.mark.parametrize("side", [1, 2, 5, 9])
def test_images_smaller_than_a_field_of_view(side):
    assert compare(stem_of_three(), doubles(2, 2, side, 3 * side))[0] < 1e-12


@pytest.mark.parametrize(
    "name",
    ["tiling, padded", "unpadded", "pooled", "finer again", "residual, masked inside", "one axis"],
)
@pytest.mark.parametrize("tile", [1, 16, 1000])
def test_tiles_change_nothing(name, tile):
    torch.manual_seed(0)
    stem = STEMS[name]().double()
    for shape in SHAPES.get(name, AWKWARD[1:]):
        assert compare(stem, doubles(*shape), tile=tile)[0] < 1e-12
    with torch.no_grad():
        images = doubles(*shape)
        torch.testing.assert_close(SparseBackward(stem, tile=tile).eval()(images), stem(images))


def test_many_small_images_and_small_groups(monkeypatch):
    monkeypatch.setattr(backdrop.sparse, "_ON_A_CPU", 1000)
    assert compare(stem_of_three(), doubles(20, 2, 24, 24), p=0.7)[0] < 1e-12


def test_large_images_go_forward_in_parts_on_a_cpu(monkeypatch):
    monkeypatch.setattr(backdrop.sparse, "_TILE_ON_A_CPU", 64**2)
    stem = stem_of_three()
    assert compare(stem, doubles(2, 2, 200, 90))[0] < 1e-12
    stem.insert(1, Backdrop(0.5))
    assert compare(stem, doubles(2, 2, 200, 90))[0] < 1e-12  # a mask inside: in one


def test_keep_lets_exactly_so_many_through_and_scales_them():
    stem, images = stem_of_three(), doubles(3, 2, 64, 64)
    layer = SparseBackward(stem, keep=3)
    found = trained(stem, layer, images)
    assert layer.last_mask.sum((1, 2, 3)).tolist() == [3, 3, 3]
    plain = chain(stem, Backdrop().fix(layer.last_mask[:, 0]))
    assert largest_difference(trained(stem, plain, images), found) < 1e-12
    one_mask = SparseBackward(stem, keep=5, dims=(0, 2))
    trained(stem, one_mask, images)
    assert one_mask.last_mask.shape == (3, 1, 8, 1)
    assert int(one_mask.last_mask.sum()) == 5
    kept = torch.zeros(8, 8)
    for _ in range(60):
        layer(images)
        kept += layer.last_mask.sum((0, 1))
    assert (kept > 0).all()  # every position in turn


def test_a_fixed_mask_and_a_generator():
    stem, images = stem_of_three(), doubles(2, 2, 64, 64)
    keep = torch.zeros(8, 8)
    keep[2, 3:5] = keep[7, 0] = 1
    layer = SparseBackward(stem)
    layer.mask.fix(keep)
    plain = chain(stem, Backdrop().fix(keep))
    expected = trained(stem, plain, images)
    assert largest_difference(expected, trained(stem, layer, images)) < 1e-12
    masks = []
    for seed in (3, 3, 4):
        layer = SparseBackward(stem, generator=torch.Generator().manual_seed(seed))
        layer(images)
        masks.append(layer.last_mask)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    layer.p = 0.5
    assert layer.mask.p == layer.p == 0.5


def test_random_numbers_are_drawn_as_by_the_mask_also_without_a_gradient():
    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    stem.insert(1, Backdrop(0.5))
    states = []
    for layer in (chain(stem, Backdrop(0.9)), SparseBackward(stem, 0.9)):
        for context in (torch.enable_grad(), torch.no_grad()):
            torch.manual_seed(1)
            with context:
                layer(images)
            states.append(torch.get_rng_state())
    assert all(torch.equal(states[0], state) for state in states)


def test_eval_mode_is_the_stem_with_its_gradient():
    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    for layer in (SparseBackward(stem, 0.9).eval(), SparseBackward(stem, 0.9, tile=16).eval()):
        assert largest_difference(trained(stem, stem, images), trained(stem, layer, images)) == 0
    layer = SparseBackward(stem, 0.9)
    with torch.no_grad():
        assert not layer(images).requires_grad


def test_the_images_gradient_reaches_what_comes_before():
    torch.manual_seed(0)
    before = conv(2, 2, 3, padding=1).double()
    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    both = nn.ModuleList([before, stem])
    expected = trained(both, chain(before, stem, Backdrop(0.9)), images)
    found = trained(both, chain(before, SparseBackward(stem, 0.9)), images)
    assert largest_difference(expected, found) < 1e-12
    for p in stem.parameters():
        p.requires_grad_(False).grad = None
    layer = SparseBackward(stem, 0.9)
    expected = trained(before, chain(before, stem, Backdrop(0.9)), images)
    assert largest_difference(expected, trained(before, chain(before, layer), images)) < 1e-12
    assert all(p.grad is None for p in stem.parameters())


def test_frozen_and_shared_parameters_and_hooks_on_them():
    torch.manual_seed(0)
    shared = conv(2, 2, 3, 2, 1)
    stem = chain(shared, nn.ReLU(), shared, nn.Tanh(), conv(2, 3, 3)).double()
    stem[4].weight.requires_grad_(False)
    calls = []
    shared.weight.register_hook(lambda g: calls.append(1) or g * 0.5)
    images = doubles(2, 2, 50, 40)
    for layer in (chain(stem, Backdrop(0.8)), SparseBackward(stem, 0.8)):
        stem.zero_grad()
        torch.manual_seed(2)
        layer(images).sin().sum().backward()
        assert stem[4].weight.grad is None
        if len(calls) == 1:
            expected = shared.weight.grad.clone()
    torch.testing.assert_close(shared.weight.grad, expected, rtol=1e-12, atol=0)
    assert len(calls) == 2


def test_gradients_add_up_over_steps_and_what_follows_may_work_in_place():
    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    found = []
    for layer in (chain(stem, Backdrop(0.8)), SparseBackward(stem, 0.8)):
        stem.zero_grad()
        torch.manual_seed(2)
        for _ in range(2):
            torch.relu_(layer(images)).sum().backward()
        found.append([p.grad.clone() for p in stem.parameters()])
    assert largest_difference(*found) < 1e-12


def test_another_layer_in_the_stem_is_noticed():
    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    layer = SparseBackward(stem, 0.9)
    layer(images)
    stem[2] = conv(4, 4, 5, 3, 0).double()
    plain = chain(stem, Backdrop(0.9))
    expected = trained(stem, plain, images)
    assert largest_difference(expected, trained(stem, layer, images)) < 1e-12


def test_the_forward_pass_keeps_no_activations():
    stem, images = stem_of_three(), doubles(2, 2, 64, 64)
    own = {t.data_ptr() for t in (images, *stem.parameters())}
    kept = []
    layer = SparseBackward(stem, 0.9)
    layer(images)  # the first pass compares a few patches
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(images)
    assert kept
    assert {t.data_ptr() for t in kept} <= own


def test_a_warning_where_the_plain_layer_is_cheaper():
    stem, images = stem_of_three(), doubles(2, 2, 64, 64)
    with pytest.warns(SparseBackwardWarning, match=r"hold \d\.\d times the pixels.*Backdrop"):
        SparseBackward(stem, 0.1)(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SparseBackward(stem, 0.99)(images)
