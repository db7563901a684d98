"""A Dask cluster of real processes, started with the `dask` command, to be killed one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from store_tools import ENVIRONMENT

from gpgen.store.layout import Target

DASK = [sys.executable, "-m", "dask"]


def wait_until(condition, what: str, seconds: float = 60) -> None:
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
    found = Path(f"/proc/{parent}/task/{parent}/children")
    direct = [int(pid) for pid in found.read_text().split()] if found.exists() else []
    return direct + [pid for child in direct for pid in children(child)]


class DaskCluster:
    """A scheduler and workers; everything that it started ends with it."""

    def __init__(self, folder: Path, workers: int = 3) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers: list[subprocess.Popen] = []
        self._folder = folder
        self._started = 0
        self._all: list[subprocess.Popen] = []
        self.start_scheduler()
        self.start_workers(workers)

    def _start(self, *arguments: str) -> tuple[subprocess.Popen, Path]:
        self._started += 1
        log = self._folder / f"{self._started}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*DASK, *arguments, "--no-dashboard"],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self._all.append(process)
        return process, log

    def start_scheduler(self) -> None:
        host, port = self.address.removeprefix("tcp://").split(":")
        self.scheduler, log = self._start("scheduler", "--host", host, "--port", port)
        wait_until(lambda: b"Scheduler at:" in log.read_bytes(), "the scheduler")

    def start_workers(self, count: int, *, nanny: bool = False, wait: bool = True) -> None:
        options = ["--nthreads", "1", "--local-directory", str(self._folder)]
        kind = "--nanny" if nanny else "--no-nanny"
        started = [self._start("worker", self.address, kind, *options) for _ in range(count)]
        self.workers += [process for process, _ in started]
        if wait:
            for _, log in started:
                wait_until(lambda log=log: b"Registered to:" in log.read_bytes(), "a worker")

    def kill(self, process: subprocess.Popen) -> None:
        """SIGKILL a process, not those that it started."""
        process.kill()
        process.wait()
        if process in self.workers:
            self.workers.remove(process)

    def close(self) -> None:
        for process in self._all:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
