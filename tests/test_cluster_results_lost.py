"""A worker that dies between saying that a shard is done and handing over its record."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_cluster import DaskCluster
from store_tools import hashes, tiny, tiny_make

from gpgen.errors import ClusterError
from gpgen.making import dispatch
from gpgen.making.run import make

pytestmark = pytest.mark.cluster

N = 60


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch) -> Iterator[DaskCluster]:
    """A cluster of one worker, which is killed when the driver would fetch its third result."""
    (tmp_path / "cluster").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(dispatch, "_FETCH_SECONDS", 1.0)
    monkeypatch.setattr(dispatch, "NO_WORKERS_SECONDS", 4.0)
    result, fetched = dispatch._Window._result, []

    def killing(self, shard, future):
        fetched.append(shard)
        if len(fetched) == 3:
            assert future.status == "finished"
            cluster.kill(cluster.workers[0])
        return result(self, shard, future)

    monkeypatch.setattr(dispatch._Window, "_result", killing)
    with contextlib.closing(DaskCluster(tmp_path / "cluster", workers=1)) as cluster:
        yield cluster
    assert len(fetched) > 3


def run(cluster: DaskCluster, folder: Path, **options) -> None:
    make(tiny(), N, folder / "d.zarr", shard_size=2, scheduler=cluster.address, **options).close()


def test_without_another_worker_it_is_said_in_a_minute(cluster, tmp_path: Path) -> None:
    """The driver once waited for that record for ever."""
    with pytest.raises(ClusterError, match="has had no workers for 4 seconds; start some"):
        run(cluster, tmp_path / "data")
    cluster.start_workers(1)
    run(cluster, tmp_path / "data", resume=True)
    (tmp_path / "whole").mkdir()
    tiny_make(tmp_path / "whole" / "d.zarr", N, shard_size=2).close()
    assert hashes(tmp_path / "data") == hashes(tmp_path / "whole")


def test_another_worker_makes_the_shard_again(cluster, tmp_path: Path) -> None:
    cluster.start_workers(1)
    run(cluster, tmp_path / "data")
    (tmp_path / "whole").mkdir()
    tiny_make(tmp_path / "whole" / "d.zarr", N, shard_size=2).close()
    assert hashes(tmp_path / "data") == hashes(tmp_path / "whole")
