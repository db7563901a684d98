"""Processes of a real Dask cluster, killed in the midst of work.

A run of each kind; with --long fifty of killed workers and ten of the others.
"""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_making import Making, N, uninterrupted
from dask_cluster import DaskCluster, shards_done, wait_until
from store_tools import OUTS, hashes, only_long

from gpgen.dataset import open_dataset

pytestmark = pytest.mark.cluster

Expected = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> Expected:
    return uninterrupted(tmp_path_factory.mktemp)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    (tmp_path / "cluster").mkdir()
    cluster = DaskCluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


def check(run: Making, expected: Expected) -> None:
    """All bytes are those of an uninterrupted run, and each sample is there once."""
    assert hashes(run.out.parent) == expected(run.out.name)
    with open_dataset(run.out) as dataset:
        assert dataset.n == N
        assert len(np.unique(dataset.seed[:])) == N
        assert len({image.tobytes() for image in dataset.image[:]}) == N


def kill_at_random(
    run: Making, cluster: DaskCluster, generator: random.Random, points: int
) -> tuple[int, int]:
    """Kill workers as the run gets on, once all but one; return how many, and how few were left.

    Some are not replaced, some by another `dask worker`, some by their nanny. For that the driver
    is held still, else the run would be over before a new worker has started.
    """
    kills, fewest = 0, cluster.alive()
    moments = sorted(generator.sample(range(1, N * 3 // 4), points))
    lonely = generator.choice(moments)
    for shards in moments:
        run.wait_for(shards)
        count = len(cluster.workers) - 1 if shards == lonely else generator.randint(1, 2)
        for worker in generator.sample(cluster.workers, min(count, len(cluster.workers) - 1)):
            child = cluster.child_of(worker)
            if child is not None and generator.random() < 0.5:
                os.kill(child, signal.SIGKILL)
            else:
                cluster.kill(worker)
            kills += 1
            fewest = min(fewest, cluster.alive())
        with run.paused(shards):
            if len(cluster.workers) == 1:
                cluster.start_workers(2, nanny=generator.random() < 0.5)
            elif generator.random() < 0.5:
                cluster.start_workers(1, nanny=generator.random() < 0.5)
            wait_until(lambda: cluster.alive() == len(cluster.workers), "the nannies' workers")
            if not cluster.workers:
                cluster.start_workers(2)
    return kills, fewest


@pytest.mark.parametrize("seed", [0, *only_long(range(1, 50))])
def test_workers_killed_at_random_change_nothing(data: Path, cluster, expected, long, seed) -> None:
    generator = random.Random(seed)
    run = Making(data / OUTS[seed % 3], "--scheduler", cluster.address)
    kills, fewest = kill_at_random(run, cluster, generator, 8 if long else 3)
    run.succeed()
    check(run, expected)
    print(f"{kills} kills, {run.out.name}: complete, equal bytes, {N} different samples")  # noqa: T201
    assert kills >= 3
    assert fewest == 1


@pytest.mark.parametrize("seed", [0, *only_long(range(1, 10))])
def test_a_killed_scheduler_is_told_and_a_new_one_finishes(
    data: Path, cluster, expected, seed
) -> None:
    generator = random.Random(seed)
    out = OUTS[(seed + 1) % 3]
    run = Making(data / out, "--scheduler", cluster.address)
    run.wait_for(generator.randrange(1, N // 3))
    cluster.kill(cluster.scheduler)
    assert run.fail() == "error: the scheduler is gone; start it again, then use --resume\n"
    cluster.start_scheduler()
    cluster.start_workers(2)
    run = Making(data / out, "--scheduler", cluster.address, "--resume")
    told = run.succeed()
    assert int(re.search(r"(\d+) were there already", told).group(1)) >= 1
    check(run, expected)


@pytest.mark.parametrize("seed", [0, *only_long(range(1, 10))])
def test_a_killed_driver_is_resumed_while_its_last_tasks_still_run(
    data: Path, cluster, expected, seed
) -> None:
    generator = random.Random(seed)
    out = OUTS[(seed + 2) % 3]
    run = Making(data / out, "--scheduler", cluster.address)
    for _ in range(3):
        run.wait_for(shards_done(run.out) + generator.randrange(1, N // 5))
        run.process.kill()
        assert run.end().status == -signal.SIGKILL
        run = Making(data / out, "--scheduler", cluster.address, "--resume")
    run.succeed()
    check(run, expected)
