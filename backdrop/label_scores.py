"""Scores of one label or of several, and the loss of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gpgen.errors import UsageError

__all__ = ["known", "mean_over_labels", "refuse_nan"]


def mean_over_labels(
    of_one: Callable[[Tensor, Tensor], Tensor | None],
    scores: Tensor,
    target: Tensor,
    none: str,
) -> Tensor:
    """Return the mean of a loss over the labels that have one.

    Parameters
    ----------
    of_one
        From a label's scores and which samples are positive; None for a label without a loss.
    none
        What is said of the samples if no label has a loss.
    """
    found = [of_one(_wide(some), positive) for some, positive in _by_label(scores, target)]
    losses = [loss for loss in found if loss is not None]
    if not losses:
        raise UsageError(
            f"all {len(scores)} samples of the batch {none}",
            "use larger batches, or draw them stratified",
        )
    return losses[0] if len(losses) == 1 else torch.stack(losses).nanmean()


def _by_label(scores: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return each label's scores and which samples are positive, shape (sample,)."""
    if scores.is_complex():
        raise UsageError(f"the scores are {scores.dtype}, which has no order", "give real scores")
    several = scores.ndim == 2 and scores.shape[1] > 1
    one_label_each = several and target.shape == scores.shape[:1]
    if scores.ndim not in (1, 2) or not (scores.shape == target.shape or one_label_each):
        raise UsageError(
            f"scores have shape {tuple(scores.shape)}, target {tuple(target.shape)}",
            "give both the shape (sample,) or (sample, label), or one label for each sample",
        )
    if scores.numel() == 0:
        raise UsageError("the batch is empty", "leave empty batches out")
    if not one_label_each:
        _check_classes(target)
    if not several:
        return [(scores.reshape(-1), target.reshape(-1) != 0)]
    if one_label_each:
        if target.is_floating_point() or target.is_complex():
            raise UsageError(f"the labels are {target.dtype}", "give integers")
        if known((target < 0).any() | (target >= scores.shape[1]).any()):
            raise UsageError(
                f"a label is not between 0 and {scores.shape[1] - 1}",
                "give each sample the number of one of the scores' columns",
            )
        target = target[:, None] == torch.arange(scores.shape[1], device=target.device)
    return [(scores[:, k], target[:, k] != 0) for k in range(scores.shape[1])]


def _check_classes(target: Tensor) -> None:
    """Refuse what is neither 0 nor 1: labels of -1 or of many classes, probabilities, NaN."""
    if target.dtype == torch.bool or torch.compiler.is_compiling():  # no value can be looked at
        return
    wrong = (target != 0) & (target != 1)
    if known(wrong.any()):
        raise UsageError(
            f"the target has an entry {target[wrong][0].item():g}",
            "give 0 for negatives and 1 for positives",
        )


def refuse_nan(scores: Tensor) -> None:
    """Refuse scores that have no rank."""
    if bool(scores.isnan().any()):
        raise UsageError("a score is NaN, which has no rank", "look for where training diverged")


def _wide(scores: Tensor) -> Tensor:
    """Return scores in a dtype whose sums over a batch are neither coarse nor too large."""
    least = torch.float32 if scores.is_floating_point() else torch.float64
    return scores.to(torch.promote_types(scores.dtype, least))


def known(condition: Tensor) -> bool | None:
    """Return what `condition` says; None where no value can be looked at."""
    if torch.compiler.is_compiling():
        return None
    try:
        return bool(condition)
    except RuntimeError:  # under vmap, and of tensors without data
        return None
