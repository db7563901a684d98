"""Shuffling that the disk likes: shards in random order, and windows of them shuffled.

Samples of one shard lie together on the disk, so that reading them in any order within a
short time costs one pass over it. The order of an epoch depends on the seed, the epoch and
the number of ranks, not on workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final
from weakref import ref

import numpy as np
import numpy.typing as npt
from torch.utils.data import DistributedSampler

from gpgen.errors import UsageError
from gpgen.exact.normal import random_words
from gpgen.torch.datasets import Textures
from gpgen.torch.ranks import check_dealt_once, rank_and_world_size
from gpgen.torch.states import checked_state
from gpgen.whole_numbers import whole_number

__all__ = ["ShardShuffle"]

_WINDOW_SAMPLES: Final = 4096
_WINDOW_BYTES: Final = 2**30
_SORTED_TOGETHER: Final = 2**16

Positions = npt.NDArray[np.int64]


def _no_iteration() -> None:
    return None


@dataclass
class _Progress:
    """Where an iteration stands: `seen` positions of its epoch, `start` of them left out."""

    epoch: int = 0
    start: int = 0
    seen: int = 0


class _Iteration(Iterator[int]):
    """The positions of an epoch on one rank.

    Its epoch and start are settled when the first position is asked for. torchdata's
    StatefulDataLoader saves and loads its state together with the sampler's.
    """

    def __init__(self, sampler: ShardShuffle) -> None:
        self._sampler = sampler
        self._progress = _Progress()
        self._positions: Iterator[int] | None = None

    def __next__(self) -> int:
        if self._positions is None:
            state = self.state_dict()
            self._begin(_Progress(start=state["seen"], **state))
        position = next(self._positions)  # type: ignore[arg-type] # begun
        self._progress.seen += 1
        return position

    def _begin(self, progress: _Progress) -> None:
        self._progress = progress
        windows = self._sampler._windows(progress.epoch, progress.seen)
        self._positions = chain.from_iterable(positions.tolist() for positions in windows)
        self._sampler._begin(self, progress)

    def state_dict(self) -> dict[str, int]:
        """Return where it stands, or will begin."""
        if self._positions is None:
            return {"epoch": self._sampler.epoch, "seen": self._sampler.start}
        return {"epoch": self._progress.epoch, "seen": self._progress.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue there. The length stays that of a whole epoch, as that of such a loader does."""
        self._begin(_Progress(**state))


class ShardShuffle(DistributedSampler[int]):
    """The order of an epoch: shards shuffled, dealt out to the ranks, shuffled in windows.

    Call `set_epoch` before each epoch, as with PyTorch's DistributedSampler. It is one, so that
    Lightning and others leave it in its place instead of sharing out its samples a second time.
    Every rank gets equally many samples.

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
        This process among those that train together; by default what torch.distributed says
        when the sampler is used, or 0 and 1.
    drop_last
        Where the ranks can't share the samples evenly: leave some out, instead of giving some
        twice.

    Attributes
    ----------
    epoch : int
        The epoch whose order is iterated.

    Raises
    ------
    UsageError
        If an argument is out of range, the dataset is no `Textures` or has another length than
        its split, or accelerate shares out the samples too.
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
        self.dataset = dataset
        self.window = whole_number("window", window, 1)
        self.shuffle = True
        self.seed = whole_number("seed", seed)
        if self.seed >= 2**64:
            raise UsageError(f"seed is {seed}", "use 0 to 2**64 - 1")
        self.drop_last = drop_last
        self.epoch = 0
        self._given = rank, world_size
        self._place()
        self._count = len(dataset)
        self._shard_size = dataset.shard_size
        edges = np.arange(-(-dataset.n // self._shard_size) + 1) * self._shard_size
        edges[-1] = dataset.n
        below = edges if dataset.chosen is None else dataset.chosen.below(edges)
        counts = np.diff(below)
        if self._count != below[-1]:
            raise UsageError(
                f"ShardShuffle can't shuffle a {type(dataset).__name__} of {self._count} samples "
                f"whose split has {below[-1]}",
                "use shuffle=True",
            )
        # Of each shard that has any, its first position and how many it has.
        self._firsts, self._counts = below[:-1][counts > 0], counts[counts > 0]
        self._resume: tuple[int, int] | None = None
        self._progress = _Progress()
        self._under_way: Callable[[], _Iteration | None] = _no_iteration

    def _place(self) -> tuple[int, int]:
        rank, world_size = rank_and_world_size(*self._given)
        check_dealt_once(world_size)
        return rank, world_size

    @property
    def rank(self) -> int:  # type: ignore[override] # DistributedSampler's is settled once
        """Which of the processes that train together this is."""
        return self._place()[0]

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self._place()[1]

    @property
    def num_replicas(self) -> int:  # type: ignore[override]
        """DistributedSampler's name for `world_size`."""
        return self.world_size

    @property
    def num_samples(self) -> int:  # type: ignore[override]
        """Samples of a whole epoch on each rank."""
        world_size = self.world_size
        return self._count // world_size if self.drop_last else -(-self._count // world_size)

    @property
    def start(self) -> int:
        """Samples that the iteration under way left out, or the next one will.

        Not 0 only behind `load_state_dict`, for one iteration: those that an earlier run used.
        """
        if self._resume is not None:
            epoch, seen = self._resume
            return seen if epoch == self.epoch else 0
        is_under_way = self._under_way() is not None and self._progress.epoch == self.epoch
        return self._progress.start if is_under_way else 0

    def __len__(self) -> int:
        """Samples that come on each rank: an epoch's, or what is left of one that is continued."""
        return self.num_samples - self.start

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, to be iterated from its start.

        After `load_state_dict`, the epoch that it names is still continued where it was left.

        Raises
        ------
        UsageError
            If it is none, or is before the one that is to be continued.
        """
        epoch = whole_number("epoch", epoch)
        if epoch >= 2**63:
            raise UsageError(f"epoch is {epoch}", "count the epochs from 0")
        if self._resume is not None and epoch < self._resume[0]:
            raise UsageError(
                f"epoch is {epoch}, but the state that was loaded is of epoch {self._resume[0]}",
                f"count on from {self._resume[0]}",
            )
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield the positions of the epoch's samples on this rank."""
        return _Iteration(self)

    def _begin(self, iteration: _Iteration, progress: _Progress) -> None:
        self._under_way, self._progress, self._resume = ref(iteration), progress, None

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what iterates in this process."""
        return {**self.__dict__, "_under_way": _no_iteration}

    def order(self) -> Positions:
        """Return all positions of the epoch on this rank, int64, shape (num_samples,)."""
        return np.concatenate([np.empty(0, dtype=np.int64), *self._windows(self.epoch, 0)])

    def _windows(self, epoch: int, start: int) -> Iterator[Positions]:
        """Yield the positions behind the first `start`, those of a few windows at a time."""
        size, stream = self.num_samples, 2 * epoch + 1
        if start >= size:
            return
        rank, world_size = self._place()
        first = rank * size
        # Where windows begin differs from epoch to epoch.
        last_word = random_words(self.seed, stream, 1, size * world_size)[0]
        phase = int(last_word % np.uint64(self.window)) if self.window < size else 0
        shards = self._shuffled_shards(epoch)
        step = max(_SORTED_TOGETHER // self.window, 1) * self.window
        low = max((start + phase) // self.window * self.window - phase, 0)
        while low < size:
            high = min((low + phase) // self.window * self.window - phase + step, size)
            words = random_words(self.seed, stream, high - low, first + low)
            places = np.arange(low, high, dtype=np.int64)
            order = np.lexsort((words, (places + phase) // self.window))
            yield shards((first + places[order][max(start - low, 0) :]) % self._count)
            low = high

    def _shuffled_shards(self, epoch: int) -> Callable[[Positions], Positions]:
        """Return what stands where when shards are in random order, those of each together."""
        # A sort of raw words, whose stream NumPy guarantees, which that of `permutation` isn't.
        words = random_words(self.seed, 2 * epoch, len(self._firsts))
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
            begun = self._resume is None and self._progress.epoch == self.epoch
            seen = self._progress.seen if begun else self.start
        return {"epoch": self.epoch, "seen": self._checked_seen(seen), **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` says: the next iteration yields the rest of that epoch.

        Those that follow are whole again. If nothing of it is left, the next one is of the epoch
        behind it, unless `set_epoch` names the one that is over.

        Raises
        ------
        UsageError
            If the state is of another order.
        """
        epoch, seen = checked_state(state, ("epoch", "seen"), self._identity(), self)
        self._resume = epoch, self._checked_seen(seen)
        # Whoever goes on without `set_epoch` means what comes behind an epoch that is over.
        self.epoch = epoch if seen < self.num_samples else epoch + 1

    def _checked_seen(self, seen: int) -> int:
        seen, most = whole_number("seen", seen), self.num_samples
        if seen > most:
            raise UsageError(f"seen is {seen}", f"an epoch has {most} samples on each rank")
        return seen

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
