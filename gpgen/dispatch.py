"""Shards sent to Dask's workers: a bounded window in flight, failures tried again."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import queue
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import threadpoolctl

from gpgen.cluster import Client, dask_distributed
from gpgen.errors import ClusterError, GpgenError, TargetError
from gpgen.store import store_for
from gpgen.store.failures import target_errors
from gpgen.store.job import Job, ShardRecord

__all__ = ["ClockSetBackError", "make_shards"]

# How long a cluster without workers has to get one.
NO_WORKERS_SECONDS = 60.0
TRIES = 3
# A worker that is killed takes innocent shards with it: those may be unlucky more often.
KILLED_TRIES = 20
_POLL_SECONDS = 0.5
# How long a result may take on its way here, before it is looked whether anybody still has it.
_FETCH_SECONDS = 5.0
# Dask sends at times of day that it has set itself: by so much it may come late.
_CLOCK_SECONDS = 1.0
_NOT_WORTH_RETRYING = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
)

Future = Any

_stopped: set[str] = set()
_blas_limited = False


class ClockSetBackError(Exception):
    """The time of day went back, and Dask would send nothing until it has come again.

    Parameters
    ----------
    shards
        Those that were in flight.
    """

    def __init__(self, shards: list[int]) -> None:
        super().__init__(shards)
        self.shards = shards


class _StoppedError(Exception):
    """The driver wants no more of this run."""


@dataclasses.dataclass(frozen=True)
class _Failure:
    """What went wrong on a worker, and on which: so that another is asked."""

    worker: str
    error: Exception


def _limit_blas() -> None:
    """Give BLAS one thread, once and for good, in a process that is a worker."""
    global _blas_limited
    if not _blas_limited:
        threadpoolctl.threadpool_limits(1, user_api="blas")
        _blas_limited = True


def _make_shard(job: Job, shard: int, run: str, in_driver: bool) -> ShardRecord | _Failure:
    """Make one shard: the task that workers run."""
    if not in_driver:
        _limit_blas()

    def check() -> None:
        if run in _stopped:
            raise _StoppedError

    try:
        check()
        return store_for(job.target.form, job.target.path).write_shard(job, shard, check)
    except Exception as error:  # noqa: BLE001 - all of it goes to the driver, which decides
        return _Failure(dask_distributed().get_worker().address, error)


class _Window:
    """The shards in flight."""

    def __init__(self, client: Client, job: Job, in_driver: bool) -> None:
        self.client = client
        self.job = job
        self.in_driver = in_driver
        self.run = secrets.token_hex(8)
        self.futures: dict[int, Future] = {}
        self.done: queue.SimpleQueue[tuple[int, Future]] = queue.SimpleQueue()
        self.late: list[tuple[int, Future]] = []
        self.failure: Exception | None = None
        self.tries: dict[int, int] = {}
        self.killed: dict[int, int] = {}
        self._threads = 0
        self._counted = 0.0
        self._last_worker = time.monotonic()
        self._clock = _clock()

    def room(self) -> int:
        """Return how many more shards may be sent off: each worker thread has one to come."""
        return 2 * max(self.threads(), 1) - len(self.futures)

    def _nthreads(self) -> dict[str, int]:
        with self._connected():
            threads: dict[str, int] = self.client.nthreads()
        return threads

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError) or not self._is_connected():
                raise _lost() from error
            raise

    def _is_connected(self) -> bool:
        return self.client.status in ("running", "connecting")

    def threads(self) -> int:
        """Return the cluster's threads, asked for now and then.

        Raises
        ------
        ClusterError
            If there have been none for too long.
        """
        now = time.monotonic()
        if now - self._counted >= _POLL_SECONDS:
            self._threads = sum(self._nthreads().values())
            self._counted = now
        if self._threads:
            self._last_worker = now
        elif now - self._last_worker > NO_WORKERS_SECONDS:
            raise ClusterError(
                f"the scheduler has had no workers for {NO_WORKERS_SECONDS:.0f} seconds",
                "start some with `dask worker ADDRESS`, then run again with --resume",
            )
        return self._threads

    def send(self, shard: int, avoid: str | None = None) -> None:
        """Send a shard off, to any worker but the one to avoid if there is another."""
        others = None
        if avoid is not None:
            others = [address for address in self._nthreads() if address != avoid] or None
        tries = f"{self.tries.get(shard, 0)}-{self.killed.get(shard, 0)}"
        with self._connected():
            future = self.client.submit(
                _make_shard,
                self.job,
                shard,
                self.run,
                self.in_driver,
                key=f"gpgen-{self.run}-{shard}-{tries}",
                pure=False,
                workers=others,
                allow_other_workers=others is not None,
            )
        self.futures[shard] = future
        future.add_done_callback(lambda future: self.done.put((shard, future)))

    def receive(self) -> list[ShardRecord]:
        """Wait for shards and return those finished; failed ones are sent off again.

        What ends the run is kept in `failure`, so that what came with it is not lost.
        """
        records = []
        arrived = []
        with contextlib.suppress(queue.Empty):
            arrived.append(self.done.get(timeout=_POLL_SECONDS))
            while True:
                arrived.append(self.done.get_nowait())
        arrived, self.late = arrived + self.late, []
        for shard, future in arrived:
            if shard not in self.futures or self.futures[shard] is not future:
                continue
            if not future.done():  # its worker died with it, and it is made again
                self.late.append((shard, future))
                continue
            try:
                record = self._result(shard, future)
            except TimeoutError:
                self.late.append((shard, future))
            except GpgenError as error:
                self.failure = self.failure or error
            else:
                if record is not None:
                    del self.futures[shard]
                    records.append(record)
                    self.tries.pop(shard, None)
                    self.killed.pop(shard, None)
        if not self._is_connected():
            self.failure = self.failure or _lost()
        return records

    def check_clock(self) -> None:
        """Give up a connection that an hour set back would keep silent for an hour.

        Raises
        ------
        ClockSetBackError
            If the time of day has gone back since it was last asked for.
        """
        before, self._clock = self._clock, _clock()
        if self._clock < before - _CLOCK_SECONDS:
            raise ClockSetBackError(list(self.futures))

    def _result(self, shard: int, future: Future) -> ShardRecord | None:
        if future.status == "cancelled":
            raise _lost()
        try:
            # A worker that dies now takes the result with it; this would wait for it for ever.
            result = future.result(timeout=_FETCH_SECONDS)
        except TimeoutError:
            raise
        except dask_distributed().KilledWorker as error:
            # Dask itself has tried so often before it says so.
            self.killed[shard] = self.killed.get(shard, 0) + error.allowed_failures + 1
            if self.killed[shard] >= KILLED_TRIES:
                raise ClusterError(
                    f"workers were killed {self.killed[shard]} times while they made shard {shard}",
                    "give them more memory, or make smaller shards with --shard-size",
                ) from error
            self.send(shard)
            return None
        except Exception as error:  # noqa: BLE001 - such as a worker that lacks gpgen
            result = _Failure("", error)
        if isinstance(result, ShardRecord):
            return result
        self._try_again(shard, result)
        return None

    def _try_again(self, shard: int, failure: _Failure) -> None:
        error = failure.error
        if isinstance(error, GpgenError):
            raise error
        if isinstance(error, OSError) and error.errno in _NOT_WORTH_RETRYING:
            with target_errors(f"shard {shard} of {self.job.target.path} can't be written"):
                raise error
        self.tries[shard] = self.tries.get(shard, 0) + 1
        if self.tries[shard] < TRIES:
            self.send(shard, avoid=failure.worker)
            return
        where = f", last on {failure.worker}" if failure.worker else ""
        message = f"shard {shard} failed {TRIES} times{where}: {type(error).__name__}: {error}"
        if isinstance(error, FileNotFoundError):
            raise TargetError(
                f"a worker does not find {error.filename or self.job.working}",
                "give all workers the target's folder under the same path, then use --resume",
            ) from error
        if isinstance(error, ImportError):
            raise ClusterError(message, "install the same gpgen on all workers") from error
        raise ClusterError(message, "look at that worker, then run again with --resume") from error

    def drop(self) -> None:
        """Give up what is in flight; a worker in this process stops at its next batch."""
        _stopped.add(self.run)
        if self.futures and self.client.status == "running":
            with contextlib.suppress(Exception):
                self.client.cancel(list(self.futures.values()), force=True)
        self.futures.clear()


def _clock() -> float:
    """Return by how much the time of day is before the time since the machine began."""
    return time.time() - time.monotonic()


def _lost() -> ClusterError:
    return ClusterError("the scheduler is gone", "start it again, then use --resume")


def make_shards(
    client: Client,
    job: Job,
    shards: Iterator[int],
    finished: Callable[[list[ShardRecord]], Any],
    in_driver: bool,
) -> None:
    """Make shards on a cluster.

    Parameters
    ----------
    client
        The cluster.
    job
        What to make.
    shards
        Numbers of the shards to make, taken one by one as there is room.
    finished
        Told of each few finished shards.
    in_driver
        Whether the workers are threads of this process.

    Raises
    ------
    ClusterError
        If a shard keeps failing, or the cluster is gone.
    ClockSetBackError
        If the cluster must be connected to anew.
    TargetError
        If the disk is full or forbids writing.
    """
    window = _Window(client, job, in_driver)
    more = True
    try:
        while more or window.futures:
            while more and window.room() > 0:
                shard = next(shards, None)
                if shard is None:
                    more = False
                else:
                    window.send(shard)
            records = window.receive() if window.futures else []
            if records:
                finished(records)
            if window.failure is not None:
                raise window.failure
            if not records and not more:
                window.threads()
            if window.futures:
                window.check_clock()
    finally:
        window.drop()
