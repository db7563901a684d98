"""Losses that are no mean over samples, made differentiable.

Their gradient needs the whole batch at once, so that the usual source of
noise in training, the choice of a minibatch, is missing or biased.
``Backdrop(dims=(0,))`` in front of them brings it back: the loss sees every
sample, the gradient reaches a random part of them.

They are computed in float32 at least, whatever the dtype of the scores, and in
float64 for float64 and integers.

Scores of shape ``(sample, label)`` are of several labels: with a target of the same shape each
sample has any of them, with one of shape ``(sample,)``, integers, exactly one, which is ranked
against the rest. The loss is the mean over the labels that have one: where a label has no
positives in the batch, there is nothing to rank.

`backdrop.losses.gathered` brings the scores of all ranks of a distributed run together.

A batch that has no loss (one class only, no positives) is refused. Where no
value can be looked at, under ``torch.compile``, ``torch.export`` and
`torch.func.vmap`, its loss is NaN and its gradient zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional
from torch.overrides import handle_torch_function

from backdrop.gathering import gathered
from backdrop.label_scores import known, mean_over_labels, refuse_nan
from backdrop.pairs import pair_sums
from gpgen.errors import UsageError

__all__ = [
    "AveragePrecisionLoss",
    "FBetaLoss",
    "ROCAUCLoss",
    "average_precision",
    "average_precision_loss",
    "fbeta_loss",
    "gathered",
    "roc_auc",
    "roc_auc_loss",
]

_NO_POSITIVES: Final = "are negative, whatever the model says"

Surrogate = Literal["logistic", "hinge", "sigmoid"]

_SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    # torch takes softplus(x) for x above the threshold; its own, 20, is coarse in float64.
    "logistic": lambda d: functional.softplus(-d, threshold=40) / math.log(2),
    "hinge": lambda d: functional.relu(1 - d).square(),
    "sigmoid": lambda d: torch.sigmoid(-d),
}


def roc_auc_loss(
    scores: Tensor, target: Tensor, surrogate: Surrogate = "logistic", scale: float = 1.0
) -> Tensor:
    """Return a differentiable stand-in for 1 - AUC of the receiver operating characteristic.

    The AUC is the fraction of pairs, one positive and one negative sample, in
    which the positive has the larger score (Mann and Whitney, Ann. Math.
    Statist. 18 (1947) 50). Here each pair's step function of the difference
    ``d = score_positive - score_negative`` is replaced by a smooth one:

    ========= ============================== =================================
    logistic  ``log2(1 + exp(-d / scale))``  convex, above the step
    hinge     ``max(0, 1 - d / scale)**2``   convex, above the step
    sigmoid   ``1 / (1 + exp(d / scale))``   tends to 1 - AUC as scale tends to 0
    ========= ============================== =================================

    Parameters
    ----------
    scores
        Shape ``(sample,)`` or ``(sample, label)``; any real numbers.
    target
        Of the same shape, 0 for negatives, 1 for positives; or ``(sample,)`` integers, each
        sample's label.
    surrogate, scale
        As above.

    Returns
    -------
    Tensor
        Scalar, float32 or float64: the mean over all pairs. From 2^24 pairs on they are computed
        in parts, and again in the backward pass, so that memory stays below a gigabyte;
        under ``torch.compile`` and `torch.func` it grows with the square of the batch.

    Raises
    ------
    UsageError
        If shapes differ, the batch is empty or has one class only, the target has an entry
        other than 0 and 1, `scale` is not positive and finite or `surrogate` unknown.
    """
    if isinstance(scores, Proxy):
        return _recorded(roc_auc_loss, scores, target, surrogate, scale)
    if not 0 < scale < math.inf:
        raise UsageError(f"scale is {scale}", "choose a finite one above 0")
    if surrogate not in _SURROGATES:
        raise UsageError(f"no surrogate is called {surrogate!r}", "use logistic, hinge or sigmoid")
    term = _SURROGATES[surrogate]

    def of_one(scores: Tensor, positive: Tensor) -> Tensor | None:
        one_class = known(positive.all() | ~positive.any())
        if one_class:
            return None
        if one_class is None:
            # The number of pairs isn't known: all are computed, and those of two classes count.
            paired = positive[:, None] & ~positive[None, :]
            difference = torch.where(paired, scores[:, None] - scores[None, :], 0)
            return torch.where(paired, term(difference / scale), 0).sum() / paired.sum()
        positives, negatives = scores[positive], scores[~positive]
        sums = pair_sums(positives, negatives, lambda d: term(d / scale))
        return sums.mean() / len(negatives)

    return mean_over_labels(of_one, scores, target, "are of one class, so no pair can be ranked")


def roc_auc(scores: Tensor, target: Tensor) -> float:
    """Return the AUC itself: the fraction of pairs ranked rightly, ties counting half.

    Parameters, errors
        As for `roc_auc_loss`.
    """

    def of_one(scores: Tensor, positive: Tensor) -> Tensor | None:
        if bool(positive.all()) or not bool(positive.any()):
            return None
        negatives = scores[~positive].sort().values
        ranked = scores[positive].contiguous()
        below = torch.searchsorted(negatives, ranked, right=False)
        not_above = torch.searchsorted(negatives, ranked, right=True)
        return (below + not_above).double().mean() / (2 * len(negatives))

    refuse_nan(scores)
    return float(mean_over_labels(of_one, scores.detach(), target, "are of one class"))


def average_precision_loss(scores: Tensor, target: Tensor, scale: float = 0.01) -> Tensor:
    """Return a differentiable stand-in for 1 - average precision.

    The average precision is the mean over the positives of the precision at each one's rank: of
    the samples that are ranked as high, the fraction that is positive. Here ranks are sums of
    ``1 / (1 + exp(-d / scale))`` over the differences d of scores instead of steps (Smooth-AP:
    Brown, Xie, Kalogeiton and Zisserman, arXiv:2007.12163); as `scale` tends to 0 the value tends
    to 1 - AP.

    Parameters
    ----------
    scores, target
        As for `roc_auc_loss`.
    scale
        Of the differences; positive and finite.

    Returns
    -------
    Tensor
        Scalar in [0, 1], float32 or float64. Memory as for `roc_auc_loss`.

    Raises
    ------
    UsageError
        If shapes differ, the batch is empty or has no positives, the target has an entry other
        than 0 and 1, or `scale` is not positive and finite.
    """
    if isinstance(scores, Proxy):
        return _recorded(average_precision_loss, scores, target, scale)
    if not 0 < scale < math.inf:
        raise UsageError(f"scale is {scale}", "choose a finite one above 0")

    def step(d: Tensor) -> Tensor:
        return torch.sigmoid(-d / scale)

    def of_one(scores: Tensor, positive: Tensor) -> Tensor | None:
        some = known(positive.any())
        if some is False:
            return None
        if some is None:
            above = step(scores[:, None] - scores[None, :])
            precision = (0.5 + (above * positive).sum(1)) / (0.5 + above.sum(1))
            return 1 - torch.where(positive, precision, 0).sum() / positive.sum()
        positives = scores[positive]
        # Each sample's difference to itself counts one half, its own rank is one.
        rank = 0.5 + pair_sums(positives, scores, step)
        return 1 - ((0.5 + pair_sums(positives, positives, step)) / rank).mean()

    return mean_over_labels(of_one, scores, target, _NO_POSITIVES)


def average_precision(scores: Tensor, target: Tensor) -> float:
    """Return the average precision itself; equal scores share the lowest of their ranks.

    Parameters, errors
        As for `average_precision_loss`.
    """

    def of_one(scores: Tensor, positive: Tensor) -> Tensor | None:
        if not bool(positive.any()):
            return None
        everything, positives = scores.sort().values, scores[positive].sort().values
        at_least = len(everything) - torch.searchsorted(everything, positives)
        right = len(positives) - torch.searchsorted(positives, positives)
        return (right.double() / at_least).mean()

    refuse_nan(scores)
    return float(mean_over_labels(of_one, scores.detach(), target, _NO_POSITIVES))


def fbeta_loss(logits: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Return 1 - F-beta with counts replaced by sums of probabilities.

    ``F = (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)`` for ``b = beta``, where
    a sample with probability ``q = sigmoid(logit)`` counts as q of a positive.

    Parameters
    ----------
    logits
        Shape ``(sample,)`` or ``(sample, label)``.
    target
        As for `roc_auc_loss`.
    beta
        How many times as much recall matters as precision; above 0.

    Returns
    -------
    Tensor
        Scalar in [0, 1], float32 or float64.

    Raises
    ------
    UsageError
        If shapes differ, the batch is empty or has no positives, the target has an entry other
        than 0 and 1, or `beta` is not positive and finite.
    """
    if isinstance(logits, Proxy):
        return _recorded(fbeta_loss, logits, target, beta)
    if not 0 < beta < math.inf:
        raise UsageError(f"beta is {beta}", "choose a finite one above 0")
    # FN = positives - TP and FP = sum of probabilities - TP turn F into TP over a mean of
    # both with weights b^2 and 1, here divided by 1 + b^2, which may overflow.
    norm = math.hypot(1, beta)

    def of_one(logits: Tensor, positive: Tensor) -> Tensor | None:
        if known(positive.any()) is False:
            return None
        probability = torch.sigmoid(logits)
        true_positives = torch.where(positive, probability, 0).sum()
        positives = positive.sum(dtype=probability.dtype)
        mean = (beta / norm) ** 2 * positives + (1 / norm) ** 2 * probability.sum()
        return torch.where(positive.any(), 1 - true_positives / mean, math.nan)

    return mean_over_labels(of_one, logits, target, _NO_POSITIVES)


class ROCAUCLoss(nn.Module):
    """`roc_auc_loss` as a module."""

    def __init__(self, surrogate: Surrogate = "logistic", scale: float = 1.0) -> None:
        super().__init__()
        self.surrogate = surrogate
        self.scale = scale

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return roc_auc_loss(scores, target, self.surrogate, self.scale)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"surrogate={self.surrogate!r}, scale={self.scale}"


class AveragePrecisionLoss(nn.Module):
    """`average_precision_loss` as a module."""

    def __init__(self, scale: float = 0.01) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return average_precision_loss(scores, target, self.scale)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"scale={self.scale}"


class FBetaLoss(nn.Module):
    """`fbeta_loss` as a module."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return fbeta_loss(logits, target, self.beta)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"beta={self.beta}"


def _recorded(loss: Callable[..., Tensor], scores: Tensor, *arguments: Any) -> Tensor:  # noqa: ANN401
    """Record a loss in a torch.fx trace as one call, as of torch's own losses."""
    recorded: Tensor = handle_torch_function(loss, (scores,), scores, *arguments)
    return recorded
