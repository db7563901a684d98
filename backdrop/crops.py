"""Parts of maps: one size, many places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Crop", "Crops", "Indices"]

Indices = npt.NDArray[np.int64]
Crop = tuple[slice, ...]
"""An index of samples and channels, and of a range of positions along each axis."""


@dataclass(frozen=True)
class Crops:
    """Parts of maps ``(sample, channel, *axes)`` with all channels.

    Attributes
    ----------
    samples
        The sample of each.
    start
        Where each begins, ``(part, axis)``.
    size
        Of all of them, along each axis.
    """

    samples: Indices
    start: Indices
    size: Indices

    def __iter__(self) -> Iterator[Crop]:
        """Yield an index of each."""
        size = self.size.tolist()
        for n, corner in zip(self.samples.tolist(), self.start.tolist(), strict=True):
            along = (slice(low, low + length) for low, length in zip(corner, size, strict=True))
            yield (slice(n, n + 1), slice(None), *along)

    def of(self, maps: Tensor) -> Tensor:
        """Return them, ``(part, channel, *axes)``, in new memory."""
        if maps.device.type == "cpu":  # where copies of rows are faster
            return torch.cat([maps[index] for index in self])
        return self.at_once(maps)

    def at_once(self, maps: Tensor) -> Tensor:
        """Return what `of` does, by one kernel and not by one for each part."""
        for axis, length in enumerate(self.size.tolist(), 2):
            maps = maps.unfold(axis, length, 1)
        places = np.stack([self.samples, *self.start.T])
        samples, *start = torch.from_numpy(places).to(maps.device)
        index: Any = (samples, slice(None), *start)
        return maps[index]
