"""Worker processes on this machine: a small Dask cluster, held by a process of its own.

That process sets what it likes of what a process has only once: Dask's configuration, logging,
Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from gpgen.errors import Argument, ClusterError, UsageError
from gpgen.making.cluster import root_cause
from gpgen.workers import has_python, python_calling

__all__ = ["serve", "worker_processes"]

_LOOK_SECONDS: Final = 1.0

_SETTINGS: Final = {
    "distributed.admin.log-length": 0,
    # Dask would have worker processes give each freed page back at once, to fault it in
    # again for the next image: drawing small images took 1.8 times as long.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
    # A clock that is set forward must not make workers look silent.
    "distributed.scheduler.worker-ttl": None,
}


@contextlib.contextmanager
def worker_processes(count: int) -> Iterator[str]:
    """Start worker processes, which end with this context or with this process.

    Parameters
    ----------
    count
        How many.

    Yields
    ------
    str
        The address of their scheduler.

    Raises
    ------
    ClusterError
        If they can't be started.
    """
    if not has_python():
        raise UsageError(
            "worker processes need a Python interpreter, and this program has none of its own",
            f"leave out {Argument.PROCESSES}",
        )
    _check_loopback()
    words = python_calling(__name__, "serve", count)
    nowhere, pipe = subprocess.DEVNULL, subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=nowhere)  # noqa: S603 - ours
    assert process.stdin is not None  # noqa: S101 - narrows the type
    assert process.stdout is not None  # noqa: S101
    with process, process.stdin:
        told = json.loads(process.stdout.readline() or b"{}")
        if "address" not in told:
            status = process.wait()
            cause = told.get("error") or f"what should start them ended with status {status}"
            raise ClusterError(
                f"worker processes can't be started: {cause}",
                f"mend that, or leave out {Argument.PROCESSES}",
            )
        try:
            yield told["address"]
        finally:
            process.stdin.close()
            process.wait()


def _check_loopback() -> None:
    """Connect to this process itself, as scheduler and workers will do: Dask tries for a minute."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=_LOOK_SECONDS).close()
    except OSError as error:
        reason = (error.strerror or "it takes too long").lower()
        raise ClusterError(
            f"processes on this machine can't talk to each other by 127.0.0.1: {reason}",
            f"mend that (the loopback network must be up), or leave out {Argument.PROCESSES}",
        ) from error


def serve(count: int) -> NoReturn:
    """Hold the workers in this process until the caller closes its end of standard input."""
    caller = os.getppid()
    # Workers inherit what they may say to the terminal, which is nothing, but not this.
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        # A terminal sends Ctrl-C to all processes; it is for the caller alone.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.disable()
        with contextlib.ExitStack() as stack:
            try:
                told = {"address": _start(count, stack)}
            except Exception as error:  # noqa: BLE001 - all of it is told
                told = {"error": root_cause(error) + _preloads()}
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(told), file=channel, flush=True)
            if "address" in told:
                # A process that the caller has forked may hold the other end open.
                while os.getppid() == caller:
                    if select.select([0], [], [], _LOOK_SECONDS)[0] and not os.read(0, 1):
                        break
            # What they are at can be killed at any time, and Dask would wait for its end.
            for worker in multiprocessing.active_children():
                worker.kill()
                worker.join()
    os._exit(0)


def _preloads() -> str:
    """Return what Dask's configuration has it run besides: the first thing to suspect."""
    import dask

    kinds = ("scheduler", "nanny", "worker")
    given = {kind: dask.config.get(f"distributed.{kind}.preload", None) for kind in kinds}
    names = ", ".join(
        f"distributed.{kind}.preload = {what}" for kind, what in given.items() if what
    )
    return f" (Dask's configuration has {names})" if names else ""


def _start(count: int, stack: contextlib.ExitStack) -> str:
    """Start a scheduler and workers and return the address."""
    import dask
    import distributed

    place = dask.config.get("temporary-directory", None)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gpgen-", dir=place))
    stack.enter_context(dask.config.set({**_SETTINGS, "temporary-directory": folder}))
    local_cluster: Any = distributed.LocalCluster
    cluster = local_cluster(
        n_workers=count,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address=None,
        memory_limit=0,
        silence_logs=False,
    )
    address: str = cluster.scheduler_address
    return address
