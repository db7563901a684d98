"""Batches that survive the death of the workers that load them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from torch.utils.data import DataLoader

from gpgen.torch.datasets import Textures
from gpgen.torch.deaths import Deaths
from gpgen.torch.shuffle import ShardShuffle

__all__ = ["resilient_batches"]

_ATTEMPTS: Final = 10
_log = logging.getLogger(__name__)


def resilient_batches(
    dataset: Textures,
    sampler: ShardShuffle,
    batch_size: int,
    **options: Any,  # noqa: ANN401 - a DataLoader's
) -> Iterator[list[Any]]:
    """Yield what is left of the sampler's epoch, starting workers anew when they are killed.

    The system kills workers when memory runs out, and a DataLoader then raises: while the next
    batch is awaited, or in the middle of training. Here it is noticed only where a batch is
    awaited, and the epoch goes on behind the last batch that was handed out, so that no sample
    is lost or comes twice.

    Parameters
    ----------
    dataset, sampler, batch_size
        What to load.
    options
        Anything else that a DataLoader takes, ``num_workers`` first of all.

    Yields
    ------
    list
        A batch, as the DataLoader makes it.

    Raises
    ------
    RuntimeError
        If workers die ten times in a row before a batch is loaded: then it isn't chance.
    """
    fruitless = 0
    while True:
        seen = sampler.start
        deaths, batches = Deaths(), None
        try:
            deaths.watch()
            batches = iter(DataLoader(dataset, batch_size, sampler=sampler, **options))
            while True:
                deaths.wait()
                batch = next(batches, None)
                deaths.work()
                if batch is None:
                    return
                fruitless = 0
                seen = min(seen + batch_size, len(sampler))
                yield batch
        except (RuntimeError, OSError, EOFError) as error:
            fruitless += 1
            if not _is_death(error) or fruitless == _ATTEMPTS:
                raise
        finally:
            deaths.work()
            del batches  # ends its workers
            deaths.unwatch()
        _log.warning("a worker was killed; loading goes on after %d samples", seen)
        sampler.load_state_dict(sampler.state_dict(seen))


def _is_death(error: Exception) -> bool:
    """Tell a worker's death, or what it leaves half sent, from an error raised in a worker."""
    text = str(error)
    if isinstance(error, RuntimeError):
        return text.startswith("DataLoader worker (pid")
    gone = isinstance(error, ConnectionError | FileNotFoundError | EOFError)
    return gone and not text.startswith("Caught ")
