"""Sums over pairs of scores, in memory that doesn't grow with the number of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["pair_sums"]

_AT_ONCE: Final = 2**24
"""Pairs: 64 MB of float32 for each of the few arrays that a term and its gradient take."""


def pair_sums(left: Tensor, right: Tensor, term: Callable[[Tensor], Tensor]) -> Tensor:
    """Return for each of `left` the sum over `right` of ``term(left - right)``.

    Where there are more than 2^24 pairs they are computed by rows of `left`, and again in the
    backward pass, so that those of a few rows are kept at a time.

    Parameters
    ----------
    left, right
        Shapes ``(n,)`` and ``(m,)``, of one floating dtype.
    term
        An elementwise function.

    Returns
    -------
    Tensor
        Shape ``(n,)``.
    """

    def sums(some: Tensor, right: Tensor) -> Tensor:
        return term(some[:, None] - right[None, :]).sum(1)

    rows = max(1, _AT_ONCE // max(1, len(right)))
    if len(left) <= rows:
        return sums(left, right)
    split = torch.split(left, rows)
    if torch._C._are_functorch_transforms_active():  # torch.func has no checkpoints
        return torch.cat([sums(some, right) for some in split])
    return torch.cat([checkpoint(sums, some, right, use_reentrant=False) for some in split])
