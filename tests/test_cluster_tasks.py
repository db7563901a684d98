"""Runs within the tasks of the cluster that they use, and clusters that grow with what waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import distributed
import numpy as np
import pytest
from store_tools import drawn, hashes, tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import UsageError
from gpgen.format.zarr import ZarrStore
from gpgen.making import dispatch

pytestmark = pytest.mark.cluster

N = 12


def local(workers: int) -> distributed.LocalCluster:
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )


@pytest.fixture
def cluster() -> Iterator[distributed.LocalCluster]:
    with local(2) as cluster:
        yield cluster


def make_on(address: str, out: str) -> str:
    tiny_make(Path(out), N, workers=None, scheduler=address).close()
    return out


def make_by_worker_client(address: str, out: str) -> str:
    with distributed.worker_client() as client:
        tiny_make(Path(out), N, workers=None, scheduler=client).close()
    return make_on(address, f"{out}-again.zarr").removesuffix("-again.zarr")


async def make_in_coroutine(address: str, out: str) -> None:
    make_on(address, out)


@pytest.mark.parametrize("make", [make_on, make_by_worker_client])
def test_tasks_that_fill_the_workers_make_on_the_same_cluster(
    tmp_path: Path, cluster, make
) -> None:
    """Each waited for a worker that another of them held."""
    with distributed.Client(cluster, set_as_default=False) as client:
        outs = [str(tmp_path / f"{k}.zarr") for k in range(4)]
        address = cluster.scheduler_address
        futures = client.map(make, [address] * 4, outs, pure=False)
        for future in futures:
            with open_dataset(future.result(timeout=300)) as dataset:
                np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))
        # The places that they gave up are there again.
        begun = client.map(time.sleep, [0.01] * 8, pure=False)
        client.gather(begun)
        threads = [set(worker.executor._threads) for worker in cluster.workers.values()]
        assert [len(some) for some in threads] == [1, 1]


def test_a_coroutine_on_a_worker_is_refused(tmp_path: Path, cluster) -> None:
    """Its messages would wait for what it waits for."""
    with distributed.Client(cluster, set_as_default=False) as client:
        out = str(tmp_path / "d.zarr")
        future = client.submit(make_in_coroutine, cluster.scheduler_address, out)
        with pytest.raises(UsageError, match=r"a coroutine on a Dask worker.*plain function"):
            future.result(timeout=300)


def test_an_adaptive_cluster_grows_to_its_maximum(tmp_path: Path, monkeypatch) -> None:
    """With two tasks a thread there never was work for more than one worker."""
    write = ZarrStore.write_shard

    def slow(self, job, shard, check):
        time.sleep(0.05)
        return write(self, job, shard, check)

    monkeypatch.setattr(ZarrStore, "write_shard", slow)
    seen, n = [], 300
    with local(1) as cluster:
        # Ten times as fast as Dask's own: it looks each second, and plans for five.
        cluster.adapt(minimum=1, maximum=4, interval="100ms", target_duration="500ms")
        tiny_make(
            tmp_path / "d.zarr", n, shard_size=1, workers=None, scheduler=cluster,
            progress=lambda _: seen.append(len(cluster.workers)),
        ).close()  # fmt: skip
    assert seen[0] == 1
    assert max(seen) == 4
    (tmp_path / "whole").mkdir()
    monkeypatch.undo()
    tiny_make(tmp_path / "whole" / "d.zarr", n, shard_size=1).close()
    assert hashes(tmp_path / "d.zarr") == hashes(tmp_path / "whole" / "d.zarr")


def test_no_more_is_in_flight_than_the_window_holds(tmp_path: Path, cluster, monkeypatch) -> None:
    monkeypatch.setattr(dispatch, "IN_FLIGHT", 20)
    sent, most = dispatch._Window.send, []

    def counting(self, shard, avoid=None):
        sent(self, shard, avoid)
        most.append(len(self.futures))

    monkeypatch.setattr(dispatch._Window, "send", counting)
    tiny_make(tmp_path / "d.zarr", 100, shard_size=1, workers=None, scheduler=cluster).close()
    assert len(most) == 100
    assert max(most) == 20
