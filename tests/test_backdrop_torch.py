"""The layer under the rest of torch: derivatives, transforms, precision, distribution."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from backdrop_support import (
    KEEP,
    SCALE,
    gradient,
    is_a_mask_over_its_mean,
    masked,
    randn,
    small_network,
)
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from backdrop import Backdrop
from backdrop.functional import backdrop

# torch's own code for forward-mode derivatives calls its deprecated torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


# Finite differences see the forward pass, which is the identity whatever the mask. So
# gradcheck applies to the layer as it is where the mask keeps all; where it doesn't, to
# the map that the layer's backward pass is, and to what that map should be.


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradcheck_and_gradgradcheck(dtype):
    x = randn(2, 2, 2, 3, dtype=dtype).requires_grad_()

    def all_kept(x):
        return backdrop(x, mask=torch.ones(2, 3))

    assert torch.autograd.gradcheck(all_kept, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(masked, x, check_fwd_over_rev=True)


def test_the_backward_map_is_the_derivative_of_multiplication_by_the_mask():
    x = randn(2, 1, 2, 3)
    weight = randn(2, 1, 2, 3).requires_grad_()

    def backward(incoming):
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(masked(leaf), leaf, incoming, create_graph=True)[0]

    assert torch.autograd.gradcheck(backward, weight)
    assert torch.equal(backward(weight), weight * SCALE)
    multiplied = torch.autograd.functional.jacobian(lambda x: x * SCALE, x)
    assert torch.equal(torch.autograd.functional.jacobian(masked, x), multiplied)


def test_double_backward_masks_each_passage():
    # f = sum(mask(x)^3): f' = 3 x^2 m; its gradient is 6 x m times m, once for each passage.
    x = randn(1, 1, 2, 3).requires_grad_()
    (first,) = torch.autograd.grad(masked(x).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(first, 3 * x**2 * SCALE)
    torch.testing.assert_close(second, 6 * x * SCALE**2)


def test_reverse_and_forward_derivatives_of_functional_torch_agree():
    x = randn(1, 1, 2, 3)

    def f(x):
        return (masked(x).sin() ** 2).sum()

    torch.testing.assert_close(torch.func.grad(f)(x), gradient(f, x))
    reverse = torch.func.jacrev(torch.func.jacrev(f))(x)
    torch.testing.assert_close(torch.func.hessian(f)(x), reverse)
    _, tangent = torch.func.jvp(masked, (x,), (torch.ones_like(x),))
    assert torch.equal(tangent, SCALE.expand_as(x).double())


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_vmap_draws_a_mask_each_or_one_for_all(randomness):
    layer = Backdrop(0.5, (1, 2), per_sample=False, generator=torch.Generator().manual_seed(0))
    images = randn(5, 3, 8, 8)
    per_image = torch.func.vmap(torch.func.grad(lambda x: layer(x).sum()), randomness=randomness)
    found = per_image(images)
    assert torch.equal(found[:, :1].expand_as(found), found)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.ones(5, dtype=torch.float64))
    assert bool((found[0] == found[1]).all()) is (randomness == "same")


def test_grad_through_vmap_and_vmap_over_fixed_masks():
    x = randn(3, 2, 4, 4)
    layer = Backdrop(0.5, (1, 2), per_sample=False)
    inner = torch.func.vmap(layer, randomness="different")
    found = torch.func.grad(lambda x: inner(x).sum())(x)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.ones(3, dtype=torch.float64))
    keeps = torch.stack([KEEP, 1 - KEEP])
    each = torch.func.vmap(
        torch.func.grad(lambda x, m: backdrop(x, mask=m).sum()), in_dims=(None, 0)
    )(randn(1, 1, 2, 3), keeps)
    assert torch.equal(each[:, 0, 0], keeps.double() * 2)


def test_autocast_keeps_the_gradient_in_the_layer_s_dtype():
    network = small_network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = network(torch.ones(2, 1, 8, 8))
        loss = y.float().sum()
    assert y.dtype == torch.bfloat16
    loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters())


def test_channels_last_is_kept_forward_and_backward():
    x = randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    y = Backdrop()(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    found = gradient(Backdrop(), x, torch.ones_like(x))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_an_in_place_activation_may_follow():
    x = randn(2, 3, 4, 4)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    layers = [Backdrop(generator=g) for g in generators]
    found = gradient(lambda x: torch.relu_(layers[0](x * 1)), x)
    expected = gradient(lambda x: torch.relu(layers[1](x * 1)), x)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "use",
    [lambda w: w, lambda w: w[:1], lambda w: w.view(4, 3), lambda w: w.unbind()[0]],
    ids=["whole", "slice", "view", "one of several views"],
)
@pytest.mark.parametrize("change", [torch.relu_, lambda y: y.mul_(2), lambda y: y[0].zero_()])
@pytest.mark.parametrize("layer", [Backdrop(0.5, (0,)), Backdrop(0, (0,)), Backdrop(0.5).eval()])
def test_an_in_place_operation_after_it_never_changes_a_parameter(layer, change, use):
    weight = nn.Parameter(randn(3, 4))
    before = weight.detach().clone()
    layer.dims = (0,)
    with pytest.raises(RuntimeError, match=r"in-?place"):
        change(layer(use(weight)))
    assert torch.equal(weight, before)
    layer(use(weight)).mul(2).sum().backward()
    assert weight.grad.shape == (3, 4)


def test_an_in_place_operation_after_it_leaves_the_arguments_of_functional_torch():
    x = -torch.ones(1, 1, 2, 3)
    found = torch.func.grad(lambda x: torch.relu_(masked(x)).sum())(x)
    assert torch.equal(found, torch.zeros_like(x))
    assert torch.equal(x, -torch.ones_like(x))


def test_an_in_place_change_of_what_autograd_saved_is_noticed():
    x = randn(1, 1, 2, 2).requires_grad_()
    y = torch.relu_(Backdrop()(torch.sigmoid(x)))  # sigmoid's backward needs its output
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_nothing_but_the_mask_is_kept_for_the_backward_pass():
    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    x = randn(2, 32, 8, 8).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Backdrop()(x)
    assert {t.data_ptr() for t in saved} == {saved[0].data_ptr()}
    assert saved[0].shape == (2, 1, 8, 8)


def test_checkpointing_recomputes_the_same_dropout_behind_the_mask():
    # The first pass runs without gradients: were no mask drawn there, the dropout after it
    # would draw other numbers than in the recomputation.
    block = nn.Sequential(Backdrop(0.5), nn.Dropout(0.5))
    x = torch.ones(2, 3, 8, 8, requires_grad=True)
    torch.manual_seed(0)
    y = checkpoint(block, x, use_reentrant=True)
    y.sum().backward()
    torch.manual_seed(0)
    twin = torch.ones(2, 3, 8, 8, requires_grad=True)
    z = block(twin)
    z.sum().backward()
    assert torch.equal(y, z)
    assert torch.equal(x.grad, twin.grad)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_checkpointing_masks_once(reentrant, own):
    x = torch.ones(2, 3, 8, 8, requires_grad=True)
    layer = Backdrop(0.5, generator=torch.Generator().manual_seed(0) if own else None)
    checkpoint(lambda x: layer(x * 1).pow(2), x, use_reentrant=reentrant).sum().backward()
    assert is_a_mask_over_its_mean(x.grad / 2)


def gradients(model, rank):
    torch.manual_seed(10 + rank)
    x = torch.randn(2, 1, 8, 8)
    model.zero_grad()
    model(x).sum().backward()
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.train
def test_distributed_training_averages_the_ranks_masked_gradients(tmp_path):
    from torch_ranks import run_ranks

    alone = [gradients(small_network(), rank) for rank in (0, 1)]
    for together in run_ranks("masked_gradients", tmp_path):
        for found, first, second in zip(together, *alone, strict=True):
            torch.testing.assert_close(torch.tensor(found), (first + second).flatten() / 2)
    assert not torch.equal(alone[0][0], alone[1][0])


def test_tensors_without_data_pass():
    for device in ("meta", "fake"):
        with FakeTensorMode() if device == "fake" else nullcontext():
            x = torch.ones(2, 1, 4, 4, device="cpu" if device == "fake" else device)
            assert gradient(Backdrop(), x).shape == x.shape


@pytest.mark.parametrize("name", ["backdrop", "backdrop.losses", "backdrop.training"])
def test_without_torch_the_import_says_what_to_install(name):
    code = f"import sys; sys.modules['torch'] = None; import {name}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    *_, last = run.stderr.splitlines()
    assert last == (
        "gpgen.errors.MissingPackageError: backdrop needs PyTorch, which is not installed; "
        "install it with `pip install 'gpgen[torch]'`"
    )
    assert run.stderr.count("Traceback") == 1


def test_importing_it_imports_nothing_heavy_but_torch():
    code = "import sys, backdrop; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "torch" in loaded
    heavy = {
        "scipy",
        "zarr",
        "h5py",
        "dask",
        "distributed",
        "matplotlib",
        "msgspec",
        "gpgen.recipe",
    }
    assert heavy.isdisjoint(loaded)
