"""Workers as processes: from any program, and why if they can't be started."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import distributed
import numpy as np
import pytest
from cli_support import Caller, command
from dask_cluster import children, wait_until
from store_tools import ENVIRONMENT, drawn, tiny, tiny_make

from gpgen.errors import ClusterError, UsageError
from gpgen.making.worker_processes import worker_processes
from gpgen.workers import python_calling

pytestmark = pytest.mark.cluster

N = 12
# A program as people write it.
PROGRAM = """
import sys
import warnings
import gpgen
from store_tools import tiny
warnings.simplefilter("ignore")
print("begun")
gpgen.make(tiny(), 12, sys.argv[1], workers=2, processes=True, shard_size=4).close()
"""


def run(*words: str | Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*map(str, words)], env=ENVIRONMENT, capture_output=True, text=True, check=False,
        timeout=300, **options,
    )  # fmt: skip


def check_whole(out: Path) -> None:
    from gpgen.dataset import open_dataset

    with open_dataset(out) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))


@pytest.mark.parametrize("how", ["file", "standard input", "-c"])
def test_a_program_without_a_main_guard_makes(tmp_path: Path, how) -> None:
    """Nothing of it is run again by the workers."""
    out = tmp_path / "d.zarr"
    (tmp_path / "program.py").write_text(PROGRAM)
    if how == "file":
        done = run(sys.executable, tmp_path / "program.py", out)
    elif how == "-c":
        done = run(sys.executable, "-c", PROGRAM, out)
    else:
        done = run(sys.executable, "-", out, input=PROGRAM)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "begun\n")
    check_whole(out)


def make_in_task(out: str, options: dict) -> None:
    tiny_make(Path(out), N, **options).close()


@pytest.mark.parametrize("processes", [True, False], ids=["processes", "threads"])
def test_a_task_on_a_dask_worker_may_have_workers_of_its_own(tmp_path: Path, processes) -> None:
    """Dask's worker processes are daemons, which multiprocessing lets have no children."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0",
            worker_dashboard_address=None, silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        out = tmp_path / "d.zarr"
        options = {"workers": 2, "processes": processes}
        client.submit(make_in_task, str(out), options).result(timeout=120)
    check_whole(out)


SETTINGS = {
    "no such module": ("WORKER__PRELOAD", "nosuchmodule", "No module named 'nosuchmodule'"),
    "scheduler": ("SCHEDULER__PRELOAD", "nosuchmodule", "No module named 'nosuchmodule'"),
    "raises": ("WORKER__PRELOAD", "PLACE/broken.py", "ValueError: broken on purpose"),
    "exits": ("WORKER__PRELOAD", "PLACE/exits.py", "failed to start"),
    "TLS": ("COMM__REQUIRE_ENCRYPTION", "true", "TLS"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_of_dasks_that_fails_is_named(tmp_path: Path, monkeypatch, capfd, case) -> None:
    setting, value, words = SETTINGS[case]
    (tmp_path / "broken.py").write_text('raise ValueError("broken on purpose")\n')
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "small.toml").write_text(tiny().to_toml())
    value = value.replace("PLACE", str(tmp_path))
    monkeypatch.setenv(f"DASK_DISTRIBUTED__{setting}", value)
    call = Caller(capfd, tmp_path)
    out = tmp_path / "d.zarr"
    make = ("make", "--recipe", tmp_path / "small.toml", "--n", "4", "--workers", "1", "--out", out)
    told = call(*make, "--processes")
    assert told.status == 1
    assert told.err.count("\n") == 1
    assert told.err.startswith("error: worker processes can't be started: ")
    assert words in told.err
    if "PRELOAD" in setting:
        name = setting.partition("__")[0].lower()
        assert f"Dask's configuration has distributed.{name}.preload = " in told.err
    assert told.err.endswith("; mend that, or leave out --processes\n")
    assert not out.exists()
    assert not out.with_name("d.zarr.making").exists()
    # Threads need nothing of Dask.
    assert call(*make).status == 0


def _may_unshare() -> bool:
    return bool(shutil.which("unshare")) and run("unshare", "-rn", "true").returncode == 0


@pytest.mark.skipif(not _may_unshare(), reason="takes a network namespace of one's own")
def test_without_a_network_it_is_told_at_once_and_threads_make(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(tiny().to_toml())
    out = tmp_path / "d.zarr"
    words = command("make", "--recipe", tmp_path / "small.toml", "--n", "12", "--out", out)
    told = run("unshare", "-rn", *words, "--processes")
    assert told.returncode == 1
    assert told.stderr == (
        "error: processes on this machine can't talk to each other by 127.0.0.1: network is "
        "unreachable; mend that (the loopback network must be up), or leave out --processes\n"
    )
    assert run("unshare", "-rn", *words).returncode == 0
    check_whole(out)


@pytest.mark.parametrize("what", ["executable", "frozen"])
def test_a_program_without_an_interpreter_is_told(tmp_path: Path, monkeypatch, what) -> None:
    """It would be started again, instead of Python."""
    monkeypatch.setattr(sys, what, "", raising=False)
    with pytest.raises(UsageError, match=r"need a Python interpreter.*; leave out processes"):
        tiny_make(tmp_path / "d.zarr", N, processes=True)


def test_modules_of_the_current_folder_are_not_taken_for_pythons(tmp_path: Path) -> None:
    for name in ("json", "sys", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    words = python_calling("operator", "index", 7)
    subprocess.run(words, cwd=tmp_path, check=True)


def test_what_ends_before_it_has_begun_is_told(monkeypatch) -> None:
    ends = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr("gpgen.making.worker_processes.python_calling", lambda *_: ends)
    with (
        pytest.raises(ClusterError, match="what should start them ended with status 3"),
        worker_processes(1),
    ):
        pass


def runs(pid: int) -> bool:
    """Whether a process is there and isn't only waited for: then it has no command any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def test_nothing_of_them_is_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    others = children(os.getpid())
    with worker_processes(2):
        started = [pid for pid in children(os.getpid()) if pid not in others]
        assert len(started) >= 3
    wait_until(lambda: not any(map(runs, started)), "their end")
    assert list(tmp_path.iterdir()) == []
