"""The threads of this process that draw what is asked for, and what they drew last.

Each thread has samplers of its own, whose factors take longer to compute than an image. So there
are as many as there are cores, however many ask.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from gpgen.exact.blas import one_blas_thread
from gpgen.workers import worker_count

__all__ = ["DRAWING", "Piece", "drawn"]

_KEPT_BYTES: Final = 2**26

Piece = Callable[[], memoryview]
"""What draws some bytes, or has them."""

Name = tuple[str, str, int]
"""A dataset's identity, one of its arrays, and the number of a chunk."""


class Drawing:
    """One for the process. A forked child begins with none of its parent's threads."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Begin anew, with no threads and nothing kept."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._kept: collections.OrderedDict[Name, memoryview] = collections.OrderedDict()
        self._begun: dict[Name, Future[memoryview]] = {}
        self._nbytes = self._answers = 0

    @property
    def threads(self) -> int:
        """How many draw at once."""
        return worker_count(None)

    def submit(self, piece: Piece) -> Future[memoryview]:
        """Have a thread draw a piece, as soon as one is free."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="gpgen-drawing")
            return self._pool.submit(_draw, piece)

    @contextlib.contextmanager
    def answering(self) -> Iterator[Callable[[], int]]:
        """Share the threads with other answers.

        Yields
        ------
        callable
            Returns how many pieces of this answer may wait to be drawn, or to be taken, now: one
            that is alone has all threads; of many none piles up what slow clients don't take.
        """
        with self._lock:
            self._answers += 1
        try:
            yield lambda: max(2, self.threads // max(self._answers, 1))
        finally:
            with self._lock:
                self._answers -= 1

    def kept(self, name: Name, draw: Piece) -> memoryview:
        """Return a chunk, drawn once for all who ask for it or for parts of it now.

        Parameters
        ----------
        name
            Tells it from all others.
        draw
            Draws it whole, in this thread.
        """
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            begun = self._begun.get(name)
            if begun is None:
                mine = self._begun[name] = Future[memoryview]()
        if begun is not None:
            return begun.result()
        try:
            data = draw()
        except BaseException as error:
            with self._lock:
                del self._begun[name]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._begun[name]
            self._keep(name, data)
        mine.set_result(data)
        return data

    def _keep(self, name: Name, data: memoryview) -> None:
        self._kept[name] = data
        self._nbytes += len(data)
        while self._nbytes > _KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._nbytes -= len(oldest)


def _draw(piece: Piece) -> memoryview:
    with one_blas_thread():
        return piece()


DRAWING: Final = Drawing()


async def drawn(pieces: Iterator[memoryview | Piece]) -> AsyncIterator[memoryview]:
    """Yield pieces in their order, a few of them being drawn at once.

    Whoever stops taking them has no more drawn than those.
    """
    waiting: collections.deque[memoryview | Future[memoryview]] = collections.deque()
    with DRAWING.answering() as most:
        try:
            while True:
                while len(waiting) < most():
                    piece = next(pieces, None)
                    if piece is None:
                        break
                    ready = isinstance(piece, memoryview)
                    waiting.append(piece if ready else DRAWING.submit(piece))  # type: ignore[arg-type]
                if not waiting:
                    return
                first = waiting.popleft()
                if isinstance(first, Future):
                    first = await asyncio.wrap_future(first)
                yield first
        finally:
            for late in waiting:
                if isinstance(late, Future):
                    late.cancel()
