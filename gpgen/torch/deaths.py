"""Hearing of a worker's death at a moment when it can be borne.

PyTorch raises in its handler of SIGCHLD, so anywhere in the main thread: in the middle of a
training step, or of Python's own code that starts a thread, which then is left half started.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from multiprocessing.queues import Queue
from types import FrameType
from typing import Any, Final

from torch.utils.data._utils import signal_handling

__all__ = ["Deaths"]

_NUDGE_SECONDS: Final = 0.2
_WAITING: Final = {"selectors", "multiprocessing.connection"}

Handler = Callable[[int, FrameType | None], Any]


class Deaths:
    """Stands before PyTorch's handler and lets it speak only while a batch is waited for."""

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._busy = True
        self._heard = False
        self._stop = threading.Event()
        self._nudger = threading.Thread(target=self._nudge, daemon=True)

    def watch(self) -> None:
        """Begin, before workers are started."""
        # As the first DataLoader would: or it would stand unguarded until that one is made.
        signal_handling._set_SIGCHLD_handler()
        handler = signal.getsignal(signal.SIGCHLD)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            return  # PyTorch's handler isn't there either: a DataLoader then looks now and then
        self._handler = handler
        signal.signal(signal.SIGCHLD, self._on_signal)
        self._nudger.start()
        # A worker may have died before PyTorch knew that it is one.
        self._heard = True

    def wait(self) -> None:
        """Speak of a death now or from now on: the next thing is to wait for a batch."""
        self._busy = False
        if self._heard and self._handler is not None:
            self._heard = False
            self._handler(signal.SIGCHLD, None)

    def work(self) -> None:
        """From now on be silent."""
        self._busy = True

    def unwatch(self) -> None:
        """End, when the workers have ended."""
        if self._handler is not None:
            self._stop.set()
            self._nudger.join()
            signal.signal(signal.SIGCHLD, self._handler)
            self._handler = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._busy or self._handler is None or not _is_waiting(frame):
            self._heard = True
        else:
            self._heard = False
            self._handler(number, frame)

    def _nudge(self) -> None:
        """Repeat a signal that came at a bad moment, until it comes at a good one."""
        main = threading.main_thread().ident
        while not self._stop.wait(_NUDGE_SECONDS):
            if self._heard and not self._busy and main is not None:
                signal.pthread_kill(main, signal.SIGCHLD)


def _is_waiting(frame: FrameType | None) -> bool:
    """Return whether a queue is waited for, or what is coming through it."""
    if frame is None or frame.f_globals.get("__name__") not in _WAITING:
        return False
    while frame is not None and frame.f_code is not Queue.get.__code__:
        frame = frame.f_back
    return frame is not None
