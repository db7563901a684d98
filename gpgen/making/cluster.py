"""A Dask cluster to make shards on: one that is there, or workers started here."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import multiprocessing.resource_tracker
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import threadpoolctl

from gpgen.errors import ClusterError

__all__ = ["Client", "connect", "dask_distributed"]

# How long a scheduler has to answer.
CONNECT_SECONDS = 10.0

# Dask's annotations come and go between versions: to the type checker it is untyped.
Client = Any


def dask_distributed() -> Any:  # noqa: ANN401 - see above
    """Import Dask's scheduler only when something is made: it takes half a second."""
    return importlib.import_module("distributed")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own account of lost workers and closed connections off the terminal."""
    # Dask gives some of its loggers levels of their own, so that their parent's does not count.
    names = [name for name in list(logging.root.manager.loggerDict) if _is_dasks(name)]
    loggers = [logging.getLogger(name) for name in {"distributed", *names}]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_dasks(logger: str) -> bool:
    return logger.split(".")[0] == "distributed"


@contextlib.contextmanager
def connect(workers: int, scheduler: str | None, processes: bool) -> Iterator[Client]:
    """Connect to the scheduler at an address, or start workers here.

    Raises
    ------
    ClusterError
        If the scheduler doesn't answer.
    """
    dask: Any = importlib.import_module("dask")
    distributed = dask_distributed()
    settings = {
        "distributed.admin.log-length": 0,
        # Dask would have worker processes give each freed page back at once, to fault it in
        # again for the next image: drawing small images took 1.8 times as long.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
        # A clock that is set forward must not make workers look silent.
        "distributed.scheduler.worker-ttl": None,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(dask.config.set(settings))
        if scheduler is not None:
            client = None
            with contextlib.suppress(OSError, ValueError, TypeError):
                client = distributed.Client(
                    scheduler, timeout=CONNECT_SECONDS, set_as_default=False
                )
            if client is None:
                # A client that could not connect closes itself when it is collected. Should that
                # come while another one starts, both would wait for one lock for ever.
                gc.collect()
                raise ClusterError(
                    f"the scheduler at {scheduler} does not answer",
                    "check the address and that `dask scheduler` runs there",
                )
        else:
            with _interrupts_kept_from_workers(), warnings.catch_warnings():
                # Nothing is written there but a lock.
                warnings.filterwarnings("ignore", "Creating scratch directories is taking")
                cluster = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        processes=processes,
                        dashboard_address="127.0.0.1:0",
                        worker_dashboard_address=None,
                        memory_limit=0,
                        silence_logs=logging.CRITICAL,
                    )
                )
            client = distributed.Client(cluster, set_as_default=False)
            if not processes:
                limits = threadpoolctl.threadpool_limits(1, user_api="blas")
                stack.enter_context(limits)
        stack.callback(_close, client)
        yield client


@contextlib.contextmanager
def _interrupts_kept_from_workers() -> Iterator[None]:
    """Leave Ctrl-C, which a terminal sends to every process, to the driver alone.

    The threads that start meanwhile, and the worker processes that those start and restart,
    inherit that SIGINT is blocked; here it is only late.
    """
    # Starting the tracker later, in such a thread, would unblock the signal there.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close(client: Client) -> None:
    # A scheduler that is gone can't be told.
    with contextlib.suppress(Exception):
        client.close(timeout=2)
