"""Shuffling that the disk likes: shards in random order, and windows of them shuffled.

Samples of one shard lie together on the disk, so that reading them in any order within a
short time costs one pass over it. The order of an epoch depends on the seed, the epoch and
the number of ranks, not on workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from gpgen.errors import UsageError
from gpgen.exact.normal import random_words
from gpgen.torch.datasets import Textures
from gpgen.torch.ranks import rank_and_world_size

__all__ = ["ShardShuffle"]

_WINDOW_SAMPLES: Final = 4096
_WINDOW_BYTES: Final = 2**30
_SORTED_TOGETHER: Final = 2**16

Positions = npt.NDArray[np.int64]


class ShardShuffle(Sampler[int]):
    """The order of an epoch: shards shuffled, dealt out to the ranks, shuffled in windows.

    Call `set_epoch` before each epoch, as with PyTorch's DistributedSampler. Every rank gets
    equally many samples.

    Parameters
    ----------
    dataset
        The dataset whose positions to shuffle.
    window
        Samples shuffled together. By default 1 GiB of them, or 4096 if that is more: what the
        system's cache can be hoped to hold. A window of the whole dataset is a full permutation.
    seed
        Unsigned 64-bit number.
    rank, world_size
        This process among those that train together; by default what torch.distributed says,
        or 0 and 1.
    drop_last
        Where the ranks can't share the samples evenly: leave some out, instead of giving some
        twice.

    Attributes
    ----------
    epoch : int
        The epoch whose order is iterated.
    start : int
        Samples of it to leave out, because an earlier run has used them.

    Raises
    ------
    UsageError
        If an argument is out of range.
    """

    def __init__(
        self,
        dataset: Textures,
        *,
        window: int | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        if not isinstance(dataset, Textures):
            raise UsageError(
                f"ShardShuffle can't shuffle a {type(dataset).__name__}",
                "give it a TextureDataset or GeneratedTextures",
            )
        if window is None:
            window = max(_WINDOW_SAMPLES, _WINDOW_BYTES // dataset.recipe.image_nbytes)
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise UsageError(f"window is {window!r}", "use 1 sample or more")
        if not 0 <= seed < 2**64:
            raise UsageError(f"seed {seed} is out of range", "use 0 to 2**64 - 1")
        self.rank, self.world_size = rank_and_world_size(rank, world_size)
        self.window = window
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        self._count = len(dataset)
        self._shard_size = dataset.shard_size
        edges = np.arange(-(-dataset.n // self._shard_size) + 1) * self._shard_size
        edges[-1] = dataset.n
        below = edges if dataset.chosen is None else dataset.chosen.below(edges)
        counts = np.diff(below)
        # Of each shard that has any, its first position and how many it has.
        self._firsts, self._counts = below[:-1][counts > 0], counts[counts > 0]
        self.start = 0
        self._handed_out = 0

    def __len__(self) -> int:
        """Samples of an epoch on each rank."""
        count = self._count
        return count // self.world_size if self.drop_last else -(-count // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, to be iterated from its start.

        After `load_state_dict`, the epoch that it names is still continued where it was left.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 2**63:
            raise UsageError(f"epoch is {epoch!r}", "count the epochs from 0")
        if epoch != self.epoch:
            self.epoch, self.start, self._handed_out = epoch, 0, 0

    def __iter__(self) -> Iterator[int]:
        """Yield the positions of the epoch's samples on this rank."""
        self._handed_out = self.start
        for positions in self._windows(self.start):
            for position in positions.tolist():
                self._handed_out += 1
                yield position

    def order(self) -> Positions:
        """Return all positions of the epoch on this rank, int64, shape (len(self),)."""
        return np.concatenate([np.empty(0, dtype=np.int64), *self._windows(0)])

    def _windows(self, start: int) -> Iterator[Positions]:
        """Yield the positions behind the first `start`, those of a few windows at a time."""
        size, stream = len(self), 2 * self.epoch + 1
        if start >= size:
            return
        first = self.rank * size
        # Where windows begin differs from epoch to epoch.
        last_word = random_words(self.seed, stream, 1, size * self.world_size)[0]
        phase = int(last_word % np.uint64(self.window)) if self.window < size else 0
        shards = self._shuffled_shards()
        step = max(_SORTED_TOGETHER // self.window, 1) * self.window
        low = max((start + phase) // self.window * self.window - phase, 0)
        while low < size:
            high = min((low + phase) // self.window * self.window - phase + step, size)
            words = random_words(self.seed, stream, high - low, first + low)
            places = np.arange(low, high, dtype=np.int64)
            order = np.lexsort((words, (places + phase) // self.window))
            yield shards((first + places[order][max(start - low, 0) :]) % self._count)
            low = high

    def _shuffled_shards(self) -> Callable[[Positions], Positions]:
        """Return what stands where when shards are in random order, those of each together."""
        # A sort of raw words, whose stream NumPy guarantees, which that of `permutation` isn't.
        words = random_words(self.seed, 2 * self.epoch, len(self._firsts))
        order = np.argsort(words, kind="stable")
        firsts, ends = self._firsts[order], np.cumsum(self._counts[order])
        shift = firsts - (ends - self._counts[order])

        def at(places: Positions) -> Positions:
            found: Positions = places + shift[np.searchsorted(ends, places, side="right")]
            return found

        return at

    def state_dict(self, seen: int | None = None) -> dict[str, Any]:
        """Return where training stands, the same on every rank.

        Parameters
        ----------
        seen
            Samples of this epoch that training has used on this rank, those before a restart
            included. If not given, what the sampler has handed out: a DataLoader with workers
            is ahead of the training, so that what it has fetched would be lost.
        """
        if seen is None:
            seen = max(self._handed_out, self.start)
        if not 0 <= seen <= len(self):
            raise UsageError(f"seen is {seen}", f"an epoch has {len(self)} samples on each rank")
        return {"epoch": self.epoch, "seen": seen, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` says.

        Raises
        ------
        UsageError
            If the state is of another order.
        """
        try:
            epoch, seen = int(state["epoch"]), int(state["seen"])
            theirs = {name: state[name] for name in self._identity()}
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                "the state is not that of a ShardShuffle", "give what state_dict returned"
            ) from error
        differences = [
            f"{name} {theirs[name]!r}, here {value!r}"
            for name, value in self._identity().items()
            if theirs[name] != value
        ]
        if differences:
            raise UsageError(
                f"the state is of another order: {'; '.join(differences)}",
                "make the sampler as it was when the state was saved",
            )
        if not 0 <= seen <= len(self):
            raise UsageError(f"seen is {seen}", f"an epoch has {len(self)} samples on each rank")
        self.set_epoch(epoch)
        self.start = self._handed_out = seen

    def _identity(self) -> dict[str, Any]:
        """Return all that decides the order, but for the epoch."""
        return {
            "seed": self.seed,
            "window": self.window,
            "world_size": self.world_size,
            "drop_last": self.drop_last,
            "samples": self._count,
            "shard_size": self._shard_size,
        }
