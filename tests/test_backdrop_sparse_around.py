"""SparseBackward in what people build around it: precision, compilers, processes, stores."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
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
from backdrop import Backdrop, ImageRows, SparseBackward
from backdrop.models import TwoScaleCNN
from gpgen.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::backdrop.SparseBackwardWarning")


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", STEMS)
def test_the_gradients_on_a_gpu(name):
    torch.manual_seed(0)
    stem = STEMS[name]().to("cuda", torch.float64)
    images = torch.randn(SHAPES.get(name, AWKWARD)[0], dtype=torch.float64, device="cuda")
    for settings in ({}, {"tile": 16}):
        # The loss begins with a cast to float32, which rounds what differs in the last bit.
        assert compare(stem, images, **settings)[0] < 1e-6


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
    recipe = gpgen.Recipe.load("two-scale-mini").replace(shape=[128, 160])
    with gpgen.make(recipe, 6, tmp_path / "mini.zarr") as dataset:
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
    with pytest.raises(UsageError, match=r"nn.Sequential\(SparseBackward"):
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


def test_what_it_blocks_is_measured_as_of_a_mask():
    stem, images = stem_of_three().float(), doubles(2, 2, 64, 64).float()
    plain, sparse = chain(stem, Backdrop(0.9)), SparseBackward(stem, 0.9)
    assert list(backdrop.masks_of(sparse)) == ["mask"]
    blocked = backdrop.blocked_fraction(plain, images)
    assert 0.5 < blocked == backdrop.blocked_fraction(sparse, images) < 0.9
    one = SparseBackward(stem, keep=1)
    assert 0.9 < backdrop.blocked_fraction(one, images) < 1
    assert one.keep == 1


@pytest.mark.train
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_stem():
    torch.manual_seed(0)
    stem = STEMS["overlapping"]()
    compiled = torch.compile(stem, backend="aot_eager")
    images = torch.randn(2, 2, 64, 64)
    expected = trained(stem, chain(stem, Backdrop(0.9)), images)
    assert largest_difference(expected, trained(stem, SparseBackward(compiled, 0.9), images)) < 1e-5
