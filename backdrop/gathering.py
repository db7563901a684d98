"""Scores of all ranks of a distributed run, for losses over the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from gpgen.errors import UsageError

__all__ = ["gathered"]


def gathered(
    scores: Tensor, target: Tensor, group: distributed.ProcessGroup | None = None
) -> tuple[Tensor, Tensor]:
    """Return the scores and targets of all ranks, in the ranks' order.

    A loss of them is the same on each rank, and its gradient arrives at every rank's own scores.
    With `torch.nn.parallel.DistributedDataParallel`, which takes the mean of the ranks' gradients,
    the parameters get the gradient of the loss over the whole batch.

    Parameters
    ----------
    scores
        This rank's, shape ``(sample, ...)``; ranks may have different numbers of samples.
    target
        Of as many samples; it gets no gradient.
    group
        The ranks; by default all.

    Returns
    -------
    tuple of Tensor
        Scores and targets, in order of the ranks. Without a process group what was given.

    Raises
    ------
    UsageError
        If `scores` and `target` hold different numbers of samples.
    """
    if scores.ndim == 0 or target.ndim == 0 or len(scores) != len(target):
        raise UsageError(
            f"scores have shape {tuple(scores.shape)}, target {tuple(target.shape)}",
            "give as many targets as scores",
        )
    if not (distributed.is_available() and distributed.is_initialized()):
        return scores, target
    size = torch.tensor([len(scores)], device=scores.device)
    sizes = [torch.zeros_like(size) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(sizes, size, group=group)
    counts = [int(each) for each in sizes]
    return _Gather.apply(scores, counts, group), _all_of(target, counts, group)  # type: ignore[no-untyped-call]


def _all_of(own: Tensor, counts: list[int], group: distributed.ProcessGroup | None) -> Tensor:
    """Gather tensors of different lengths, each padded to the longest meanwhile."""
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded, group=group)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """The gradient of this rank's part, summed over the losses of all ranks."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        scores: Tensor,
        counts: list[int],
        group: distributed.ProcessGroup | None,
    ) -> Tensor:
        ctx.group = group  # type: ignore[attr-defined]
        start = sum(counts[: distributed.get_rank(group)])
        ctx.part = slice(start, start + len(scores))  # type: ignore[attr-defined]
        return _all_of(scores, counts, group)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient, group=ctx.group)  # type: ignore[attr-defined]
        return gradient[ctx.part], None, None  # type: ignore[attr-defined]
