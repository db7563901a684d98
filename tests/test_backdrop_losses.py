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


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: roc_auc_loss(torch.ones(3), torch.ones(3)), "all 3 samples.*one class"),
        (lambda: roc_auc(torch.ones(3), torch.zeros(3)), "one class"),
        (lambda: roc_auc(torch.tensor([1.0, torch.nan]), torch.tensor([0, 1])), "NaN"),
        (lambda: fbeta_loss(torch.ones(3), torch.zeros(3)), "none of the 3 samples"),
        (lambda: roc_auc_loss(torch.ones(3), torch.ones(2)), r"shape \(3,\), target \(2,\)"),
        (lambda: roc_auc_loss(torch.ones(3, 2), torch.ones(3, 2)), "give both the shape"),
        (lambda: fbeta_loss(torch.ones(0), torch.ones(0)), "batch is empty"),
        (lambda: roc_auc_loss(torch.ones(2), torch.tensor([0, 1]), "step"), "'step'"),
        (lambda: roc_auc_loss(torch.ones(2), torch.tensor([0, 1]), scale=0), "scale is 0"),
        (lambda: fbeta_loss(torch.ones(2), torch.tensor([0, 1]), 0), "beta is 0"),
    ],
)
def test_batches_without_a_ranking_are_refused(call, what):
    with pytest.raises(UsageError, match=what):
        call()
