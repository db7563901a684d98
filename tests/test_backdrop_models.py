"""The baseline network: where it looks, where its masks are, what it refuses."""

from __future__ import annotations

import pytest
import torch

import backdrop
from backdrop import Backdrop
from backdrop.models import BLOB, TwoScaleCNN
from backdrop.placing import length_scales_of
from backdrop.training import Settings
from backdrop.training.network import network
from gpgen import Recipe
from gpgen.errors import UsageError

SCALES = [2.25, 6.5]


def masks_in(model):
    return [module for module in model.modules() if isinstance(module, Backdrop)]


def test_stages_have_the_receptive_fields_that_their_gradients_show():
    model = TwoScaleCNN(SCALES, 4, width=2)
    image = torch.randn(1, 1, 128, 128, requires_grad=True)
    features = model.shrink(image)
    for number, (stage, field) in enumerate(zip(model.stages, model.fields, strict=True)):
        features = stage[0](features if number == 0 else model.pool(features))
        middle = features.shape[-1] // 2
        (gradient,) = torch.autograd.grad(
            features[0, :, middle, middle].sum(), image, retain_graph=True
        )
        touched = gradient[0, 0].abs().sum(0).nonzero()
        assert int(touched.max() - touched.min()) + 1 == field


@pytest.mark.parametrize("name", ["two-scale", "two-scale-mini", "three-scale"])
def test_places_are_the_stages_nearest_to_the_blobs(name):
    recipe = Recipe.load(name)
    model = TwoScaleCNN.from_recipe(recipe, width=2, p=0.5)
    found = backdrop.receptive_field(model, (1, *recipe.shape))
    sizes = [found[f"stages.{stage}.0"].size[0] for stage in range(len(model.stages))]
    scales = backdrop.placing.length_scales_of(recipe)
    assert len(masks_in(model)) == len(scales)
    for scale, place in zip(scales, model.places, strict=True):
        off = [abs(size - BLOB * scale) for size in sizes]
        assert off[place] == min(off)
        assert any(isinstance(layer, Backdrop) for layer in model.stages[place])


def test_what_was_tuned_masks_only_the_largest_length_scale():
    for name in ("two-scale-mini", "three-scale"):
        recipe = Recipe.load(name)
        model = network(recipe, Settings.tuned("backdrop"), 0)
        (mask,) = masks_in(model)
        assert mask.p == 0.99
        scales = length_scales_of(recipe)
        assert mask in list(model.stages[model.places[scales.index(max(scales))]])


def test_the_coarse_mask_blocks_the_coarse_way_and_leaves_the_fine_one():
    model = TwoScaleCNN(SCALES, 4, width=2, p=(0, 0.99)).train()
    keep = torch.zeros(8, 8)
    keep[0, 0] = 1
    (mask,) = masks_in(model)
    mask.fix(keep)
    image = torch.randn(4, 1, 32, 32, requires_grad=True)
    coarse = model.stages[model.places[1]][0]
    seen = []
    coarse.register_full_backward_hook(lambda *a: seen.append(a[2][0]))
    first = model.stages[0][0]
    first.register_full_backward_hook(lambda *a: seen.append(a[2][0]))
    model(image)[:, 0].square().sum().backward()
    through_coarse, through_fine = (gradient.abs().sum((0, 1)) for gradient in seen)
    assert bool(through_coarse[0, 0] != 0)
    assert int((through_coarse != 0).sum()) == 1
    assert bool((through_fine[-4:, -4:] != 0).any())


def test_channels_are_dropped_whole_and_their_mean_is_kept():
    generator = torch.Generator().manual_seed(0)
    model = TwoScaleCNN(
        SCALES, 4, width=8, p=0.0, channel_dropout=(0.0, 0.6), generator=generator
    ).train()
    stage = model.stages[model.places[1]]
    maps = torch.ones(500, 16, 4, 4)
    dropped = stage[-1](maps)
    each = dropped.flatten(2)
    assert torch.equal(each.amax(2), each.amin(2))
    # Mean of 8,000 values that are 2.5 with probability 0.4: five standard errors.
    assert abs(float(each[..., 0].mean()) - 1) < 5 * 2.5 * (0.4 * 0.6 / 8000) ** 0.5
    model.eval()
    assert stage[-1](maps) is maps


def test_the_network_follows_the_recipe_s_classes_and_axes():
    recipe = Recipe.load("two-scale-mini")
    model = TwoScaleCNN.from_recipe(recipe, p=(0.2, 0.7), width=2)
    assert model(torch.ones(3, 1, 64, 64)).shape == (3, 4)
    assert [mask.p for mask in masks_in(model)] == [0.2, 0.7]
    assert TwoScaleCNN([3, 9], 2, ndim=1, width=2)(torch.ones(2, 1, 64)).shape == (2, 2)
    assert TwoScaleCNN([2, 3], 2, ndim=3, width=2)(torch.ones(2, 1, 8, 8, 8)).shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"length_scales": []}, "length-scales are"),
        ({"length_scales": [0, 3]}, "length-scales are"),
        ({"length_scales": [3, float("inf")]}, "length-scales are"),
        ({"p": (0.5, 0.5, 0.5)}, "3 probabilities for 2 length-scales"),
        ({"p": 1.0}, "p is 1.0"),
        ({"dropout": -0.5}, "p is -0.5"),
        ({"channel_dropout": (0.5, 1.0)}, "p is 1.0"),
        ({"ndim": 4}, "ndim is 4"),
        ({"n_classes": 0}, "n_classes"),
    ],
)
def test_a_network_that_cannot_be_is_refused(arguments, what):
    with pytest.raises(UsageError, match=what):
        TwoScaleCNN(**{"length_scales": [3, 9], "n_classes": 2, **arguments})


def test_images_too_small_for_the_blobs_are_refused():
    with pytest.raises(UsageError, match="6 x 6 pixels are too small"):
        TwoScaleCNN.from_recipe(Recipe.load("two-scale-mini").replace(shape=(6, 6)))
