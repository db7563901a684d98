"""Losses that are no mean over samples, made differentiable.

Their gradient needs the whole batch at once, so that the usual source of
noise in training, the choice of a minibatch, is missing or biased.
``Backdrop(dims=(0,))`` in front of them brings it back: the loss sees every
sample, the gradient reaches a random part of them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpgen.errors import UsageError

__all__ = ["FBetaLoss", "ROCAUCLoss", "fbeta_loss", "roc_auc", "roc_auc_loss"]

Surrogate = Literal["logistic", "hinge", "sigmoid"]


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
        Shape ``(sample,)`` or ``(sample, 1)``; any real numbers.
    target
        Of the same shape; nonzero for positives.
    surrogate, scale
        As above.

    Returns
    -------
    Tensor
        Scalar, the mean over all pairs. Memory grows with the number of pairs.

    Raises
    ------
    UsageError
        If shapes differ, the batch is empty or has one class only, `scale` is
        not positive or `surrogate` unknown.
    """
    scores, positive = _checked(scores, target)
    if not scale > 0:
        raise UsageError(f"scale is {scale}", "choose one above 0")
    if bool(positive.all()) or not bool(positive.any()):
        raise UsageError(
            f"all {len(scores)} samples of the batch are of one class, so no pair can be ranked",
            "use larger batches, or draw them stratified",
        )
    difference = (scores[positive][:, None] - scores[~positive][None, :]) / scale
    if surrogate == "logistic":
        return functional.softplus(-difference).mean() / math.log(2)
    if surrogate == "hinge":
        return functional.relu(1 - difference).square().mean()
    if surrogate == "sigmoid":
        return torch.sigmoid(-difference).mean()
    raise UsageError(f"no surrogate is called {surrogate!r}", "use logistic, hinge or sigmoid")


def roc_auc(scores: Tensor, target: Tensor) -> float:
    """Return the AUC itself: the fraction of pairs ranked rightly, ties counting half.

    Parameters, errors
        As for `roc_auc_loss`.
    """
    scores, positive = _checked(scores.detach(), target)
    if bool(positive.all()) or not bool(positive.any()):
        raise UsageError("all samples are of one class", "evaluate on samples of both")
    if bool(scores.isnan().any()):
        raise UsageError("a score is NaN, which has no rank", "look for where training diverged")
    negatives = scores[~positive].sort().values
    ranked = scores[positive].contiguous()
    below = torch.searchsorted(negatives, ranked, right=False)
    not_above = torch.searchsorted(negatives, ranked, right=True)
    return float((below + not_above).double().mean() / (2 * len(negatives)))


def fbeta_loss(logits: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Return 1 - F-beta with counts replaced by sums of probabilities.

    ``F = (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)`` for ``b = beta``, where
    a sample with probability ``q = sigmoid(logit)`` counts as q of a positive.

    Parameters
    ----------
    logits
        Shape ``(sample,)`` or ``(sample, 1)``.
    target
        Of the same shape; nonzero for positives.
    beta
        How many times as much recall matters as precision; above 0.

    Returns
    -------
    Tensor
        Scalar in [0, 1].

    Raises
    ------
    UsageError
        If shapes differ, the batch is empty or has no positives, or `beta` is
        not positive.
    """
    logits, positive = _checked(logits, target)
    if not beta > 0:
        raise UsageError(f"beta is {beta}", "choose one above 0")
    if not bool(positive.any()):
        raise UsageError(
            f"none of the {len(logits)} samples of the batch is positive, so F is 0 whatever "
            "the model says",
            "use larger batches, or draw them stratified",
        )
    probability = torch.sigmoid(logits)
    true_positives = probability[positive].sum()
    # FN = positives - TP and FP = sum of probabilities - TP turn the formula's
    # denominator into this.
    denominator = beta**2 * positive.sum() + probability.sum()
    return 1 - (1 + beta**2) * true_positives / denominator


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


def _checked(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores, shape (sample,), and which are positive; refuse what has no pairs."""
    if scores.shape != target.shape or scores.ndim not in (1, 2) or scores[:1].numel() > 1:
        raise UsageError(
            f"scores have shape {tuple(scores.shape)}, target {tuple(target.shape)}",
            "give both the shape (sample,)",
        )
    if scores.numel() == 0:
        raise UsageError("the batch is empty", "leave empty batches out")
    return scores.reshape(-1), target.reshape(-1) != 0
