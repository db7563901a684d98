"""Masks over positions of which some are padding, or that belong to groups.

A group of positions (a sequence of a batch, a graph of several, a class of samples) has a mask of
its own: normalized by its own mean, and never empty. Padding is in no group and gets no gradient.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from backdrop.label_scores import known
from backdrop.uniform import draw_uniform
from gpgen.errors import UsageError

__all__ = ["factors_in_groups", "sequence_of_each_row", "spread"]

_OF_LENGTHS: Final = "; of lengths it is torch.arange(steps) < lengths[:, None]"


def spread(
    values: Tensor,
    what: str,
    input: Tensor,  # noqa: A002
    axes: tuple[int, ...],
    per_sample: bool,
) -> Tensor:
    """Bring a value for each position into a shape that broadcasts to the mask of `input`.

    Parameters
    ----------
    values
        Shape ``[input.shape[d] for d in axes]``, with `per_sample` optionally led by
        ``input.shape[0]``.
    what
        What they are called in an error.
    """
    values = torch.as_tensor(values, device=input.device)
    sizes = [input.shape[axis] for axis in axes]
    shape = [size if axis in axes else 1 for axis, size in enumerate(input.shape)]
    led = per_sample and axes[0] != 0 and list(values.shape) == [input.shape[0], *sizes]
    if led:
        shape[0] = input.shape[0]
    elif list(values.shape) != sizes:
        raise UsageError(
            f"{what} has shape {tuple(values.shape)}, "
            f"the input has {tuple(sizes)} in dimensions {axes}",
            f"give {what} one entry a position of the masked dimensions"
            + _OF_LENGTHS * (what == "valid"),
        )
    return values.reshape(shape)


def _boolean(valid: Tensor) -> Tensor:
    """Return which positions exist; refuse what may be lengths, of which each is another than 0."""
    exists = valid != 0
    if known((exists & (valid != 1)).any()):
        raise UsageError(
            "valid has entries other than 0 and 1", "give 1 where a position exists" + _OF_LENGTHS
        )
    return exists


def factors_in_groups(
    input: Tensor,  # noqa: A002
    p: float,
    axes: tuple[int, ...],
    per_sample: bool,
    mask: Tensor | None,
    valid: Tensor | None,
    groups: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    """Return the factors of `backdrop.functional.backdrop` where `valid` or `groups` are given."""
    if groups is not None:
        groups = torch.as_tensor(groups, device=input.device)
        if groups.is_floating_point() or groups.is_complex():
            raise UsageError(f"groups are {groups.dtype}", "give integers, one for each position")
    by_sample = per_sample and axes[0] != 0
    shape = [
        size if axis in axes or (by_sample and axis == 0) else 1
        for axis, size in enumerate(input.shape)
    ]
    exists = torch.ones(shape, dtype=torch.bool, device=input.device)
    if valid is not None:
        exists = exists & _boolean(spread(valid, "valid", input, axes, per_sample))
    index = torch.zeros(shape, dtype=torch.int64, device=input.device)
    count = 1
    if groups is not None:
        groups = spread(groups, "groups", input, axes, per_sample)
        rows = groups.shape[0] if by_sample else 1
        numbers = _numbered(groups.reshape(rows, -1))
        index, count = index + numbers.reshape(groups.shape), numbers.shape[1]
    if by_sample:  # each sample has groups of its own
        samples = torch.arange(shape[0], device=input.device)
        index = index + count * samples.reshape(-1, *(1,) * (len(shape) - 1))
        count *= shape[0]
    exists, index = exists.flatten(), index.flatten()
    if mask is None:
        keep = _drawn(
            draw_uniform(shape, input.device, generator).flatten(), p, exists, index, count
        )
    else:
        given = spread(mask, "the fixed mask", input, axes, per_sample) != 0
        keep = given.expand(shape).flatten()
    wide = input.dtype in (torch.float64, torch.complex128)
    keep = (keep & exists).to(torch.float64 if wide else torch.float32)
    kept = keep.new_zeros(count).index_add_(0, index, keep)
    present = torch.zeros_like(kept).index_add_(0, index, exists.to(keep.dtype))
    return (keep * (present / kept.clamp(min=1))[index]).reshape(shape)


def _numbered(groups: Tensor) -> Tensor:
    """Number the groups of each row from 0, in tensors whose sizes don't depend on the values.

    `torch.unique` has sizes that do, which torch.func.vmap and torch.export don't allow.
    """
    ordered, places = groups.long().sort(1)
    numbers = functional.pad((ordered.diff(dim=1) != 0).long().cumsum(1), (1, 0))
    return torch.zeros_like(numbers).scatter(1, places, numbers)


def _drawn(uniform: Tensor, p: float, exists: Tensor, index: Tensor, count: int) -> Tensor:
    """Return which positions are kept: those of at least p, or a group's largest if none is."""
    uniform = torch.where(exists, uniform, -1)
    largest = uniform.new_full((count,), -1).scatter_reduce(0, index, uniform, "amax")
    return uniform >= largest.clamp(max=p)[index]


def sequence_of_each_row(packed: PackedSequence) -> Tensor:
    """Return the number of the sequence that each row of a packed batch belongs to."""
    rows = [torch.arange(int(size)) for size in packed.batch_sizes]
    return torch.cat(rows).to(packed.data.device)
