"""Padding, groups, strata and packed sequences."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from backdrop import Backdrop
from gpgen.errors import UsageError


def gradient(layer: Backdrop, shape: tuple[int, ...], **given: Tensor) -> Tensor:
    x = torch.ones(shape, requires_grad=True)
    layer(x, **given).sum().backward()
    assert x.grad is not None
    return x.grad


def test_a_short_sequence_gets_a_gradient_in_every_step_and_its_padding_none() -> None:
    lengths = torch.tensor([3, 40, 1]).repeat(4000)
    valid = torch.arange(40) < lengths[:, None]
    layer = Backdrop(0.75, dims=(2,))
    torch.manual_seed(0)
    g = gradient(layer, (12_000, 2, 40), valid=valid)[:, 0]
    assert (g[~valid] == 0).all()
    assert ((g > 0).sum(1) >= 1).all()
    # The mean over what exists is exactly one.
    torch.testing.assert_close(g.sum(1) / lengths, torch.ones(12_000))
    # A factor of n positions has a variance of n - 1 at most; five standard errors.
    mean = g.reshape(4000, 3, 40).mean(0)
    assert (mean[valid[:3]] - 1).abs().max() < 5 * (39 / 4000) ** 0.5


def test_all_valid_is_the_mask_that_is_drawn_without() -> None:
    for per_sample in (True, False):
        layer = Backdrop(0.6, per_sample=per_sample)
        found = []
        for given in ({}, {"valid": torch.ones(4, 5)}, {"groups": torch.full((4, 5), 7)}):
            torch.manual_seed(3)
            found.append(gradient(layer, (3, 2, 4, 5), **given))
        torch.testing.assert_close(found[1], found[0])
        torch.testing.assert_close(found[2], found[0])


def test_each_graph_has_a_mask_of_its_own() -> None:
    batch = torch.tensor([0, 0, 0, 1, 2, 2])  # the graph of each node
    layer = Backdrop(0.9, dims=(0,))
    torch.manual_seed(0)
    for _ in range(200):
        g = gradient(layer, (6, 5), groups=batch)[:, 0]
        means = torch.stack([g[batch == graph].mean() for graph in range(3)])
        torch.testing.assert_close(means, torch.ones(3))


def test_rare_positives_are_never_masked_altogether() -> None:
    target = torch.zeros(100, dtype=torch.long)
    target[[4, 71]] = 1
    layer = Backdrop(0.9, dims=(0,))
    torch.manual_seed(0)
    without = [bool((gradient(layer, (100, 1))[target == 1] == 0).all()) for _ in range(400)]
    assert 0.71 < sum(without) / 400 < 0.90  # 0.81 of the steps have no positive
    for _ in range(400):
        g = gradient(layer, (100, 1), groups=target)[:, 0]
        assert (g[target == 1] > 0).any()
        assert float(g[target == 0].mean()) == pytest.approx(1, abs=1e-5)


def test_packed_sequences_are_masked_sequence_by_sequence() -> None:
    lengths = [5, 1, 3]
    steps = [torch.ones(length, 4, requires_grad=True) for length in lengths]
    layer = Backdrop(0.8, remember=True)
    torch.manual_seed(1)
    out = layer(pack_sequence(steps, enforce_sorted=False))
    assert out.batch_sizes.tolist() == [3, 2, 2, 1, 1]
    out.data.sum().backward()
    for step, length in zip(steps, lengths, strict=True):
        assert step.grad is not None
        assert float(step.grad[:, 0].sum()) == pytest.approx(length)
    assert layer.last_mask is not None
    assert layer.last_mask.shape == (9, 1)


def test_what_exists_nowhere_gets_no_gradient_and_no_nan() -> None:
    valid = torch.tensor([[True, True], [False, False]])
    g = gradient(Backdrop(0.5, dims=(2,)), (2, 1, 2), valid=valid)
    assert (g[1] == 0).all()
    assert float(g[0].sum()) == pytest.approx(2)


def test_a_fixed_mask_is_normalized_over_what_exists() -> None:
    layer = Backdrop(0.5, dims=(2,)).fix(torch.tensor([1, 0, 1, 0]))
    g = gradient(layer, (1, 1, 4), valid=torch.tensor([1, 1, 0, 0]))
    assert g.flatten().tolist() == [2, 0, 0, 0]


def test_the_last_mask_is_where_the_gradient_passed() -> None:
    layer = Backdrop(0.5, remember=True)
    g = gradient(layer, (2, 3, 4, 4))
    assert layer.last_mask is not None
    assert torch.equal((g != 0), layer.last_mask.expand(2, 3, 4, 4))
    layer.eval()
    layer(torch.ones(2, 3, 4, 4))
    assert layer.last_mask is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"valid": torch.ones(3)}, r"valid has shape \(3,\), the input has \(4, 4\)"),
        ({"groups": torch.zeros(4, 4, 4)}, "groups are torch.float32"),
        ({"groups": torch.zeros(5, 4).long()}, r"groups has shape \(5, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Tensor], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Backdrop(0.5)(torch.ones(2, 1, 4, 4), **given)


def test_groups_may_differ_under_vmap_and_be_exported() -> None:
    layer = Backdrop(0.9, dims=(0,))
    groups = torch.tensor([[0, 0, 7, 7], [-3, 5, 5, 5]])

    def masked(x: Tensor, groups: Tensor) -> Tensor:
        out: Tensor = layer(x, groups=groups).sum()
        return out

    per_row = torch.func.vmap(torch.func.grad(masked), randomness="different")
    g = per_row(torch.ones(2, 4, 1), groups)[..., 0]
    assert g[0, :2].sum() == g[0, 2:].sum() == 2
    assert g[1, 0] == 1
    assert float(g[1, 1:].sum()) == pytest.approx(3)

    class Model(torch.nn.Module):
        def forward(self, x: Tensor, groups: Tensor) -> Tensor:
            out: Tensor = Backdrop(0.9, dims=(0,))(x, groups=groups)
            return out

    exported = torch.export.export(Model(), (torch.ones(4, 1), groups[0])).module()
    x = torch.ones(4, 1, requires_grad=True)
    exported(x, groups[1]).sum().backward()
    assert x.grad is not None
    assert x.grad[0] == 1


def test_each_sample_s_groups_are_its_own() -> None:
    groups = torch.tensor([[0, 0, 1, 1], [9, 9, 9, 2]])
    g = gradient(Backdrop(0.9, dims=(2,)), (2, 3, 4), groups=groups)[:, 0]
    assert g[0, :2].sum() == g[0, 2:].sum() == 2
    assert float(g[1, :3].sum()) == pytest.approx(3)
    assert g[1, 3] == 1


def test_lists_and_bytes_are_taken_too() -> None:
    groups = [0, 0, 1, 1]
    for given in (groups, torch.tensor(groups, dtype=torch.uint8), torch.tensor(groups) == 1):
        x = torch.ones(4, 1, requires_grad=True)
        Backdrop(0.9, dims=(0,))(x, valid=[1, 0, 1, 1], groups=given).sum().backward()
        assert x.grad is not None
        assert x.grad.flatten()[:2].tolist() == [1, 0]


def test_nested_tensors_are_refused_and_lengths_are_told_how_to_be_given() -> None:
    nested = torch.nested.nested_tensor([torch.ones(3, 2), torch.ones(5, 2)], layout=torch.jagged)
    with pytest.raises(UsageError, match="nested tensor; give a padded one"):
        Backdrop(0.5, dims=(1,))(nested)
    with pytest.raises(UsageError, match=r"torch.arange\(steps\) < lengths"):
        Backdrop(0.5, dims=(1,))(torch.ones(2, 5, 3), valid=torch.tensor([3, 5]))


def test_a_layer_pickled_by_an_earlier_version_works() -> None:
    old = Backdrop(0.5)
    for name in ("remember", "last_mask", "_stand_in"):  # what the first version didn't have
        del old.__dict__[name]
    layer = pickle.loads(pickle.dumps(old))  # noqa: S301
    assert gradient(layer, (1, 1, 4, 4)).sum() == pytest.approx(16)
    assert layer.last_mask is None


def test_a_mask_remembered_under_torch_func_is_a_tensor() -> None:
    layer = Backdrop(0.5, dims=(1,), remember=True)

    def masked(x: Tensor) -> Tensor:
        out: Tensor = layer(x).sum()
        return out

    g = torch.func.grad(masked)(torch.ones(2, 5, 3))
    assert layer.last_mask is not None
    assert torch.equal(copy.deepcopy(layer).last_mask.expand(2, 5, 3), g != 0)
    g = torch.func.vmap(torch.func.grad(masked), randomness="different")(torch.ones(4, 2, 5, 3))
    assert torch.equal(layer.last_mask.expand(4, 2, 5, 3), g != 0)


def test_lengths_are_not_taken_for_a_mask_where_their_number_fits() -> None:
    lengths = torch.tensor([3, 4, 1, 2])  # of four sequences, which have four steps
    with pytest.raises(UsageError, match=r"other than 0 and 1; give 1 .* lengths\[:, None\]"):
        Backdrop(0.5, dims=(2,))(torch.ones(4, 3, 4), valid=lengths)
