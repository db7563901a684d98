"""Shards sent to the workers of a Dask cluster, by themselves."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest
from store_tools import hashes, tiny, tiny_make

from gpgen.errors import ClusterError, TargetError
from gpgen.format.job import ShardRecord
from gpgen.format.zarr import ZarrStore
from gpgen.making.dispatch import make_shards
from gpgen.making.planning import plan_job
from gpgen.making.run import carry_out

N, SHARD = 21, 2
SHARDS = 11


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    """Two workers in this process."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def make(client: distributed.Client, out: Path) -> list[list[ShardRecord]]:
    """Make a dataset; return the records in the groups in which they came."""
    came = []

    def work(job, left, missing, finished) -> None:
        def keep(records: list[ShardRecord]) -> None:
            came.append(records)
            finished(records)

        make_shards(client, job, missing, keep)

    carry_out(plan_job(tiny(), N, out, shard_size=SHARD), work).close()
    return came


@pytest.fixture
def failing(monkeypatch):
    """Make a shard's writing fail so many times; return the workers that tried, in order."""
    write = ZarrStore.write_shard

    def fail(shard: int, times: int, error: Exception) -> list[str]:
        tried = []

        def writing(self, job, number, check):
            if number == shard:
                tried.append(distributed.get_worker().address)
                if len(tried) <= times:
                    raise error
            return write(self, job, number, check)

        monkeypatch.setattr(ZarrStore, "write_shard", writing)
        return tried

    return fail


def eio() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def test_every_shard_comes_once_and_the_bytes_are_those_of_threads(client, tmp_path: Path) -> None:
    (tmp_path / "threads").mkdir()
    tiny_make(tmp_path / "threads" / "d.zarr", N, shard_size=SHARD).close()
    (tmp_path / "cluster").mkdir()
    came = make(client, tmp_path / "cluster" / "d.zarr")
    assert all(came)
    assert Counter(record.shard for records in came for record in records) == dict.fromkeys(
        range(SHARDS), 1
    )
    assert hashes(tmp_path / "cluster") == hashes(tmp_path / "threads")


def test_a_shard_that_failed_is_made_by_another_worker(client, tmp_path: Path, failing) -> None:
    tried = failing(shard=3, times=2, error=eio())
    make(client, tmp_path / "d.zarr")
    assert len(tried) == 3
    assert tried[0] != tried[1] != tried[2]


def test_one_that_fails_a_third_time_ends_the_run(client, tmp_path: Path, failing) -> None:
    tried = failing(shard=3, times=99, error=eio())
    with pytest.raises(ClusterError, match=r"shard 3 failed 3 times, last on .*: OSError"):
        make(client, tmp_path / "d.zarr")
    assert len(tried) == 3


def test_a_full_disk_is_not_tried_again(client, tmp_path: Path, failing) -> None:
    tried = failing(shard=3, times=99, error=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(TargetError, match="no space left on device"):
        make(client, tmp_path / "d.zarr")
    assert len(tried) == 1
