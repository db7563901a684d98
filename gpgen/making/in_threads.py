"""Shards made by threads of this process."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from gpgen.exact.blas import one_blas_thread
from gpgen.format import store_for
from gpgen.format.image_writing import Check
from gpgen.format.job import Job, ShardRecord
from gpgen.making.tries import check_worth_trying_again

__all__ = ["Lane", "make_in_threads"]

Write = Callable[[Job, int, Check], ShardRecord]


class _StoppedError(Exception):
    """The run ends before this shard is made."""


@dataclasses.dataclass
class Lane:
    """Shards that are made in turn, by threads of their own.

    Parameters
    ----------
    shards
        Their numbers, taken one by one as there is room.
    write
        ``write(job, shard, check)`` makes one; the format's `write_shard` by default.
    """

    shards: Iterator[int]
    write: Write | None = None

    def __post_init__(self) -> None:
        self.running: set[Future[ShardRecord]] = set()

    def begin(self, job: Job, pool: ThreadPoolExecutor, most: int, stop: threading.Event) -> None:
        """Have shards made, until so many are."""
        for shard in itertools.islice(self.shards, most - len(self.running)):
            self.running.add(pool.submit(_make_shard, job, shard, stop, self.write))


def make_in_threads(
    job: Job, workers: int, lanes: Sequence[Lane], finished: Callable[[list[ShardRecord]], Any]
) -> None:
    """Make shards in threads; what else Python and the user do here is left as it is.

    Parameters
    ----------
    job
        What to make.
    workers
        How many at once, of each lane.
    lanes
        The shards. There are several where some wait for the disk and others for the processor.
    finished
        Told of each few finished shards.

    Raises
    ------
    ClusterError
        If a shard keeps failing.
    TargetError
        If the disk is full or forbids writing.
    """
    stop = threading.Event()
    pools = [ThreadPoolExecutor(workers, thread_name_prefix="gpgen") for _ in lanes]
    with one_blas_thread():
        try:
            while True:
                for lane, pool in zip(lanes, pools, strict=True):
                    lane.begin(job, pool, 2 * workers, stop)
                running = set[Future[ShardRecord]]().union(*(lane.running for lane in lanes))
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for lane in lanes:
                    lane.running -= done
                # What is made is kept, whatever happened to the others.
                records = [future.result() for future in done if future.exception() is None]
                if records:
                    finished(records)
                for future in done:
                    future.result()
        finally:
            stop.set()
            for pool in pools:
                pool.shutdown(cancel_futures=True)
            late = [
                future.result()
                for lane in lanes
                for future in lane.running
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
