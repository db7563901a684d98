"""A Dask cluster of real processes, started with the `dask` command, to be killed one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from store_tools import ENVIRONMENT

from gpgen.format.layout import Target

DASK = [sys.executable, "-m", "dask"]


def wait_until(condition, what: str, seconds: float = 300) -> None:
    """Wait; so long a time only ends what would hang, on however busy a machine."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.005)


def shards_done(out: Path) -> int:
    """How many shards the journal of an unfinished dataset lists."""
    try:
        return (Target.parse(out).working / "journal.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def children(parent: int) -> list[int]:
    """The processes that a process has started, itself left out."""
    direct = []
    # A thread's children are its own: a nanny starts its worker anew from another one.
    for thread in Path(f"/proc/{parent}/task").glob("*"):
        with contextlib.suppress(OSError):
            direct += [int(pid) for pid in (thread / "children").read_text().split()]
    return direct + [pid for child in direct for pid in children(child)]


def draws(pid: int) -> bool:
    """Whether a nanny's child is its worker; one that was killed has no command any more."""
    try:
        return b"multiprocessing.spawn" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class DaskCluster:
    """A scheduler and workers; everything that it started ends with it.

    Parameters
    ----------
    folder
        Where logs go, and what workers have to store.
    workers
        How many to start.
    settings
        Dask's settings as environment variables, for all processes.
    """

    def __init__(
        self, folder: Path, workers: int = 3, settings: Mapping[str, str] | None = None
    ) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers: list[subprocess.Popen] = []
        self._folder = folder
        self._environment = ENVIRONMENT | (settings or {})
        self._started = 0
        self._all: dict[subprocess.Popen, Path] = {}
        self._nannies: list[subprocess.Popen] = []
        self.start_scheduler()
        self.start_workers(workers)

    def _start(self, *arguments: str) -> tuple[subprocess.Popen, Path]:
        self._started += 1
        log = self._folder / f"{self._started}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*DASK, *arguments, "--no-dashboard"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self._all[process] = log
        return process, log

    def log_of(self, process: subprocess.Popen) -> bytes:
        """What a process has said so far."""
        return self._all[process].read_bytes()

    def start_scheduler(self) -> None:
        host, port = self.address.removeprefix("tcp://").split(":")
        self.scheduler, log = self._start("scheduler", "--host", host, "--port", port)
        wait_until(lambda: b"Scheduler at:" in log.read_bytes(), "the scheduler")

    def start_workers(
        self, count: int, *options: str, nanny: bool = False, wait: bool = True
    ) -> list[subprocess.Popen]:
        """Start workers, with further options of `dask worker`."""
        kind = "--nanny" if nanny else "--no-nanny"
        words = ["--nthreads", "1", "--local-directory", str(self._folder), *options]
        started = [self._start("worker", self.address, kind, *words) for _ in range(count)]
        processes = [process for process, _ in started]
        self.workers += processes
        self._nannies += processes if nanny else []
        if wait:
            for _, log in started:
                wait_until(lambda log=log: b"Registered to:" in log.read_bytes(), "a worker")
        return processes

    def child_of(self, worker: subprocess.Popen) -> int | None:
        """The process that draws for a worker with a nanny; without one the worker draws itself."""
        if worker not in self._nannies:
            return None
        return next((pid for pid in children(worker.pid) if draws(pid)), None)

    def alive(self) -> int:
        """How many processes there are that draw."""
        # A nanny whose worker is killed before it has heard of it gives up, and ends.
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        nannies = (worker in self._nannies for worker in self.workers)
        pairs = zip(self.workers, nannies, strict=True)
        return sum(not nanny or self.child_of(worker) is not None for worker, nanny in pairs)

    def kill(self, process: subprocess.Popen) -> None:
        """SIGKILL a process that still runs, not those that it started."""
        assert process.poll() is None
        process.kill()
        process.wait()
        if process in self.workers:
            self.workers.remove(process)

    def close(self) -> None:
        for process in self._all:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
