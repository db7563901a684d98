"""Shards made by threads of this process."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from gpgen.exact.blas import one_blas_thread
from gpgen.format import store_for
from gpgen.format.image_writing import Check
from gpgen.format.job import Job, ShardRecord
from gpgen.making.tries import check_worth_trying_again

__all__ = ["make_in_threads"]

Write = Callable[[Job, int, Check], ShardRecord]


class _StoppedError(Exception):
    """The run ends before this shard is made."""


def make_in_threads(
    job: Job,
    workers: int,
    shards: Iterator[int],
    finished: Callable[[list[ShardRecord]], Any],
    write: Write | None = None,
) -> None:
    """Make shards in threads; what else Python and the user do here is left as it is.

    Parameters
    ----------
    job
        What to make.
    workers
        How many at once.
    shards
        Numbers of the shards to make, taken one by one as there is room.
    finished
        Told of each few finished shards.
    write
        ``write(job, shard, check)`` makes one; the format's `write_shard` by default.

    Raises
    ------
    ClusterError
        If a shard keeps failing.
    TargetError
        If the disk is full or forbids writing.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gpgen")
    running: set[Future[ShardRecord]] = set()
    with one_blas_thread():
        try:
            while True:
                for shard in itertools.islice(shards, 2 * workers - len(running)):
                    running.add(pool.submit(_make_shard, job, shard, stop, write))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                # What is made is kept, whatever happened to the others.
                records = [future.result() for future in done if future.exception() is None]
                if records:
                    finished(records)
                for future in done:
                    future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
            late = [
                future.result()
                for future in running
                if not future.cancelled() and future.exception() is None
            ]
            if late:
                # Finished beside a failure. What that was is the error to be seen.
                with contextlib.suppress(Exception):
                    finished(late)


def _make_shard(job: Job, shard: int, stop: threading.Event, write: Write | None) -> ShardRecord:
    def check() -> None:
        if stop.is_set():
            raise _StoppedError

    write = write or store_for(job.target.form, job.target.path).write_shard
    for tries in itertools.count(1):
        check()
        try:
            return write(job, shard, check)
        except _StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails is tried again, and told if it keeps failing
            check_worth_trying_again(job, shard, error, tries)
    raise AssertionError
