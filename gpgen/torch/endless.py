"""Fresh samples without end: over all workers, ranks and restarts, none comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from gpgen.errors import UsageError
from gpgen.recipe import AnyRecipe
from gpgen.torch.datasets import GeneratedTextures, Target
from gpgen.torch.ranks import rank_and_world_size

__all__ = ["EndlessTextures"]

_ENDLESS = 2**62


class EndlessTextures(IterableDataset[list[Any]]):
    """Batches of samples that no one has seen before.

    Batch b of all is made of samples ``b * batch_size`` to ``(b + 1) * batch_size - 1`` of the
    recipe, and goes to rank ``b % world_size``. On each rank the batches come in that order,
    whatever the number of workers. So after `steps` batches, ``first_batch=steps`` goes on
    where they ended. Iterate it with ``DataLoader(textures, batch_size=None, num_workers=...)``:
    it makes the batches itself.

    Parameters
    ----------
    recipe
        What to draw: a recipe, the name of a built-in one, or the path of a TOML file.
    batch_size
        Samples of a batch.
    first_batch
        How many batches of this rank to leave out: those that an earlier run has used.
    target
        "label", "length_scale" or "both".
    rank, world_size
        This process among those that train together; by default what torch.distributed says,
        or 0 and 1.
    """

    def __init__(
        self,
        recipe: AnyRecipe,
        batch_size: int,
        first_batch: int = 0,
        target: Target = "label",
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("first_batch", first_batch, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name} is {value!r}", f"use {least} or more")
        self.batch_size = batch_size
        self.first_batch = first_batch
        self.rank, self.world_size = rank_and_world_size(rank, world_size)
        self._textures = GeneratedTextures(recipe, _ENDLESS, target=target)
        self.recipe = self._textures.recipe
        self.classes = self._textures.classes
        self.class_to_idx = self._textures.class_to_idx

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield [images, targets], images float32 of shape (batch_size, 1, *shape)."""
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        batch = self.first_batch + number
        while True:
            yield self._batch(batch * self.world_size + self.rank)
            batch += workers

    def _batch(self, number: int) -> list[Any]:
        start = number * self.batch_size
        indices = np.arange(start, start + self.batch_size, dtype=np.int64)
        images, targets = self._textures.batch(indices)
        return [images, targets]
