"""Which boxes of a stem's output positions survive a mask, neighbours joined where that pays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from backdrop.patches import Indices, StemGeometry

__all__ = ["surviving"]

Box = tuple[list[int], list[int]]
"""First position, and the one after the last, along each axis."""


def surviving(
    factors: Tensor, samples: int, geometry: StemGeometry, largest: int
) -> tuple[list[int], Indices, Indices, int]:
    """Return boxes that hold all positions that survive, and what they cost.

    Parameters
    ----------
    factors
        What the gradient is multiplied by, of the output's dimensions, 1 where it doesn't vary.
    samples
        Of the output.
    geometry
        Of the stem.
    largest
        Pixels that joined boxes see at most.

    Returns
    -------
    tuple
        The sample of each box; where boxes start and stop, ``(box, axis)``; the pixels that all
        of them see.
    """
    whole = geometry.shapes[-1]
    sizes = [1 if n == 1 else 0 for n in factors.shape[2:]]  # 1: the mask doesn't vary here

    def cost(start: Sequence[int], stop: Sequence[int]) -> int:
        return math.prod(geometry.size([b - a for a, b in zip(start, stop, strict=True)]))

    by_sample: dict[int, list[list[int]]] = {}
    for sample, _, *place in torch.nonzero(factors).tolist():
        by_sample.setdefault(sample, []).append(place)
    found: list[tuple[int, Box]] = []
    for sample, places in by_sample.items():
        start = np.array(places)
        stop = np.where(sizes, whole, start + 1)
        boxes = _joined(start, stop, cost, largest)
        alike = range(samples) if factors.shape[0] == 1 else (sample,)
        found += [(one, box) for one in alike for box in boxes]
    starts, stops = (np.array([box[end] for _, box in found]) for end in (0, 1))
    pixels = sum(cost(*box) for _, box in found)
    return [sample for sample, _ in found], starts, stops, pixels


def _joined(
    start: Indices, stop: Indices, cost: Callable[[Sequence[int], Sequence[int]], int], largest: int
) -> list[Box]:
    """Join boxes of one size where they see as much together as each by itself, or less.

    All are tried together, then either half of them, and so on.
    """
    boxes: list[Box] = []
    alone = cost(start[0].tolist(), stop[0].tolist())
    waiting = [np.arange(len(start))]
    while waiting:
        some = waiting.pop()
        low, high = start[some].min(0), stop[some].max(0)
        box = (low.tolist(), high.tolist())
        if len(some) == 1 or cost(*box) <= min(len(some) * alone, largest):
            boxes.append(box)
            continue
        last = start[some].max(0)
        axis = int(np.argmax(last - low))
        left = start[some, axis] <= (low[axis] + last[axis]) // 2
        waiting += [some[left], some[~left]]
    return boxes
