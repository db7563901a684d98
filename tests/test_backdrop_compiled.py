"""The layer compiled, exported and symbolically traced: the masks that it has otherwise."""

from __future__ import annotations

import pickle
import warnings

import pytest
import torch
from backdrop_support import (
    KEEP,
    SCALE,
    gradient,
    is_a_mask_over_its_mean,
    randn,
    small_network,
)
from torch import fx, nn
from torch.export import Dim, export

from backdrop import Backdrop
from backdrop.functional import backdrop
from backdrop.models import TwoScaleCNN

# torch's own code for forward-mode derivatives calls its deprecated torch.jit.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]


def compiled(network, backend):
    torch.compiler.reset()
    with warnings.catch_warnings():
        # Inductor's own, on import: not ours to mend.
        warnings.simplefilter("ignore")
        whole = torch.compile(network, fullgraph=True, backend=backend)
        x = randn(2, 1, 8, 8, dtype=torch.float32)
        torch.manual_seed(1)
        y = whole(x)
        y.sum().backward()
        return y


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize(
    "layer", [Backdrop(0.5), Backdrop().fix(torch.tensor([[1, 0]] * 64).reshape(8, 16))]
)
def test_compiled_it_takes_another_batch_and_image_size(layer, dynamic):
    torch.compiler.reset()
    whole = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    sizes = [(4, 8), (3, 8), (7, 8), (1, 8)]
    for n, side in sizes if layer.mask is not None else [*sizes, (5, 12), (2, 4)]:
        x = randn(n, 2, side, 2 * side, dtype=torch.float32)
        assert is_a_mask_over_its_mean(gradient(whole, x))


@pytest.mark.parametrize("strict", [True, False])
def test_exported_it_masks_batches_of_any_size_in_training_and_none_in_eval(strict):
    n, side = Dim("n", min=2, max=64), Dim("side", min=2, max=64)
    example = (randn(4, 2, 8, 8, dtype=torch.float32),)
    for training in (True, False):
        network = nn.Sequential(Backdrop(0.5)).train(training)
        whole = export(network, example, dynamic_shapes=({0: n, 2: side},), strict=strict)
        found = gradient(whole.module(), randn(3, 2, 9, 8, dtype=torch.float32))
        assert is_a_mask_over_its_mean(found) if training else bool((found == 1).all())


def test_the_baseline_network_compiles_once_for_all_batch_sizes():
    torch.compiler.reset()
    torch.manual_seed(0)
    network = TwoScaleCNN([2, 6], 4, width=2, p=0.5, dropout=0.3, channel_dropout=0.2)
    whole = torch.compile(network, fullgraph=True, backend="aot_eager")
    for n in (4, 3, 7):
        x = randn(n, 1, 32, 32, dtype=torch.float32)
        torch.manual_seed(n)
        eager = gradient(network, x)
        torch.manual_seed(n)
        # Two orders of the same float32 sums, of some hundred terms each.
        torch.testing.assert_close(gradient(whole, x), eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_compiled_one_survivor_of_65536_positions_stays_finite(dtype):
    torch.compiler.reset()
    keep = torch.zeros(256, 256)
    keep[3, 5] = 1
    whole = torch.compile(Backdrop().fix(keep), fullgraph=True, backend="aot_eager")
    x = randn(1, 1, 256, 256).to(dtype).requires_grad_()
    y = whole(x)
    assert y.dtype == dtype
    assert torch.equal(y, x)
    y.backward(torch.full_like(y, 2.0**-10))
    assert torch.equal(x.grad, (64 * keep).to(dtype)[None, None])


@pytest.mark.parametrize("traced_in", ["training", "eval"])
def test_symbolic_tracing_keeps_it_a_layer_that_follows_train_and_eval(traced_in):
    torch.manual_seed(0)
    network = nn.Sequential(
        TwoScaleCNN([2, 6], 4, width=2, p=0.5, dropout=0.3, channel_dropout=0.2),
        nn.Unflatten(1, (1, 2, 2)),
        Backdrop(0.5),
    ).train(traced_in == "training")
    graph = fx.symbolic_trace(network)
    graph = pickle.loads(pickle.dumps(graph))  # noqa: S301
    x = randn(3, 1, 32, 32, dtype=torch.float32)
    for training in (True, False):
        results = []
        for module in (network, graph):
            torch.manual_seed(2)
            results.append(gradient(module.train(training), x))
        assert torch.equal(*results)


def test_symbolic_tracing_records_the_function_as_one_call():
    def forward(x):
        return backdrop(x.sin(), 0.5, (2, 3), mask=KEEP)

    for root in (forward, Backdrop().fix(KEEP)):
        graph = fx.symbolic_trace(root)
        calls = [node for node in graph.graph.nodes if node.target is backdrop]
        assert len(calls) == 1
    assert torch.equal(gradient(graph, randn(2, 1, 2, 3)), SCALE.expand(2, 1, 2, 3).double())


def test_compiles_into_one_graph_with_the_same_masks():
    network = small_network()
    x = randn(2, 1, 8, 8, dtype=torch.float32)
    torch.manual_seed(1)
    network(x).sum().backward()
    eager = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    compiled(network, "aot_eager")
    for parameter, expected in zip(network.parameters(), eager, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


def test_compiles_with_inductor():
    network = nn.Sequential(Backdrop(0.5, generator=None))

    def mean_factor(x):
        return network(x * 1.0)

    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = randn(4, 2, 8, 8, dtype=torch.float32).requires_grad_()
        y = torch.compile(mean_factor, fullgraph=True)(x)
        (found,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y, x)
    kept = (found[:, 0] != 0).sum((1, 2))
    expected = (found[:, :1] != 0) * (64 / kept)[:, None, None, None]
    torch.testing.assert_close(found, expected.expand_as(found))
    assert 0 < int(kept.min()) <= int(kept.max()) < 64


def test_compiles_under_vmap_and_grad():
    torch.compiler.reset()
    per_image = torch.func.vmap(
        torch.func.grad(lambda x: backdrop(x, 0.5, (1, 2), False).pow(2).sum()),
        randomness="different",
    )
    x = torch.ones(3, 2, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = torch.compile(per_image, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.full((3,), 2.0))
    assert not torch.equal(found[0], found[1])


def test_the_compiled_forward_is_the_identity_too():
    torch.compiler.reset()
    x = torch.tensor([[1.5, -0.0, torch.inf, -torch.inf, torch.nan, 3e38]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = torch.compile(Backdrop(0.5, (1,)), fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(y, x, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(y.signbit(), x.signbit())
