"""Batches that survive the death of the workers that load them."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

from torch.utils.data import DataLoader

from gpgen.torch.datasets import Textures
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
        deaths, batches = _Deaths(), None
        try:
            batches = iter(DataLoader(dataset, batch_size, sampler=sampler, **options))
            deaths.watch()
            while (batch := next(batches, None)) is not None:
                fruitless = 0
                seen = min(seen + batch_size, len(sampler))
                deaths.hold()
                yield batch
                deaths.release()
            return
        except (RuntimeError, OSError, EOFError) as error:
            fruitless += 1
            if not _is_death(error) or fruitless == _ATTEMPTS:
                raise
        finally:
            deaths.unwatch()
            del batches  # ends its workers
        _log.warning("a worker was killed; loading goes on after %d samples", seen)
        sampler.load_state_dict(sampler.state_dict(seen))


class _Deaths:
    """Holds back the signal of a worker's death while the caller has the batch.

    PyTorch raises in its handler of that signal, wherever the main thread happens to be.
    """

    def __init__(self) -> None:
        self._deliver: Callable[[int, FrameType | None], Any] | None = None
        self._holding = False
        self._held = False

    def watch(self) -> None:
        """Stand before the handler that PyTorch has installed, if it has."""
        handler = signal.getsignal(signal.SIGCHLD)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._deliver = handler
            signal.signal(signal.SIGCHLD, self._on_signal)

    def unwatch(self) -> None:
        """Put PyTorch's handler back."""
        if self._deliver is not None:
            signal.signal(signal.SIGCHLD, self._deliver)
            self._deliver = None

    def hold(self) -> None:
        """From now on, only note that a signal came."""
        self._holding = True

    def release(self) -> None:
        """Deliver what was held back."""
        self._holding = False
        if self._held and self._deliver is not None:
            self._held = False
            self._deliver(signal.SIGCHLD, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._holding or self._deliver is None:
            self._held = True
        else:
            self._deliver(number, frame)


def _is_death(error: Exception) -> bool:
    """Tell a worker's death, or what it leaves half sent, from an error raised in a worker."""
    text = str(error)
    if isinstance(error, RuntimeError):
        return text.startswith("DataLoader worker (pid")
    gone = isinstance(error, ConnectionError | FileNotFoundError | EOFError)
    return gone and not text.startswith("Caught ")
