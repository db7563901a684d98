"""What docs/clusters.md promises when workers are lost for good, killed again and again, or hang.

What happens to those that are killed at random is in test_cluster_killed.py.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cli_making import Making, uninterrupted
from cli_support import Caller
from dask_cluster import DaskCluster, wait_until
from store_tools import OUTS, hashes, only_long, tiny

import gpgen
from gpgen.errors import ClusterError
from gpgen.format.layout import Target

pytestmark = pytest.mark.cluster

N = 60
# Formats with a file a shard; where all share one, nobody sees who wrote what last.
SOME = [OUTS[0], *only_long([OUTS[2]])]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp, N)


@contextlib.contextmanager
def cluster_of(workers: int, folder: Path, settings: Mapping[str, str]) -> Iterator[DaskCluster]:
    folder.mkdir()
    with contextlib.closing(DaskCluster(folder, workers, settings)) as cluster:
        yield cluster


def make(capfd, out: Path, address: str, *options: str) -> tuple[int, str]:
    """Call `gpgen make` in this process; return its status and what it says of errors."""
    recipe = out.parent.with_name("tiny.toml")
    recipe.write_text(tiny().to_toml())
    words = ("--n", str(N), "--out", out, "--shard-size", "1", "--scheduler", address)
    ended = Caller(capfd, out.parent)("make", "--recipe", recipe, *words, *options)
    return ended.status, ended.err


def test_without_workers_it_is_told_and_goes_on_when_there_are_some(
    tmp_path: Path, data: Path, expected, capfd, monkeypatch
) -> None:
    monkeypatch.setattr("gpgen.making.dispatch.NO_WORKERS_SECONDS", 1.0)
    out = data / "d.zarr"
    told = (
        "error: the scheduler has had no workers for 1 seconds; start some with "
        "`dask worker ADDRESS`, then run again with --resume\n"
    )
    with cluster_of(0, tmp_path / "cluster", {}) as cluster:
        assert make(capfd, out, cluster.address) == (1, told)
        (worker,) = cluster.start_workers(1)

        def progress(state) -> None:
            if state.done >= 5 and worker in cluster.workers:
                cluster.kill(worker)

        options = {"shard_size": 1, "scheduler": cluster.address, "resume": True}
        with pytest.raises(ClusterError, match="has had no workers for 1 seconds; start some"):
            gpgen.make(tiny(), N, out, progress=progress, **options)
        assert worker not in cluster.workers
        cluster.start_workers(1)
        assert make(capfd, out, cluster.address, "--resume") == (0, "")
    assert hashes(data) == expected("d.zarr")


# Kills the worker at its first effect on a file, which is the first of a shard.
DEADLY = """
import os, signal
from gpgen.io import files
files.watch(lambda *step: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_shard_that_kills_its_workers_is_told(
    tmp_path: Path, data: Path, expected, capfd, monkeypatch
) -> None:
    monkeypatch.setattr("gpgen.making.dispatch.KILLED_TRIES", 2)
    preload = tmp_path / "deadly.py"
    preload.write_text(DEADLY)
    out = data / "d.zarr"
    # Dask itself would have a shard kill three workers before it tells.
    settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with cluster_of(0, tmp_path / "cluster", settings) as cluster:
        deadly = cluster.start_workers(2, "--preload", str(preload), nanny=True)
        status, told = make(capfd, out, cluster.address)
        assert status == 1
        assert told.startswith("error: workers were killed 2 times while they made shard ")
        assert told.endswith("; give them more memory, or make smaller shards with --shard-size\n")
        assert told.count("\n") == 1
        for worker in deadly:
            cluster.kill(worker)
        cluster.start_workers(1)
        assert make(capfd, out, cluster.address, "--resume")[0] == 0
    assert hashes(data) == expected("d.zarr")


# Stops the worker before it syncs its first shard, and notes that step, and those that follow.
STOPPING = """
import os, signal
from pathlib import Path
from gpgen.io import files

def stop(action, path):
    if action == "sync":
        path = Path(f"/proc/self/fd/{path}").readlink()
    first = not notes.exists()
    with notes.open("a") as file:
        print(action, path, file=file)
    if first and action == "sync":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif first:
        notes.unlink()

notes = Path(FOLDER, f"{os.getpid()}.steps")
files.watch(stop)
"""


class Stopping:
    """A worker that stops at its first shard, as if its node hung."""

    def __init__(self, cluster: DaskCluster, preload: Path) -> None:
        (self.process,) = cluster.start_workers(1, "--preload", str(preload))
        self._notes = preload.with_name(f"{self.process.pid}.steps")

    def steps(self) -> list[str]:
        """What it did since it stopped, and before that only the step at which it stopped."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def file(self) -> str:
        """The name of the file that it was about to finish."""
        return Path(self.steps()[0].partition(" ")[2]).name.rpartition(".")[0]

    def go_on(self, count: int) -> list[str]:
        """Continue it until it comes to so many more steps; return what is done in them."""
        assert len(self.steps()) == 1
        self.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(self.steps()) > count, f"{count} steps")
        return [step.partition(" /")[0] for step in self.steps()[1 : 1 + count]]


@pytest.mark.parametrize("out", SOME)
def test_workers_taken_for_dead_that_go_on_writing_change_nothing(
    tmp_path: Path, data: Path, expected, out
) -> None:
    """Others make the shards of two that hang; one wakes in mid-run, one when all is over."""
    preload = tmp_path / "stopping.py"
    preload.write_text(STOPPING.replace("FOLDER", repr(str(tmp_path))))
    # Dask waits for five seconds at least.
    settings = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1s"}
    with cluster_of(0, tmp_path / "cluster", settings) as cluster:
        early, late = (Stopping(cluster, preload) for _ in range(2))
        cluster.start_workers(1)
        run = Making(data / out, "--scheduler", cluster.address, n=N)
        wait_until(lambda: early.steps() and late.steps(), "both to stop")
        with run.paused(5):
            log_of, scheduler = cluster.log_of, cluster.scheduler
            wait_until(lambda: log_of(scheduler).count(b"; removing: ") >= 2, "their removal")
            folder = next(Target.parse(data / out).working.glob("data-*"))
            for worker in (early, late):
                wait_until(lambda worker=worker: [*folder.rglob(worker.file())], "their shards")
            # It puts its own file in the place of the other's.
            assert early.go_on(2) == ["rename", "sync folder"]
        run.succeed()
        assert hashes(data) == expected(out)
        # Its file is gone, and so is the folder: there is nothing to rename.
        assert late.go_on(1) == ["rename"]
        time.sleep(0.5)  # steps are told before they are done
        assert hashes(data) == expected(out)


def test_a_shared_folder_that_is_gone_is_told_and_resumed_when_it_is_back(
    tmp_path: Path, data: Path, expected
) -> None:
    with cluster_of(1, tmp_path / "cluster", {}) as cluster:
        run = Making(data / "d.zarr", "--scheduler", cluster.address, n=N)
        with run.paused(5):
            data.rename(tmp_path / "away")
        assert "a worker does not find" in run.fail()
        (tmp_path / "away").rename(data)
        Making(data / "d.zarr", "--scheduler", cluster.address, "--resume", n=N).succeed()
    assert hashes(data) == expected("d.zarr")
