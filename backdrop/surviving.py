"""Which boxes of a stem's output positions survive a mask, neighbours joined where that pays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backdrop.crops import Indices
from backdrop.patches import StemGeometry

__all__ = ["surviving"]


def surviving(
    factors: Tensor, samples: int, geometry: StemGeometry, largest: int
) -> tuple[Indices, Indices, Indices, int]:
    """Return boxes that hold all positions that survive, and what they cost.

    Neighbours along the last axis are joined where their fields overlap: together they see less
    than one by one.

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
    places = torch.nonzero(factors).cpu().numpy()
    start = np.delete(places, 1, axis=1)  # the samples, then the axes
    varies = np.array([n > 1 for n in factors.shape[2:]])
    one = geometry.size((1,) * len(varies))
    stride = np.array([float(s) for s in geometry.stride])
    if varies.any():
        along = int(np.flatnonzero(varies)[-1])
        overlaps = np.diff(start[:, 1 + along]) * stride[along] < one[along]
        others = np.delete(start, 1 + along, axis=1)
        # A grid that no box crosses bounds how many are joined.
        most = max(1, int(largest / np.prod(one) * one[along] / stride[along]))
        block = start[:, 1 + along] // most
        joined = overlaps & (np.diff(block) == 0) & (np.diff(others, axis=0) == 0).all(1)
        stop = start[np.append(~joined, True), 1:] + 1
        start = start[np.append(True, ~joined)]
    else:
        stop = start[:, 1:] + 1
    stop = np.where(varies, stop, geometry.shapes[-1])
    of_box, start = start[:, 0], start[:, 1:]
    if len(factors) == 1:  # one mask for all samples
        of_box = np.repeat(np.arange(samples), len(start))
        start, stop = np.tile(start, (samples, 1)), np.tile(stop, (samples, 1))
    seen = np.minimum(np.ceil((stop - start - 1) * stride) + one, geometry.shapes[0])
    return of_box, start, stop, int(seen.prod(1).sum())
