"""What inserted masks block in known architectures, and what else they leave as it was."""

from __future__ import annotations

import copy
import io
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import backdrop
from backdrop import GradientSpreadWarning, masks_of
from benchmarks.architectures import ARCHITECTURES, FPN, VGG, DenseNet, Inception, Residual, ResNet
from benchmarks.backdrop_places import implied, measured
from gpgen.errors import UsageError


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_mask_in_a_known_architecture_blocks_what_p_says(name):
    build, shape, scale, p = ARCHITECTURES[name]
    torch.manual_seed(0)
    model, (place,) = backdrop.insert(build(), {scale: p}, shape)
    field = place.receptive_field
    assert field.size == (scale,) * len(field.size)
    samples, draws = 4, 4
    at_layer, at_input = measured(model, place, torch.randn(samples, *shape), draws)
    # A binomial fraction of independent positions: five standard errors.
    positions = math.prod(field.shape) * samples * draws
    assert abs(at_layer - p) < 5 * math.sqrt(p * (1 - p) / positions)
    # Two pixels are correlated if one position sees both: less than 2 size - 1 apart. So at
    # most that part of all pairs adds to the variance of the mean, q (1 - q) <= 1/4 each.
    pairs = math.prod(
        min((2 * size - 1) / side, 1) for size, side in zip(field.size, shape[1:], strict=True)
    )
    error = 5 * math.sqrt(pairs / 4 / (samples * draws))
    # Activations and maxima take positions from a pixel, down to one: between p**n and p.
    assert implied(place, shape) - error < at_input < p + error
    assert abs(place.blocked - at_input) < error * math.sqrt(draws * samples)


@pytest.mark.parametrize("build", [ResNet, VGG, Inception, DenseNet])
def test_behind_a_batch_normalization_it_warns_and_names_both(build):
    _, shape, scale, p = next(a for a in ARCHITECTURES.values() if a[0] is build)
    with pytest.warns(GradientSpreadWarning) as caught:
        model, (place,) = backdrop.insert(build(nn.BatchNorm2d), {scale: p}, shape)
    (message,) = [str(w.message) for w in caught]
    assert f"before the mask after {place.layer!r}" in message
    assert "(BatchNorm2d)" in message
    assert place.blocked == 0
    assert backdrop.blocked_fraction(model, torch.randn(2, *shape)) == 0


def chain(*between):
    return nn.Sequential(
        nn.Conv2d(1, 4, 4, 4),
        *between,
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, 2),
        nn.Flatten(),
        nn.Linear(64, 2),
    )


@pytest.mark.parametrize(
    ("norm", "spreads"),
    [
        (nn.BatchNorm2d(4), True),
        (nn.BatchNorm2d(4, track_running_stats=False), True),
        (nn.GroupNorm(2, 4), True),
        (nn.InstanceNorm2d(4), True),
        (nn.LayerNorm([4, 8, 8]), True),
        (nn.BatchNorm2d(4).eval(), False),
        (nn.LocalResponseNorm(2), False),
        (nn.Identity(), False),
    ],
)
def test_a_normalization_spreads_if_its_statistics_are_over_positions(norm, spreads):
    model = chain(norm).train()
    norm.train(spreads)  # a normalization that is frozen stays so
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, (place,) = backdrop.insert(model, {4: 0.75}, (1, 32, 32))
    assert [w.category for w in caught] == [GradientSpreadWarning] * spreads
    assert place.layer == "2"
    assert (place.blocked == 0) == spreads


def test_a_mask_in_front_of_the_normalization_blocks_and_is_not_warned_of():
    model = nn.Sequential(*list(chain())[:3], nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
    _, (place,) = backdrop.insert(model, {4: 0.75}, (1, 32, 32))
    assert 0.5 < place.blocked < 0.95


def test_a_functional_normalization_is_named_by_the_module_that_calls_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x):
            y = self.conv(x)
            return F.relu(F.batch_norm(y, self.mean, self.mean + 1, training=self.training))

    with pytest.warns(GradientSpreadWarning, match=r"normalization '1' \(Block\).*after '2'"):
        backdrop.insert(chain(Block()), {4: 0.75}, (1, 32, 32))


def test_what_spreads_without_a_name_is_refused():
    class Whitened(nn.Module):
        def forward(self, x):
            return x - x.mean((0, 2, 3), keepdim=True) if self.training else x

    with pytest.raises(UsageError, match="all but one position"):
        backdrop.insert(chain(Whitened()), {4: 0.75}, (1, 32, 32))


def test_no_mask_goes_on_a_shortcut_nor_into_a_branch():
    torch.manual_seed(0)
    block = Residual(1, 4, 1, nn.Identity)
    last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    # 3 px are seen inside the block only; its shortcut sees 1, behind the sum it is 5.
    model = nn.Sequential(block, nn.Identity(), last)
    _, (place,) = backdrop.insert(model, {3: 0.9}, (1, 32, 32))
    assert (place.layer, place.receptive_field.size) == ("1", (5, 5))
    # A branch that starts with weight zero passes no gradient yet: the graph tells.
    nn.init.zeros_(block.conv2.weight)
    _, (place,) = backdrop.insert(model, {3: 0.9}, (1, 32, 32))
    assert place.layer == "1"


def test_a_length_scale_that_only_bypassed_layers_see_is_refused():
    with pytest.raises(UsageError, match=r"goes round it.*here 3, 7 px") as caught:
        backdrop.insert(FPN(), {31: 0.99}, (1, 128, 128))
    assert "'lateral.2' sees 31 px" in str(caught.value)


def test_a_path_that_only_training_has_counts():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.early = nn.Conv2d(1, 4, 4, 4)
            self.late = nn.Conv2d(4, 4, 4, 4)

        def forward(self, x):
            early = self.early(x)
            late = self.late(early)
            return (late, early) if self.training else late

    model = Auxiliary()
    with pytest.raises(UsageError, match="gradient goes round"):
        backdrop.insert(model.eval(), {16: 0.5}, (1, 64, 64))
    assert backdrop.insert(model, {4: 0.5}, (1, 64, 64)).places[0].layer == "early"


class Iterating(nn.Module):
    """Runs its children one after the other, as many home-made containers do."""

    def __init__(self, *layers):
        super().__init__()
        for i, layer in enumerate(layers):
            self.add_module(f"layer{i}", layer)

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


class Listed(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.list = nn.ModuleList(layers)
        self.dict = nn.ModuleDict({"pool": nn.AvgPool2d(2)})

    def forward(self, x):
        for layer in self.list:
            x = layer(x)
        return x + self.list[0].weight.mean() + self.dict["pool"](x).mean()


@pytest.mark.parametrize("container", [Iterating, Listed, nn.Sequential])
def test_containers_names_attributes_and_checkpoints_stay_as_they_were(container):
    inner = nn.Conv2d(4, 4, 2, 2), nn.ReLU(inplace=True)
    model = container(nn.Conv2d(1, 4, 4, 4), Iterating(*inner))
    keys, modules = list(model.state_dict()), [name for name, _ in model.named_modules()]
    torch.save(model.state_dict(), before := io.BytesIO())
    new, (place,) = backdrop.insert(model, {8: 0.75}, (1, 64, 64))
    assert place.receptive_field.size == (8, 8)
    assert list(new.state_dict()) == keys
    assert [name for name, _ in new.named_modules()] == modules
    assert masks_of(model) == {}
    before.seek(0)
    new.load_state_dict(torch.load(before))
    layer = new.get_submodule(place.layer)
    assert list(layer.children()) == list(layer.children())
    # Once: the factor of the position that is kept is 64, applied twice it would be 4,096.
    keep = torch.zeros(8, 8)
    keep[3, 3] = 1
    (mask,) = masks_of(new).values()
    mask.fix(keep)
    image = torch.rand(1, 1, 64, 64)

    def gradient(network):
        x = image.clone().requires_grad_()
        return torch.autograd.grad(network(x).sum(), x)[0]

    plain, masked = gradient(model), gradient(new)
    inside = (slice(None), slice(None), slice(24, 32), slice(24, 32))
    if container is not Listed:
        torch.testing.assert_close(masked[inside], 64 * plain[inside])
        assert torch.count_nonzero(masked) == torch.count_nonzero(masked[inside])
    # Copies and pickles have masks of their own; a layer in eval mode has none.
    pickled = io.BytesIO()
    torch.save(new, pickled)
    pickled.seek(0)
    for again in (copy.deepcopy(new), torch.load(pickled, weights_only=False)):
        assert masks_of(again).keys() == masks_of(new).keys()
        assert masks_of(again)[place.layer] is not mask
        torch.testing.assert_close(gradient(again), masked)
        again.get_submodule(place.layer).eval()
        torch.testing.assert_close(gradient(again), plain)
    assert new.get_submodule(place.layer).training


def test_an_inserted_mask_keeps_the_layer_s_attributes():
    new, _ = backdrop.insert(nn.Sequential(nn.Conv2d(1, 4, 4, 4), nn.Conv2d(4, 4, 2)), {4: 0.5})
    assert (new[0].weight.shape, new[0].out_channels) == ((4, 1, 4, 4), 4)
    assert isinstance(new[0], nn.Conv2d)


def test_the_blocked_fraction_is_measured_beside_dropout_and_changes_nothing():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 4, 4), nn.Dropout(0.9), nn.Conv2d(4, 4, 2, 2), nn.BatchNorm2d(4)
    )
    new, _ = backdrop.insert(model, {4: 0.75}, (1, 64, 64), generator=torch.Generator())
    before = {name: value.clone() for name, value in new.state_dict().items()}
    image = torch.randn(4, 1, 64, 64)
    state, own = torch.get_rng_state(), masks_of(new)["1"].generator.get_state()
    first = backdrop.blocked_fraction(new.eval(), image)
    assert not new.training
    assert all(torch.equal(before[name], value) for name, value in new.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(masks_of(new)["1"].generator.get_state(), own)
    # 1024 positions: five standard errors.
    assert abs(first - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 1024)


def test_a_network_whose_activations_are_all_dead_gets_its_mask_too():
    model = chain()
    nn.init.constant_(model[0].bias, -100)
    new, (place,) = backdrop.insert(model, {4: 0.75}, (1, 32, 32))
    assert list(masks_of(new)) == ["1"]
    assert math.isnan(place.blocked)
    assert str(place) == "length-scale 4 px, p = 0.75: after '1', receptive field 4 x 4 px"
    with pytest.raises(UsageError, match="no gradient at its input"):
        backdrop.blocked_fraction(new, torch.randn(1, 1, 32, 32))


def test_a_model_without_masks_has_nothing_to_measure():
    with pytest.raises(UsageError, match="has no mask"):
        backdrop.blocked_fraction(nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 8, 8))


def test_layers_of_the_user_s_own_count_as_masks():
    model = nn.Sequential(nn.Conv2d(1, 4, 4, 4), backdrop.Backdrop(0.75), nn.Conv2d(4, 1, 1))
    assert list(masks_of(model)) == ["1"]
    fraction = backdrop.blocked_fraction(model, torch.randn(4, 1, 64, 64))
    assert abs(fraction - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 1024)


def test_inserting_leaves_the_model_and_torch_s_state_alone():
    model = ResNet(nn.BatchNorm2d)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    with pytest.warns(GradientSpreadWarning):
        backdrop.insert(model, {27: 0.99}, (1, 64, 64))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
