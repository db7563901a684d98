"""Ranking losses of several labels, of many scores and of several ranks."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

from backdrop import pairs
from backdrop.losses import (
    AveragePrecisionLoss,
    average_precision,
    average_precision_loss,
    fbeta_loss,
    gathered,
    roc_auc,
    roc_auc_loss,
)
from gpgen.errors import UsageError


def scores_and_labels(samples: int = 60, labels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = torch.rand(samples, labels) < 0.3
    scores = (torch.randn(samples, labels) + target).double()
    return (scores * 2).round() / 2, target  # with ties


def test_the_average_precision_is_scikit_learns() -> None:
    scores, target = scores_and_labels()
    for k in range(3):
        expected = metrics.average_precision_score(target[:, k].numpy(), scores[:, k].numpy())
        assert average_precision(scores[:, k], target[:, k]) == pytest.approx(expected, abs=1e-12)
    expected = metrics.average_precision_score(target.numpy(), scores.numpy(), average="macro")
    assert average_precision(scores, target) == pytest.approx(expected, abs=1e-12)


def test_the_loss_tends_to_one_minus_the_average_precision() -> None:
    torch.manual_seed(1)
    scores, target = torch.randn(200).double(), torch.rand(200) < 0.2
    expected = 1 - average_precision(scores, target)
    errors = [
        abs(float(average_precision_loss(scores, target, scale)) - expected)
        for scale in (0.1, 0.01, 0.001)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2e-3


def test_the_gradient_of_the_average_precision_raises_it() -> None:
    torch.manual_seed(2)
    scores = torch.randn(100).double().requires_grad_()
    target = torch.rand(100) < 0.2
    before = average_precision(scores, target)
    optimizer = torch.optim.Adam([scores], 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        AveragePrecisionLoss(0.1)(scores, target).backward()
        optimizer.step()
    assert average_precision(scores, target) > before + 0.2
    assert torch.autograd.gradcheck(lambda s: average_precision_loss(s, target, 0.5), (scores,))


def test_several_labels_are_the_mean_over_those_that_have_a_loss() -> None:
    scores, target = scores_and_labels()
    none = torch.cat([target, torch.zeros(60, 1, dtype=torch.bool)], 1)
    wide = torch.cat([scores, torch.randn(60, 1).double()], 1)
    for loss in (roc_auc_loss, average_precision_loss, fbeta_loss):
        each = torch.stack([loss(scores[:, k], target[:, k]) for k in range(3)])
        torch.testing.assert_close(loss(scores, target), each.mean())
        torch.testing.assert_close(loss(wide, none), each.mean())
    assert roc_auc(scores, target) == pytest.approx(
        metrics.roc_auc_score(target.numpy(), scores.numpy(), average="macro")
    )


def test_one_label_each_is_ranked_against_the_rest() -> None:
    scores, _ = scores_and_labels()
    labels = torch.arange(60) % 3
    one_hot = torch.nn.functional.one_hot(labels, 3)
    for loss in (roc_auc_loss, average_precision_loss, fbeta_loss):
        torch.testing.assert_close(loss(scores, labels), loss(scores, one_hot))
    probabilities = scores.softmax(1)
    assert roc_auc(probabilities, labels) == pytest.approx(
        metrics.roc_auc_score(labels.numpy(), probabilities.numpy(), multi_class="ovr")
    )


def test_pairs_in_parts_are_the_pairs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, target = scores_and_labels(200, 1)
    found = []
    for at_once in (2**24, 500):
        monkeypatch.setattr(pairs, "_AT_ONCE", at_once)
        x = scores[:, 0].clone().requires_grad_()
        loss = roc_auc_loss(x, target[:, 0]) + average_precision_loss(x, target[:, 0], 0.1)
        loss.backward()
        assert x.grad is not None
        found.append((loss.detach(), x.grad))
    torch.testing.assert_close(found[0], found[1])


MANY = """
import resource, torch
from backdrop.losses import {loss}
torch.manual_seed(0)
target = torch.arange(100_000) % 50 == 0
scores = torch.randn(100_000, requires_grad=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{loss}(scores, target).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.slow
def test_a_hundred_thousand_scores_need_less_than_a_gigabyte() -> None:
    command = [sys.executable, "-c", MANY.format(loss="roc_auc_loss")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(done.stdout) < 1


@pytest.mark.train
def test_the_gradient_over_all_ranks_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    from torch_ranks import run_ranks

    for whole, mine in run_ranks("loss_of_all_ranks", tmp_path):
        assert mine == pytest.approx(whole, rel=1e-12)


def test_without_ranks_it_is_what_was_given() -> None:
    scores, target = torch.ones(3), torch.ones(3)
    assert gathered(scores, target)[0] is scores
    with pytest.raises(UsageError, match="as many targets"):
        gathered(scores, torch.ones(2))


def test_without_positives_there_is_no_average_precision() -> None:
    with pytest.raises(UsageError, match="all 3 samples of the batch are negative"):
        average_precision_loss(torch.ones(3), torch.zeros(3))
    with pytest.raises(UsageError, match="NaN"):
        average_precision(torch.tensor([1.0, np.nan]), torch.tensor([0, 1]))


@pytest.mark.parametrize("loss", [roc_auc_loss, average_precision_loss])
def test_many_pairs_are_differentiated_by_torch_func_too(
    loss: Callable[[Tensor, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = torch.randn(20, dtype=torch.float64, requires_grad=True)
    target = torch.arange(20) % 3 == 0
    (expected,) = torch.autograd.grad(loss(scores, target), scores)
    monkeypatch.setattr(pairs, "_AT_ONCE", 40)
    found = torch.func.grad(lambda scores: loss(scores, target))(scores.detach())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, 0.3, 2.0])
@pytest.mark.parametrize("loss", [roc_auc_loss, average_precision_loss, fbeta_loss, roc_auc])
def test_a_target_other_than_0_and_1_is_refused(
    loss: Callable[[Tensor, Tensor], Tensor], wrong: float
) -> None:
    with pytest.raises(UsageError, match=f"an entry {wrong:g}; give 0 for negatives and 1"):
        loss(torch.randn(3), torch.tensor([1.0, 0.0, wrong]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_a_column_of_classes_numbers_is_refused(dtype: torch.dtype) -> None:
    target = torch.tensor([[0], [1], [2]], dtype=dtype)
    for shape in ((3, 1), (3, 2)):
        with pytest.raises(UsageError, match="an entry 2; give 0 for negatives and 1"):
            roc_auc_loss(torch.randn(shape), target.expand(shape))


@pytest.mark.train
def test_a_second_derivative_through_the_ranks_is_refused(tmp_path: Path) -> None:
    from torch_ranks import run_ranks

    for said in run_ranks("second_derivative", tmp_path):
        assert "once_differentiable" in said
