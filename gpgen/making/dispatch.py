"""Shards sent to Dask's workers: a bounded window in flight, failures tried again."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import queue
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from gpgen.errors import Argument, ClusterError, GpgenError
from gpgen.exact.blas import one_blas_thread
from gpgen.exact.offered_roots import offered_names, roots_sha256
from gpgen.format import store_for
from gpgen.format.image_writing import never_stop
from gpgen.format.job import Job, ShardRecord
from gpgen.making.cluster import Client, dask_distributed, differing_versions
from gpgen.making.tries import TRIES, check_worth_trying_again
from gpgen.recipe import Recipe

__all__ = ["ClockSetBackError", "make_shards"]

# How long a cluster without workers has to get one.
NO_WORKERS_SECONDS = 60.0
# A killed worker takes all its shards with it: a shard may lose its worker more often than fail.
KILLED_TRIES = 20
_POLL_SECONDS = 0.5
# How long a result may take on its way here, before it is looked whether anybody still has it.
_FETCH_SECONDS = 5.0
# Dask sends at times of day that it has set itself: by so much it may come late.
_CLOCK_SECONDS = 1.0
# Adaptive clusters grow by what waits: Dask asks for as many workers as would end it in five
# seconds. It hands out 250 shards a second at most, so that more than this could feed none.
IN_FLIGHT = 1250
# Sent off at once, before what has arrived is looked at.
_SENT_TOGETHER = 50

Future = Any


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


@dataclasses.dataclass(frozen=True)
class _Failure:
    """What went wrong on a worker, and on which: so that another is asked."""

    worker: str
    error: Exception


def _make_shard(job: Job, shard: int) -> ShardRecord | _Failure:
    """Make one shard: the task that workers run."""
    try:
        _check_kernels(job)
        with one_blas_thread():
            return store_for(job.target.form, job.target.path).write_shard(job, shard, never_stop)
    except Exception as error:  # noqa: BLE001 - all of it goes to the driver, which decides
        return _Failure(dask_distributed().get_worker().address, error)


def _check_kernels(job: Job) -> None:
    """Refuse to draw with other code of another package's kernel than the driver's."""
    if job.roots is None or not isinstance(job.recipe, Recipe):
        return
    if roots_sha256(job.recipe.texture) != job.roots:
        raise ClusterError(
            f"worker {dask_distributed().get_worker().address} has another version of the kernel "
            f"{_offered(job)} than this process",
            "install the same version on all workers, start them again, then run again with "
            f"{Argument.RESUME}",
        )


def _offered(job: Job) -> str:
    """Return which kernels of other packages a job needs; "" for none."""
    if not isinstance(job.recipe, Recipe):
        return ""
    return " or ".join(offered_names(job.recipe.texture))


class _Window:
    """The shards in flight."""

    def __init__(self, client: Client, job: Job) -> None:
        self.client = client
        self.job = job
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
        return max(2 * self.threads(), IN_FLIGHT) - len(self.futures)

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
                f"start some with `dask worker ADDRESS`, then run again with {Argument.RESUME}",
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
                key=f"gpgen-{self.run}-{shard}-{tries}",
                pure=False,
                workers=others,
                allow_other_workers=others is not None,
            )
        self.futures[shard] = future
        future.add_done_callback(lambda future: self.done.put((shard, future)))

    def receive(self, wait: float) -> list[ShardRecord]:
        """Wait for shards and return those finished; failed ones are sent off again.

        What ends the run is kept in `failure`, so that what came with it is not lost.
        """
        records = []
        arrived = []
        with contextlib.suppress(queue.Empty):
            arrived.append(self.done.get(timeout=wait))
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
                    f"give them more memory, or make smaller shards with {Argument.SHARD_SIZE}",
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
        tries = self.tries[shard] = self.tries.get(shard, 0) + 1
        where = f", last on {failure.worker}" if failure.worker else ""
        if tries >= TRIES and (differs := differing_versions(self.client)):
            where += f" ({differs})"
        kernels = "" if failure.worker else _offered(self.job)
        if kernels:
            where += f" (the scheduler and all workers need the package of kernel {kernels})"
        check_worth_trying_again(self.job, shard, failure.error, tries, where)
        self.send(shard, avoid=failure.worker)

    def drop(self) -> None:
        """Give up what is in flight."""
        if self.futures and self.client.status == "running":
            with contextlib.suppress(Exception):
                self.client.cancel(list(self.futures.values()), force=True)
        self.futures.clear()


def _clock() -> float:
    """Return by how much the time of day is before the time since the machine began."""
    return time.time() - time.monotonic()


def _lost() -> ClusterError:
    return ClusterError("the scheduler is gone", f"start it again, then use {Argument.RESUME}")


def make_shards(
    client: Client,
    job: Job,
    shards: Iterator[int],
    finished: Callable[[list[ShardRecord]], Any],
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

    Raises
    ------
    ClusterError
        If a shard keeps failing, or the cluster is gone.
    ClockSetBackError
        If the cluster must be connected to anew.
    TargetError
        If the disk is full or forbids writing.
    """
    window = _Window(client, job)
    more = True
    try:
        while more or window.futures:
            room = window.room() if more else 0
            sent = list(itertools.islice(shards, min(room, _SENT_TOGETHER)))
            more = more and len(sent) == min(room, _SENT_TOGETHER)
            for shard in sent:
                window.send(shard)
            wait = 0.0 if more and room > len(sent) else _POLL_SECONDS
            records = window.receive(wait) if window.futures else []
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
