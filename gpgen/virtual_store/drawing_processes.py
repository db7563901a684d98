"""Processes that draw chunks, into memory that they share with this one.

Threads that draw wait for each other at Python's lock, some 50 times an image, and a server's
thread that sends waits with them. Each drawing thread (`gpgen.virtual_store.drawing`) takes a
process, which is idle otherwise, and waits outside the lock until its chunk is drawn.
"""

from __future__ import annotations

import contextlib
import functools
import io
import mmap
import os
import queue
import socket
import subprocess
import threading
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import ClusterError, GpgenError
from gpgen.exact.blas import one_blas_thread
from gpgen.virtual_store.keys import VirtualKeys
from gpgen.workers import has_python, python_calling, worker_count

__all__ = ["drawn_by_processes", "main"]

_END_SECONDS: Final = 2.0
_MAPS_KEPT: Final = 256


@contextlib.contextmanager
def drawn_by_processes(keys: VirtualKeys) -> Iterator[None]:
    """Have a dataset's chunks drawn by processes, as many as there are threads that draw.

    They end with this context, and no more is drawn. Where the system shares no memory between
    processes (`os.memfd_create`; Linux does), where this program can't start a Python, and on one
    core the threads draw themselves, as without it.
    """
    file = _shared_file() if has_python() and worker_count(None) > 1 else None
    if file is None:
        yield
        return
    with file, contextlib.closing(_Processes(keys, file)) as processes:
        keys.draw_elsewhere = processes.draw
        yield


def _shared_file() -> io.FileIO | None:
    """Return a file in memory that has no name, if the system makes such."""
    try:
        return io.FileIO(os.memfd_create("gpgen-chunks"), "r+")
    except (AttributeError, OSError):
        return None


class _Processes:
    """Those that are idle, and the memory.

    Parameters
    ----------
    keys
        What they draw.
    file
        The memory.
    """

    def __init__(self, keys: VirtualKeys, file: io.FileIO) -> None:
        self._keys, self._chunks = keys, _SharedChunks(keys.chunk_nbytes, file)
        self._descriptor = file.fileno()
        self._lock, self._all = threading.Lock(), set[_Process]()
        self._closed = False
        # The last to have drawn draws next: it has factors already.
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._idle.put(self._started())  # one is there before it is needed

    def draw(self, first: int) -> memoryview:
        """Return the chunk that begins with a sample.

        Raises
        ------
        GpgenError
            What the drawing raised, or if no process can draw it.
        """
        for take in (self._idle_one, self._started):  # they may all have been killed
            self._check_open()
            number, chunk = self._chunks.new()
            process = take()
            try:
                answer = process.ask(first, number)
            except (EOFError, OSError):
                with self._lock:
                    self._all.discard(process)
                why = process.how_it_ended()
                continue
            self._idle.put(process)
            if answer is not None:
                raise answer
            return memoryview(chunk)  # type: ignore[arg-type]
        raise ClusterError(
            f"two processes, one after the other, were to draw the chunk of sample {first}; the "
            f"last {why}",
            "see whether there is memory enough",
        )

    def _idle_one(self) -> _Process:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._started()

    def _check_open(self) -> None:
        if self._closed:
            raise ClusterError("the server has ended", "start it again")

    def _started(self) -> _Process:
        with self._lock:
            self._check_open()
            try:
                process = _Process(self._keys, self._descriptor)
            except OSError as error:
                raise ClusterError(
                    f"no process can be started to draw: {(error.strerror or str(error)).lower()}",
                    "end what else runs on this machine",
                ) from error
            self._all.add(process)
        return process

    def close(self) -> None:
        """End them all, whatever they are at."""
        with self._lock:
            self._closed = True
            processes = [*self._all]
        for process in processes:
            process.kill()


class _Process:
    """One that draws chunks as it is asked to."""

    def __init__(self, keys: VirtualKeys, memory: int) -> None:
        ours, its = socket.socketpair()
        with ours, its:
            words = python_calling(__name__, "main", its.fileno(), memory)
            nowhere = subprocess.DEVNULL
            # In a session of its own, where no Ctrl-C comes: it ends when its socket does.
            self._process = subprocess.Popen(  # noqa: S603 - ours
                words,
                stdin=nowhere,
                stdout=nowhere,
                stderr=nowhere,
                pass_fds=(its.fileno(), memory),
                start_new_session=True,
            )
            self._connection = Connection(ours.detach())
        self._keys: VirtualKeys | None = keys

    def ask(self, first: int, number: int) -> Exception | None:
        """Have a chunk drawn into a piece of memory; return what was raised there.

        Raises
        ------
        EOFError, OSError
            If it has ended.
        """
        if self._keys is not None:
            self._connection.send(self._keys)
            self._keys = None
        self._connection.send((first, number))
        answer: Exception | None = self._connection.recv()
        return answer

    def kill(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.wait()

    def how_it_ended(self) -> str:
        """Say how, and make sure that it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_END_SECONDS)
            return (
                f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            )
        self.kill()
        return "had closed its socket"


class _SharedChunks:
    """Pieces of memory of the length of a chunk, each used again when nobody looks at it.

    The system clears new memory page by page, which takes it 1 to 3 ms for 4 MB.

    Parameters
    ----------
    nbytes
        The length.
    file
        What they are parts of.
    """

    def __init__(self, nbytes: int, file: io.FileIO) -> None:
        self._nbytes, self._file = nbytes, file
        self._lock = threading.Lock()
        self._maps: list[mmap.mmap] = []
        self._free: list[int] = []

    def new(self) -> tuple[int, npt.NDArray[np.uint8]]:
        """Return the number of a piece, and a view of it, which is used until it is collected."""
        with self._lock:
            if self._free:
                number = self._free.pop()
            else:
                number = len(self._maps)
                self._file.truncate((number + 1) * _stride(self._nbytes))
                self._maps.append(
                    _mapped(self._file.fileno(), self._nbytes, number, mmap.PROT_READ)
                )
            chunk = np.frombuffer(self._maps[number], "u1")
        # Views of this array keep it, however they are cut; a memoryview does, too.
        weakref.finalize(chunk, self._free.append, number).atexit = False
        return number, chunk


def _stride(nbytes: int) -> int:
    return -(-nbytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


def _mapped(descriptor: int, nbytes: int, number: int, protection: int) -> mmap.mmap:
    offset = number * _stride(nbytes)
    return mmap.mmap(descriptor, nbytes, prot=protection, offset=offset)


def main(connection: int, memory: int) -> None:
    """Draw what is asked for, in this process, until the other end of a socket is closed.

    Parameters
    ----------
    connection
        The socket's descriptor.
    memory
        The descriptor of the memory that is shared.
    """
    channel = Connection(connection)
    with contextlib.suppress(EOFError, OSError), one_blas_thread():
        try:
            keys: VirtualKeys = channel.recv()
        except GpgenError as error:  # what draws was changed since the server was started
            channel.recv()
            channel.send(error)
            return

        @functools.lru_cache(_MAPS_KEPT)
        def piece(number: int) -> npt.NDArray[Any]:
            writable = mmap.PROT_READ | mmap.PROT_WRITE
            return np.frombuffer(_mapped(memory, keys.chunk_nbytes, number, writable), "u1")

        while True:
            first, number = channel.recv()
            answer: Exception | None = None
            try:
                keys.draw_chunk(first, piece(number))
            except GpgenError as error:
                answer = error
            except Exception as error:  # noqa: BLE001 - told where it is to be seen
                answer = RuntimeError(f"{type(error).__name__}: {error}")
            channel.send(answer)
