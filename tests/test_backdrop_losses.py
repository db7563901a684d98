"""The losses that do not decompose, against counting."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backdrop import Backdrop
from backdrop.losses import FBetaLoss, ROCAUCLoss, fbeta_loss, roc_auc, roc_auc_loss
from gpgen.errors import UsageError

labelled = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=12).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


def tensors(rows, dtype=torch.float64):
    scores = torch.tensor([s for s, _ in rows], dtype=dtype)
    return scores, torch.tensor([int(label) for _, label in rows])


def pairs(rows):
    positives = [s for s, label in rows if label]
    negatives = [s for s, label in rows if not label]
    return [p - n for p, n in itertools.product(positives, negatives)]


@given(labelled)
def test_auc_counts_the_pairs_ranked_rightly(rows):
    differences = pairs(rows)
    expected = sum((d > 0) + 0.5 * (d == 0) for d in differences) / len(differences)
    assert roc_auc(*tensors(rows)) == pytest.approx(expected, abs=1e-12)


SURROGATES = {
    "logistic": lambda d: math.log2(1 + math.exp(-d)),
    "hinge": lambda d: max(0, 1 - d) ** 2,
    "sigmoid": lambda d: 1 / (1 + math.exp(d)),
}


@given(labelled, st.sampled_from(sorted(SURROGATES)), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_auc_loss_is_the_mean_of_the_surrogate_over_pairs(rows, surrogate, scale):
    expected = [SURROGATES[surrogate](d / scale) for d in pairs(rows)]
    found = roc_auc_loss(*tensors(rows), surrogate, scale)
    assert float(found) == pytest.approx(sum(expected) / len(expected), rel=1e-12)


@given(labelled)
def test_convex_surrogates_bound_one_minus_auc_and_the_sigmoid_tends_to_it(rows):
    scores, target = tensors(rows)
    wrong = 1 - roc_auc(scores, target)
    for surrogate in ("logistic", "hinge"):
        assert float(roc_auc_loss(scores, target, surrogate)) >= wrong - 1e-12
    # Whole differences over 0.01: the sigmoid is off its step by less than e^-100.
    assert float(roc_auc_loss(scores, target, "sigmoid", 0.01)) == pytest.approx(wrong, abs=1e-12)


@given(labelled.filter(lambda rows: any(label for _, label in rows)), st.sampled_from([0.5, 1, 2]))
def test_the_f_loss_of_certain_scores_is_that_of_the_counts(rows, beta):
    # Logits of +-1000 are probabilities of exactly 0 or 1.
    rows = [(1000 if s > 0 else -1000, label) for s, label in rows]
    tp = sum(s > 0 and label for s, label in rows)
    fp = sum(s > 0 and not label for s, label in rows)
    fn = sum(s < 0 and label for s, label in rows)
    expected = (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)
    assert float(fbeta_loss(*tensors(rows), beta)) == pytest.approx(1 - expected, abs=1e-12)


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
def test_gradients(surrogate):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(7, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.tensor([1, 0, 0, 1, 0, 1, 0])
    assert torch.autograd.gradcheck(lambda s: roc_auc_loss(s, target, surrogate), scores)
    assert torch.autograd.gradcheck(lambda s: fbeta_loss(s, target, 2.0), scores)


def test_neither_loss_is_a_mean_over_samples():
    scores = torch.tensor([2.0, -1.0, 0.5, 1.5])
    target = torch.tensor([1, 0, 1, 0])
    for loss in (roc_auc_loss, fbeta_loss):
        whole = float(loss(scores, target))
        halves = [float(loss(scores[i : i + 2], target[i : i + 2])) for i in (0, 2)]
        assert abs(whole - sum(halves) / 2) > 0.005


def test_modules_say_the_same_and_take_a_column():
    scores, target = torch.randn(6, 1), torch.tensor([[1.0], [0], [0], [1], [0], [0]])
    assert ROCAUCLoss("hinge", 2.0)(scores, target) == roc_auc_loss(scores, target, "hinge", 2.0)
    assert FBetaLoss(2.0)(scores, target) == fbeta_loss(scores, target, 2.0)
    assert repr(ROCAUCLoss()) == "ROCAUCLoss(surrogate='logistic', scale=1.0)"
    assert repr(FBetaLoss()) == "FBetaLoss(beta=1.0)"


def test_a_mask_over_samples_lets_a_part_of_them_learn_from_the_whole_batch_s_loss():
    scores = torch.randn(50, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = (torch.arange(50) < 10).long()
    (full,) = torch.autograd.grad(roc_auc_loss(scores, target), scores)
    mask = Backdrop(0.8, (0,), generator=torch.Generator().manual_seed(1))
    loss = roc_auc_loss(mask(scores), target)
    assert float(loss.detach()) == float(roc_auc_loss(scores, target).detach())
    (part,) = torch.autograd.grad(loss, scores)
    kept = part != 0
    assert 0 < int(kept.sum()) < 25
    torch.testing.assert_close(part[kept], full[kept] * 50 / kept.sum())


LOSSES = {**{name: ROCAUCLoss(name) for name in SURROGATES}, "fbeta": FBetaLoss(2.0)}


def batch(n, dtype=torch.float64, size=1.0):
    scores = size * torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    return scores.to(dtype), torch.arange(n) % 3 == 0


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.uint8, torch.int64, torch.bool]
)
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_in_any_dtype_the_loss_is_that_of_the_same_scores_in_float64(name, dtype, size):
    scores, target = batch(200, size=size)
    scores = (scores.abs() if dtype == torch.uint8 else scores).to(dtype)
    exact = LOSSES[name](scores.double(), target)
    found = LOSSES[name](scores, target)
    assert found.dtype == (torch.float32 if dtype.is_floating_point else torch.float64)
    # float32: each term right to a few roundings, a tree of sums of some ten levels.
    torch.testing.assert_close(found.double(), exact, rtol=20 * 2.0**-24, atol=2.0**-24)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_scores_have_the_gradient_of_float64_rounded(name, dtype):
    scores, target = batch(60, dtype, 20.0)
    found = torch.func.grad(LOSSES[name])(scores, target)
    exact = torch.func.grad(LOSSES[name])(scores.double(), target)
    assert found.dtype == dtype
    # One rounding of the dtype (where subnormal, of half its step), or some of float32 where
    # the sum over a sample's pairs cancels.
    info = torch.finfo(dtype)
    atol = info.smallest_normal * info.eps / 2 + float(exact.abs().max()) * 2.0**-20
    torch.testing.assert_close(found.double(), exact, rtol=info.eps, atol=atol)


def test_the_f_loss_of_140000_half_scores_is_that_of_float64():
    scores, target = batch(140_000, torch.float16)
    scores.requires_grad_()
    loss = fbeta_loss(scores, target)
    (2**16 * loss).backward()  # as a gradient scaler does
    exact = fbeta_loss(scores.detach().double(), target)
    torch.testing.assert_close(loss.detach().double(), exact, rtol=20 * 2.0**-24, atol=0)
    assert bool(scores.grad.isfinite().all())
    assert bool((scores.grad != 0).any())


def test_under_autocast_the_losses_of_a_network_are_float32():
    torch.manual_seed(0)
    head, (_, target) = torch.nn.Linear(4, 1), batch(9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = head(100 * torch.randn(9, 4))
        assert scores.dtype == torch.bfloat16
        losses = [loss(scores, target[:, None]) for loss in LOSSES.values()]
    for loss, module in zip(losses, LOSSES.values(), strict=True):
        exact = module(scores.detach().double(), target[:, None])
        torch.testing.assert_close(loss.detach().double(), exact, rtol=20 * 2.0**-24, atol=2.0**-24)
    sum(losses).backward()
    assert bool(head.weight.grad.isfinite().all())


def test_the_logistic_surrogate_is_exact_far_from_the_step():
    # torch's softplus is off by e^-20 just above its threshold.
    for d in (-21.0, -30.0, -45.0):
        found = roc_auc_loss(torch.tensor([d, 0.0], dtype=torch.float64), torch.tensor([1, 0]))
        expected = (-d + math.log1p(math.exp(d))) / math.log(2)
        assert float(found) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("beta", [1e-200, 1e-30, 1e30, 1e200])
def test_an_extreme_beta_is_precision_or_recall(beta):
    scores, target = batch(9, torch.float32)
    q = torch.sigmoid(scores)
    whole = q.sum() if beta < 1 else target.sum()
    torch.testing.assert_close(fbeta_loss(scores, target, beta), 1 - q[target].sum() / whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_compile_into_one_graph_for_all_batch_sizes(name):
    torch.compiler.reset()
    whole = torch.compile(LOSSES[name], fullgraph=True, backend="aot_eager")
    for n in (10, 7, 13):
        scores, target = batch(n)
        scores.requires_grad_()
        losses = [loss(scores, target) for loss in (whole, LOSSES[name])]
        torch.testing.assert_close(*losses)
        torch.testing.assert_close(*[torch.autograd.grad(loss, scores)[0] for loss in losses])
    # No value can be looked at, so no batch be refused.
    loss = whole(scores, torch.zeros(13))
    assert bool(loss.isnan())
    assert torch.equal(torch.autograd.grad(loss, scores)[0], torch.zeros(13))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_export_trace_and_map(name):
    loss, (scores, target) = LOSSES[name], batch(12)
    first, n = "logits" if name == "fbeta" else "scores", torch.export.Dim("n", min=2)
    shapes = {first: {0: n}, "target": {0: n}}
    exported = torch.export.export(loss, batch(6), dynamic_shapes=shapes).module()
    for module in (exported, torch.fx.symbolic_trace(loss)):
        torch.testing.assert_close(module(scores, target), loss(scores, target))
    rows, targets = scores.reshape(2, 6), target.reshape(2, 6)
    found = torch.func.vmap(torch.func.grad(loss))(rows, targets)
    expected = [torch.func.grad(loss)(*row) for row in zip(rows, targets, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))
    targets[1] = False
    assert torch.func.vmap(loss)(rows, targets).isnan().tolist() == [False, True]
    assert loss(scores.to("meta"), target.to("meta")).shape == ()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: roc_auc_loss(torch.ones(3), torch.ones(3)), "all 3 samples.*one class"),
        (lambda: roc_auc(torch.ones(3), torch.zeros(3)), "one class"),
        (lambda: roc_auc(torch.tensor([1.0, torch.nan]), torch.tensor([0, 1])), "NaN"),
        (lambda: fbeta_loss(torch.ones(3), torch.zeros(3)), "all 3 samples.*are negative"),
        (lambda: roc_auc_loss(torch.ones(3), torch.ones(2)), r"shape \(3,\), target \(2,\)"),
        (lambda: roc_auc_loss(torch.ones(3, 2), torch.ones(2, 2)), "give both the shape"),
        (lambda: roc_auc_loss(torch.ones(3, 2), torch.tensor([0, 1, 2])), "between 0 and 1"),
        (lambda: roc_auc_loss(torch.ones(3, 2), torch.ones(3)), "labels are torch.float32"),
        (lambda: fbeta_loss(torch.ones(0), torch.ones(0)), "batch is empty"),
        (lambda: roc_auc_loss(torch.ones(2), torch.tensor([0, 1]), "step"), "'step'"),
        (lambda: roc_auc_loss(torch.ones(2), torch.tensor([0, 1]), scale=0), "scale is 0"),
        (lambda: roc_auc_loss(torch.ones(2), torch.tensor([0, 1]), scale=math.inf), "scale is inf"),
        (lambda: fbeta_loss(torch.ones(2), torch.tensor([0, 1]), math.nan), "beta is nan"),
        (lambda: fbeta_loss(1j * torch.ones(2), torch.tensor([0, 1])), "complex64, which has no"),
        (lambda: roc_auc(1j * torch.ones(2), torch.tensor([0, 1])), "complex64, which has no"),
        (lambda: fbeta_loss(torch.ones(2), torch.tensor([0, 1]), 0), "beta is 0"),
    ],
)
def test_batches_without_a_ranking_are_refused(call, what):
    with pytest.raises(UsageError, match=what):
        call()
