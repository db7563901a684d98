"""Losses that are no mean over samples, made differentiable.

Their gradient needs the whole batch at once, so that the usual source of
noise in training, the choice of a minibatch, is missing or biased.
``Backdrop(dims=(0,))`` in front of them brings it back: the loss sees every
sample, the gradient reaches a random part of them.

They are computed in float32 at least, whatever the dtype of the scores, and in
float64 for float64 and integers.

A batch that has no loss (one class only, no positives) is refused. Where no
value can be looked at, under ``torch.compile``, ``torch.export`` and
`torch.func.vmap`, its loss is NaN and its gradient zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional
from torch.overrides import handle_torch_function

from gpgen.errors import UsageError

__all__ = ["FBetaLoss", "ROCAUCLoss", "fbeta_loss", "roc_auc", "roc_auc_loss"]

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
        Shape ``(sample,)`` or ``(sample, 1)``; any real numbers.
    target
        Of the same shape; nonzero for positives.
    surrogate, scale
        As above.

    Returns
    -------
    Tensor
        Scalar, float32 or float64: the mean over all pairs. Memory grows with
        the number of pairs; under ``torch.compile`` with the square of the batch.

    Raises
    ------
    UsageError
        If shapes differ, the batch is empty or has one class only, `scale` is
        not positive and finite or `surrogate` unknown.
    """
    if isinstance(scores, Proxy):
        return _recorded(roc_auc_loss, scores, target, surrogate, scale)
    scores, positive = _checked(scores, target)
    if not 0 < scale < math.inf:
        raise UsageError(f"scale is {scale}", "choose a finite one above 0")
    if surrogate not in _SURROGATES:
        raise UsageError(f"no surrogate is called {surrogate!r}", "use logistic, hinge or sigmoid")
    one_class = _known(positive.all() | ~positive.any())
    if one_class:
        raise UsageError(
            f"all {len(scores)} samples of the batch are of one class, so no pair can be ranked",
            "use larger batches, or draw them stratified",
        )
    scores = _wide(scores)
    if one_class is None:
        # The number of pairs isn't known: all are computed, and those of two classes count.
        paired = positive[:, None] & ~positive[None, :]
        difference = torch.where(paired, scores[:, None] - scores[None, :], 0)
        loss = torch.where(paired, _SURROGATES[surrogate](difference / scale), 0)
        return loss.sum() / paired.sum()
    difference = scores[positive][:, None] - scores[~positive][None, :]
    return _SURROGATES[surrogate](difference / scale).mean()


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
        Scalar in [0, 1], float32 or float64.

    Raises
    ------
    UsageError
        If shapes differ, the batch is empty or has no positives, or `beta` is
        not positive and finite.
    """
    if isinstance(logits, Proxy):
        return _recorded(fbeta_loss, logits, target, beta)
    logits, positive = _checked(logits, target)
    if not 0 < beta < math.inf:
        raise UsageError(f"beta is {beta}", "choose a finite one above 0")
    if _known(positive.any()) is False:
        raise UsageError(
            f"none of the {len(logits)} samples of the batch is positive, so F is 0 whatever "
            "the model says",
            "use larger batches, or draw them stratified",
        )
    probability = torch.sigmoid(_wide(logits))
    true_positives = torch.where(positive, probability, 0).sum()
    # FN = positives - TP and FP = sum of probabilities - TP turn F into TP over a mean of
    # both with weights b^2 and 1, here divided by 1 + b^2, which may overflow.
    norm = math.hypot(1, beta)
    positives = positive.sum(dtype=probability.dtype)
    mean = (beta / norm) ** 2 * positives + (1 / norm) ** 2 * probability.sum()
    return torch.where(positive.any(), 1 - true_positives / mean, math.nan)


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
    if scores.is_complex():
        raise UsageError(f"the scores are {scores.dtype}, which has no order", "give real scores")
    if scores.shape != target.shape or scores.ndim not in (1, 2) or scores[:1].numel() > 1:
        raise UsageError(
            f"scores have shape {tuple(scores.shape)}, target {tuple(target.shape)}",
            "give both the shape (sample,)",
        )
    if scores.numel() == 0:
        raise UsageError("the batch is empty", "leave empty batches out")
    return scores.reshape(-1), target.reshape(-1) != 0


def _wide(scores: Tensor) -> Tensor:
    """Return scores in a dtype whose sums over a batch are neither coarse nor too large."""
    least = torch.float32 if scores.is_floating_point() else torch.float64
    return scores.to(torch.promote_types(scores.dtype, least))


def _known(condition: Tensor) -> bool | None:
    """Return what `condition` says; None where no value can be looked at."""
    if torch.compiler.is_compiling():
        return None
    try:
        return bool(condition)
    except RuntimeError:  # under vmap, and of tensors without data
        return None


def _recorded(loss: Callable[..., Tensor], scores: Tensor, *arguments: Any) -> Tensor:  # noqa: ANN401
    """Record a loss in a torch.fx trace as one call, as of torch's own losses."""
    recorded: Tensor = handle_torch_function(loss, (scores,), scores, *arguments)
    return recorded
