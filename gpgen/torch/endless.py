"""Fresh samples without end: over iterations, workers, ranks and restarts, none comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from gpgen.errors import UsageError
from gpgen.recipe import AnyRecipe
from gpgen.torch.datasets import Target
from gpgen.torch.generated import GeneratedTextures
from gpgen.torch.iterations import Iterations, Place
from gpgen.torch.ranks import rank_and_world_size, settled
from gpgen.torch.states import checked_state
from gpgen.whole_numbers import whole_number

__all__ = ["EndlessTextures"]

_ENDLESS: Final = 2**62
_ITERATION: Final = 2**40


class EndlessTextures(IterableDataset[list[Any]]):
    """Batches of samples that no one has seen before.

    Iterate it with ``DataLoader(textures, batch_size=None, num_workers=...)``: it makes the
    batches itself. Each iteration has ``2**40`` samples of the recipe for itself, the first one
    those from 0 on. Batch b of an iteration is made of its samples ``b * batch_size`` to
    ``(b + 1) * batch_size - 1``, and goes to rank ``b % world_size``. On each rank the batches
    come in that order, whatever the number of workers.

    Two datasets of one recipe have the same samples; give the recipe of one another seed.

    Parameters
    ----------
    recipe
        What to draw: a recipe, the name of a built-in one, a path, or a dict.
    batch_size
        Samples of a batch.
    first_batch
        How many batches of this rank each iteration leaves out: those that earlier runs have
        used, all together. `state_dict` says it more exactly.
    target
        "label", "length_scales", "weights", or "both" of the first two.
    rank, world_size
        This process among those that train together; by default what torch.distributed says
        when the dataset is iterated, or 0 and 1.
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
        rank_and_world_size(rank, world_size)
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.first_batch = whole_number("first_batch", first_batch)
        self._given = rank, world_size
        self._iterations = Iterations(self.first_batch)
        self._begun_here = 0
        self._textures = GeneratedTextures(recipe, _ENDLESS, target=target)
        self.recipe = self._textures.recipe
        self._sha256 = self.recipe.sha256
        self.classes = self._textures.classes
        self.class_to_idx = self._textures.class_to_idx

    @property
    def rank(self) -> int:
        """Which of the processes that train together this is."""
        return rank_and_world_size(*self._given)[0]

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return rank_and_world_size(*self._given)[1]

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield [images, targets], images float32 of shape (batch_size, 1, *shape)."""
        return _Batches(self)

    def _batch(self, iteration: int, number: int) -> list[Any]:
        start = number * self.batch_size
        if start + self.batch_size > _ITERATION or iteration >= _ENDLESS // _ITERATION:
            raise UsageError(
                f"the samples of iteration {iteration} are used up",
                "begin another one" if start else "give the recipe another seed",
            )
        start += iteration * _ITERATION
        indices = np.arange(start, start + self.batch_size, dtype=np.int64)
        images, targets = self._textures.batch(indices)
        return [images, targets]

    def state_dict(self, seen: int | None = None) -> dict[str, Any]:
        """Return where training stands, the same on every rank.

        Parameters
        ----------
        seen
            Batches of the iteration under way that training has used on this rank, those before
            a restart and `first_batch` included. If not given, training will go on with the next
            iteration: a DataLoader with workers is ahead of the training, so nobody else knows.
        """
        if seen is None:
            place = self._iterations.next(self.rank)
        else:
            current = self._iterations.current(self.rank)
            place = Place(current.iteration, whole_number("seen", seen))
        return {**place._asdict(), **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have the next iteration continue where `state_dict` says.

        Raises
        ------
        UsageError
            If the state is of other batches.
        """
        iteration, seen = checked_state(state, ("iteration", "seen"), self._identity(), self)
        self._iterations.set_next(self.rank, Place(iteration, seen))

    def _identity(self) -> dict[str, Any]:
        """Return all that decides which samples are in which batch."""
        return {
            "recipe": self._sha256,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Tell a worker that is started anew the rank, which it can't ask torch.distributed for."""
        return {**self.__dict__, "_given": settled(*self._given)}


class _Batches(Iterator[list[Any]]):
    """A rank's and worker's batches of an iteration.

    torchdata's StatefulDataLoader saves and loads its state in each worker.
    """

    def __init__(self, textures: EndlessTextures) -> None:
        info = get_worker_info()
        worker, self._workers, seed = (
            (0, 1, 0) if info is None else (info.id, info.num_workers, info.seed - info.id)
        )
        together = f"{self._workers} workers, {seed}, {textures._begun_here}"
        textures._begun_here += 1
        self._textures = textures
        self._rank, self._world_size = textures.rank, textures.world_size
        place = textures._iterations.begin(self._rank, together, worker, self._workers)
        self._iteration, self._next = place.iteration, place.seen + worker

    def __next__(self) -> list[Any]:
        number = self._next * self._world_size + self._rank
        batch = self._textures._batch(self._iteration, number)
        self._next += self._workers
        return batch

    def state_dict(self) -> dict[str, int]:
        """Return where it stands."""
        return {"iteration": self._iteration, "next": self._next, "workers": self._workers}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue there; the dataset's state is loaded already."""
        if state["workers"] != self._workers:
            raise UsageError(
                f"the state is that of {state['workers']} workers, here are {self._workers}",
                f"use num_workers={state['workers']}",
            )
        self._iteration, self._next = state["iteration"], state["next"]
        following = Place(self._iteration + 1, self._textures.first_batch)
        self._textures._iterations.set_next(self._rank, following)
