"""What belongs to the whole process (BLAS threads, logging, Dask's settings) stays as it was."""

from __future__ import annotations

import copy
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest
import scipy.linalg
import threadpoolctl
from store_tools import tiny_make

from gpgen.exact.blas import one_blas_thread
from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.verification import verify

N = 24
# How a run is told to work.
HOW = {"threads": {}, "processes": {"processes": True}, "cluster": {"scheduler": "an address"}}
_ = scipy.linalg  # it brings a BLAS of its own


def logging_state() -> dict:
    loggers = {n: x for n, x in logging.root.manager.loggerDict.items() if hasattr(x, "level")}
    return {
        name: (x.level, x.disabled, x.propagate, [*x.filters], [(h, h.level) for h in x.handlers])
        for name, x in {"": logging.root, **loggers}.items()
        if name.split(".")[0] in ("", "distributed", "dask", "bokeh", "tornado")
    } | {" disabled": logging.root.manager.disable}


def blas_threads() -> dict[str, int]:
    """Return each BLAS's number of threads; PyTorch's OpenMP, if loaded, is its own affair."""
    libraries = threadpoolctl.threadpool_info()
    return {x["filepath"]: x["num_threads"] for x in libraries if x["user_api"] == "blas"}


def settings() -> dict:
    """What nothing here may change, not even for a while."""
    umask = os.umask(0o22)
    os.umask(umask)
    return {
        "logging": logging_state(),
        "dask": copy.deepcopy(dask.config.config),
        "warnings": [*warnings.filters],
        "signals": {
            k: signal.getsignal(k) for k in (signal.SIGINT, signal.SIGCHLD, signal.SIGTERM)
        },
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "umask": umask,
        "path": [*sys.path],
        # Python's own generator is drawn from by Dask's schedulers.
        "random": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "streams": (sys.stdout, sys.stderr, sys.excepthook, threading.excepthook),
    }


@pytest.fixture(autouse=True)
def two_blas_threads():
    """As on a machine with two cores, however many there are."""
    with threadpoolctl.threadpool_limits(2, "blas"):
        yield


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
        worker_dashboard_address=None, silence_logs=logging.CRITICAL,
    ) as cluster:  # fmt: skip
        yield cluster


def options(how: str, cluster) -> dict:
    address = {"scheduler": cluster.scheduler_address, "workers": None}
    return address if how == "cluster" else HOW[how] | {"workers": 2}


@pytest.mark.cluster
@pytest.mark.parametrize("how", HOW)
def test_nothing_global_changes_while_it_is_made_nor_after(tmp_path: Path, cluster, how) -> None:
    before, blas = settings(), blas_threads()
    during = []
    with tiny_make(
        tmp_path / "d.zarr",
        N,
        progress=lambda _: during.append(settings()),
        **options(how, cluster),
    ):
        assert len(during) >= 2
    for now in (*during, settings()):
        assert now == before
    assert blas_threads() == blas


def test_whichever_threads_come_first_and_leave_last_blas_has_one_thread_between() -> None:
    before, ended = blas_threads(), threading.Event()

    def draw() -> None:
        with one_blas_thread():
            ended.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(draw)
        while set(blas_threads().values()) != {1}:
            assert not first.done()
        with one_blas_thread():
            ended.set()
            first.result()
            assert set(blas_threads().values()) == {1}
        assert blas_threads() == before
        pool.submit(draw).result()
        assert blas_threads() == before


@pytest.mark.cluster
@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("how", HOW)
def test_nor_when_it_ends_by_an_exception(tmp_path: Path, cluster, how, stop) -> None:
    before, blas = settings(), blas_threads()

    def progress(state) -> None:
        if state.done:
            raise stop

    with pytest.raises(stop):
        tiny_make(tmp_path / "d.zarr", N, progress=progress, **options(how, cluster))
    assert settings() == before
    deadline = time.monotonic() + 60
    # A shard that a thread of the cluster, here in this process, was at ends a little later.
    while how == "cluster" and blas_threads() != blas and time.monotonic() < deadline:
        time.sleep(0.01)
    assert blas_threads() == blas


def in_turns(first: Callable, second: Callable) -> None:
    """Run two in threads so that the first to begin is the first to end; each calls `progress`."""
    second_began, first_ended = threading.Event(), threading.Event()

    def run_first() -> None:
        first(lambda _: second_began.wait(60))
        first_ended.set()

    def progress(_) -> None:
        second_began.set()
        first_ended.wait(60)

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(run_first), pool.submit(second, progress)]
        for future in waiting:
            future.result()


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("threads", "threads"),
        ("threads", "processes"),
        ("processes", "cluster"),
        ("cluster", "cluster"),
        ("cluster", "threads"),
    ],
)
def test_two_runs_at_once_leave_everything_as_it_was(
    tmp_path: Path, cluster, first, second
) -> None:
    before, blas = settings(), blas_threads()

    def making(name: str, how: str):
        out = tmp_path / name
        return lambda progress: tiny_make(
            out, N, progress=progress, **options(how, cluster)
        ).close()

    in_turns(making("a.zarr", first), making("b.zarr", second))
    assert (settings(), blas_threads()) == (before, blas)


def test_verifying_and_making_an_archive_beside_it_as_well(tmp_path: Path) -> None:
    tiny_make(tmp_path / "old.zarr", N).close()
    before, blas = settings(), blas_threads()
    plan = ArchivePlan(((2.0, 2), (8.0, 2)), (), 64)
    runs = [
        lambda progress: tiny_make(tmp_path / "d.zarr", N, progress=progress).close(),
        lambda progress: verify(tmp_path / "old.zarr", regenerate=N, progress=progress),
        lambda progress: make_archive(plan, tmp_path / "archive", workers=2, progress=progress),
    ]
    for second in runs[1:]:
        in_turns(runs[0], second)
        (tmp_path / "d.zarr").rename(tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr")
    assert (settings(), blas_threads()) == (before, blas)


def test_the_users_own_limit_that_begins_before_and_ends_within_is_undone() -> None:
    before = blas_threads()
    limit = threadpoolctl.threadpool_limits(3, "blas")
    with one_blas_thread():
        assert set(blas_threads().values()) <= {1}
        limit.restore_original_limits()
    assert blas_threads() == before


def test_drawing_itself_has_one_blas_thread(tmp_path: Path, monkeypatch) -> None:
    from gpgen.sampling import Sampler

    seen = []
    images = Sampler.images

    def looking(self, *arguments, **options):
        seen.extend(blas_threads().values())
        return images(self, *arguments, **options)

    monkeypatch.setattr(Sampler, "images", looking)
    tiny_make(tmp_path / "d.zarr", N, workers=2).close()
    assert set(seen) == {1}
    assert set(blas_threads().values()) == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="takes fork")
def test_a_child_that_is_forked_meanwhile_has_its_threads_back() -> None:
    with one_blas_thread():
        pid = os.fork()
        if pid == 0:
            with one_blas_thread():
                limited = set(blas_threads().values())
            os._exit(0 if limited == {1} and set(blas_threads().values()) == {2} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
