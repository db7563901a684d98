"""Samples drawn again from their seeds, compared with the pixels that are stored."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Samples
from gpgen.observer.audited import Finding
from gpgen.recipe import Recipe
from gpgen.sampling import SAMPLING_VERSION, sampler_for

__all__ = ["Redrawing"]

Numbers = npt.NDArray[np.int64]

_PIXELS: Final = 2**25
_SHARDS: Final = 64
_ALIKE: Final = 0.5
"""Below this correlation an image isn't a changed one, but another one."""


class Redrawing:
    """Compares some samples, spread evenly, with what their recipe draws.

    There are as many as have 2^25 pixels, and at least one a shard, up to 64 shards.

    Parameters
    ----------
    samples
        A dataset or a view, whose recipe is no import.
    """

    def __init__(self, samples: Samples) -> None:
        self._recipe = samples.recipe
        n, pixels = len(samples), math.prod(samples.recipe.shape)
        shards = -(-samples.manifest.n // samples.manifest.shard_size)
        count = min(n, max(_PIXELS // pixels, min(shards, _SHARDS), 1))
        self.count = 0
        """How many were compared."""
        if samples.manifest.sampling_version != SAMPLING_VERSION:
            count = 0  # drawn by another version, whose pixels are others
        self._positions = np.unique(np.linspace(0, n - 1, count).astype(np.int64))
        self._other: list[int] = []
        self._changed: list[int] = []
        self._largest, self._share = 0.0, 0.0

    @property
    def has_differences(self) -> bool:
        """Whether any sample isn't what the recipe draws."""
        return bool(self._other or self._changed)

    def compare(self, images: npt.NDArray[Any], positions: Numbers, indices: Numbers) -> None:
        """Compare those of a batch that are to be drawn again."""
        recipe = self._recipe
        chosen = np.flatnonzero(np.isin(positions, self._positions))
        if not len(chosen) or not isinstance(recipe, Recipe):
            return
        drawn = sampler_for(recipe).images_at(indices[chosen])
        self.count += len(chosen)
        for image, again, index in zip(
            images[chosen], drawn, indices[chosen].tolist(), strict=True
        ):
            if np.array_equal(image, again):
                continue
            a, b = (x.astype(np.float64).reshape(-1) for x in (image, again))
            self._largest = max(self._largest, float(np.abs(a - b).max()))
            self._share = max(self._share, float((a != b).mean()))
            a, b = a - a.mean(), b - b.mean()
            alike = float(a @ b) / max(1e-300, math.sqrt(float(a @ a) * float(b @ b)))
            (self._changed if alike > _ALIKE else self._other).append(index)

    def findings(self) -> list[Finding]:
        """Say which samples differ, and how."""
        found = []
        if self._other:
            text = f"{_named(self._other)} not what the recipe's seed draws, but another image"
            text += f" ({len(self._other)} of {self.count} compared)"
            found.append(Finding("pixels", text, tuple(self._other[:1000])))
        if self._changed:
            text = f"{_named(self._changed)} not, pixel by pixel, what the recipe draws: up to "
            text += f"{self._share:.2g} of the pixels differ, by up to {self._largest:.3g}"
            text += f" ({len(self._changed)} of {self.count} compared)"
            found.append(Finding("pixels", text, tuple(self._changed[:1000])))
        return found


def _named(samples: list[int]) -> str:
    if len(samples) == 1:
        return f"sample {samples[0]} is"
    if len(samples) == samples[-1] - samples[0] + 1:
        return f"samples {samples[0]} to {samples[-1]} are"
    return f"{len(samples)} samples between {samples[0]} and {samples[-1]} are"
