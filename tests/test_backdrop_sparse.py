"""SparseBackward's gradients are those of the stem followed by a mask."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import backdrop
from backdrop import Backdrop, ImageRows, SparseBackward, SparseBackwardWarning
from backdrop.models import TwoScaleCNN

pytestmark = pytest.mark.filterwarnings("ignore::backdrop.SparseBackwardWarning")


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


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", STEMS)
def test_the_gradients_are_those_of_the_mask(name, dtype, tolerance):
    torch.manual_seed(0)
    stem = STEMS[name]().to(dtype)
    for shape in SHAPES.get(name, AWKWARD):
        difference, layer = compare(stem, torch.randn(shape, dtype=dtype))
        assert difference < tolerance
        assert 0 < layer.last_mask.float().mean() < 0.5


def stem_of_three():
    torch.manual_seed(0)
    return STEMS["overlapping"]().double()


def doubles(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


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
    "name", ["tiling, padded", "unpadded", "pooled", "finer again", "one axis"]
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


@pytest.mark.parametrize("inside", [True, False])
def test_autocast(inside):
    torch.manual_seed(0)
    stem = STEMS["overlapping"]()
    images = torch.randn(2, 2, 64, 64)
    found = []
    for layer in (chain(stem, Backdrop(0.9)), SparseBackward(stem, 0.9)):
        stem.zero_grad()
        torch.manual_seed(2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = layer(images)
            assert output.dtype == torch.bfloat16
            if inside:
                output.float().sin().sum().backward()
        if not inside:
            output.float().sin().sum().backward()
        found.append([p.grad.clone() for p in stem.parameters()])
        assert all(gradient.dtype == torch.float32 for gradient in found[-1])
    assert 0 < largest_difference(*found) < 0.03
    with torch.autocast("cpu", dtype=torch.bfloat16):  # no weights without a graph in its cache
        SparseBackward(stem, 0.9)(images)
        assert stem(images).requires_grad


def test_channels_last_stays():
    torch.manual_seed(0)
    stem = STEMS["overlapping"]().to(memory_format=torch.channels_last)
    images = torch.randn(2, 2, 64, 64).to(memory_format=torch.channels_last)
    assert compare(stem, images)[0] < 1e-5
    assert SparseBackward(stem)(images).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.train
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_models_break_their_graph_and_are_right():
    torch.manual_seed(0)
    stem, head = STEMS["overlapping"](), nn.Linear(3, 2)
    images = torch.randn(2, 2, 64, 64)
    found = []
    for layer in (Backdrop(0.9), None):
        front = chain(stem, layer) if layer else SparseBackward(stem, 0.9)
        model = chain(front, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        run = model if layer else torch.compile(model, backend="aot_eager")
        model.zero_grad()
        torch.manual_seed(2)
        run(images).sin().sum().backward()
        found.append([p.grad.clone() for p in (*stem.parameters(), *head.parameters())])
    assert largest_difference(*found) < 1e-5


@pytest.mark.train
def test_two_processes_agree_on_the_gradient(tmp_path):
    from torch_ranks import run_ranks

    (plain, sparse), other = run_ranks("sparse_backward", tmp_path)
    assert len(plain) == 6
    assert sparse == pytest.approx(plain, rel=1e-12)
    assert other[1] == sparse


def test_activation_checkpointing_around_it():
    from torch.utils.checkpoint import checkpoint

    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    layer = chain(SparseBackward(stem, 0.9), nn.Dropout(0.5))
    expected = trained(stem, layer, images)
    for reentrant in (True, False):

        def run(x, reentrant=reentrant):
            return checkpoint(layer, x, use_reentrant=reentrant)

        assert largest_difference(expected, trained(stem, run, images)) < 1e-12


def test_the_state_dict_is_the_stems_and_copies_work():
    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    layer = SparseBackward(stem, 0.9)
    expected = trained(stem, layer, images)
    assert list(layer.state_dict()) == [f"stem.{name}" for name in stem.state_dict()]
    stored = io.BytesIO()
    torch.save(stem.state_dict(), stored)
    stored.seek(0)
    layer.stem.load_state_dict(torch.load(stored))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert largest_difference(expected, trained(twin.stem, twin, images)) == 0
        assert twin.stem[0].weight is not stem[0].weight
    traced = torch.fx.symbolic_trace(chain(layer, nn.ReLU()))
    assert largest_difference([trained(stem, layer, images)[0].relu()], [
        trained(stem, traced, images)[0]]) < 1e-12  # fmt: skip


def test_another_layer_in_the_stem_is_noticed():
    stem, images = stem_of_three(), doubles(2, 2, 40, 40)
    layer = SparseBackward(stem, 0.9)
    layer(images)
    stem[2] = conv(4, 4, 5, 3, 0).double()
    plain = chain(stem, Backdrop(0.9))
    expected = trained(stem, plain, images)
    assert largest_difference(expected, trained(stem, layer, images)) < 1e-12


def test_images_are_read_part_by_part(tmp_path):
    zarr = pytest.importorskip("zarr")
    stem, images = stem_of_three(), doubles(3, 2, 70, 90)
    array = zarr.create_array(tmp_path / "a.zarr", data=images.numpy(), chunks=(1, 2, 32, 32))
    layer = SparseBackward(stem, 0.9, tile=32)
    found = []
    for source in (images, array, images.numpy()):
        stem.zero_grad()
        torch.manual_seed(4)
        output = layer(source)
        output.sin().sum().backward()
        found.append([output.detach(), *(p.grad.clone() for p in stem.parameters())])
    assert largest_difference(found[0], found[1]) == largest_difference(found[0], found[2]) == 0
    with torch.no_grad():
        torch.testing.assert_close(layer.eval()(array), stem(images))


def test_rows_of_a_dataset(tmp_path):
    import gpgen

    torch.manual_seed(0)
    stem = chain(conv(1, 4, 3, 2, 1), nn.ReLU(True), conv(4, 3, 3, 2, 1))
    layer = SparseBackward(stem, 0.9, tile=32)
    with gpgen.make("two-scale-mini", 6, tmp_path / "mini.zarr") as dataset:
        images = torch.from_numpy(dataset.read([4, 1]))[:, None]
        for source in (dataset.image, dataset.to_zarr()["image"]):
            rows = ImageRows(source, [4, 1])
            assert rows.shape == images.shape
            found = []
            for batch in (images, rows):
                stem.zero_grad()
                torch.manual_seed(3)
                layer(batch).sin().sum().backward()
                found.append([p.grad.clone() for p in stem.parameters()])
            assert largest_difference(*found) == 0


def test_what_a_source_holds_is_not_changed_by_a_stem_that_begins_in_place():
    torch.manual_seed(0)
    stem = chain(nn.ReLU(True), conv(1, 2, 3, 2))
    for images in (torch.randn(1, 1, 40, 40), np.random.default_rng(0).normal(size=(1, 1, 40, 40))):
        before = copy.deepcopy(images)
        SparseBackward(stem, 0.9, tile=16)(images).sum().backward()
        assert bool((before == images).all())


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


def test_insert_makes_the_front_of_a_chain_sparse():
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    layers = (conv(1, 4, 3, 2, 1), nn.ReLU(), conv(4, 4, 3, 2, 1), nn.ReLU(), conv(4, 4, 3, 2, 1))
    model = chain(*layers, *head).double()
    images = doubles(2, 1, 64, 64)
    results = []
    for sparse in (False, True):
        masked, places = backdrop.insert(model, {4: 0.5, 15: 0.9}, (1, 64, 64), sparse=sparse)
        assert [place.receptive_field.size for place in places] == [(3, 3), (15, 15)]
        assert places[1].layer == ("stem.stem.4" if sparse else "4")
        assert len(backdrop.masks_of(masked)) == 2
        results.append(trained(masked, masked, images))
    assert largest_difference(*results) < 1e-12
    assert masked.stem.p == 0.9
    assert list(masked.state_dict())[-2:] == ["7.weight", "7.bias"]
    with pytest.raises(backdrop.placing.UsageError, match=r"nn.Sequential\(SparseBackward"):
        backdrop.insert(chain(chain(*layers), *head).double(), {15: 0.9}, sparse=True)


def test_the_baseline_network_takes_it_for_its_masked_stages():
    results = []
    images = torch.randn(4, 1, 128, 128, dtype=torch.float64)
    for sparse in (False, True):
        torch.manual_seed(0)
        network = TwoScaleCNN((4.0, 16.0), 4, p=0.9, width=2, sparse=sparse).double()
        results.append(trained(network, network, images))
    assert largest_difference(*results) < 1e-11
    assert sum(isinstance(m, SparseBackward) for m in network.modules()) == 2
