from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dask_cluster import DaskCluster
from store_tools import OUTS, drawn, hashes, tiny, tiny_make

import gpgen
from gpgen.dataset import open_dataset
from gpgen.errors import ClusterError, DatasetError, TargetError, UsageError
from gpgen.io import files
from gpgen.making import planning
from gpgen.making.run import make, plan

N = 13
EXPECTED = hashlib.sha256(drawn(tiny(), N).tobytes()).hexdigest()


@pytest.mark.parametrize(
    "processes",
    [
        pytest.param(False, id="threads"),
        pytest.param(True, id="processes", marks=pytest.mark.cluster),
    ],
)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_pixels_do_not_depend_on_the_workers(tmp_path: Path, workers, processes) -> None:
    out = tmp_path / "d.zarr"
    with tiny_make(out, N, workers=workers, processes=processes, shard_size=2) as dataset:
        assert hashlib.sha256(dataset.image[:].tobytes()).hexdigest() == EXPECTED


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("shard_size", [1, 3, 20])
def test_pixels_do_not_depend_on_format_or_shards(tmp_path: Path, out, shard_size) -> None:
    with tiny_make(tmp_path / out, N, shard_size=shard_size, workers=2) as dataset:
        assert hashlib.sha256(dataset.image[:].tobytes()).hexdigest() == EXPECTED


def test_progress_counts_up_to_everything(tmp_path: Path) -> None:
    seen = []
    tiny_make(tmp_path / "d.zarr", N, progress=seen.append).close()
    assert seen[0] == gpgen.Progress(0, N, "sample")
    assert seen[-1] == gpgen.Progress(N, N, "sample")
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert len(seen) > 2


class _StopError(Exception):
    pass


def stop_after(count: int):
    def progress(state) -> None:
        if state.done > 4 * (count - 1):  # shards of 4 samples, the last of one
            raise _StopError

    return progress


def begin(out: Path, shards: int = 2, **options) -> None:
    """Leave an unfinished dataset behind."""
    with pytest.raises(_StopError):
        tiny_make(out, N, progress=stop_after(shards), **options)


@pytest.mark.parametrize("out", OUTS)
def test_resuming_gives_the_bytes_of_an_uninterrupted_run(tmp_path: Path, out) -> None:
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    tiny_make(tmp_path / "whole" / out, N).close()
    begin(tmp_path / "resumed" / out)
    seen = []
    tiny_make(tmp_path / "resumed" / out, N, resume=True, progress=seen.append).close()
    assert seen[0].resumed >= 5
    assert hashes(tmp_path / "resumed") == hashes(tmp_path / "whole")


@pytest.mark.parametrize("out", OUTS)
def test_an_unfinished_dataset_is_refused_with_the_command_that_finishes_it(tmp_path, out) -> None:
    begin(tmp_path / out, 2)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path / out)
    assert "is unfinished" in str(caught.value)
    assert "of 4 shards are done" in str(caught.value)
    command = caught.value.hint.split("`")[1]
    assert command.startswith("gpgen make --recipe ")
    assert command.endswith(" --resume")
    assert "--n 13" in command
    assert str(tmp_path / out) in command
    assert "--shard-size 4" in command
    with pytest.raises(DatasetError, match="is unfinished"):
        open_dataset(str(planning.plan_job(tiny(), N, tmp_path / out).working))


def test_the_unfinished_data_has_no_name_that_a_reader_would_open(tmp_path: Path) -> None:
    import h5py
    import zarr

    for out in ("d.zarr", "d.h5"):
        begin(tmp_path / out)
    for folder, _, names in os.walk(tmp_path):
        assert "zarr.json" not in names
        for name in names:
            assert not h5py.is_hdf5(Path(folder) / name)
        with pytest.raises(FileNotFoundError):
            zarr.open_group(folder, mode="r")


def test_resuming_something_else_says_what_differs(tmp_path: Path) -> None:
    out = tmp_path / "d.zarr"
    begin(out)
    before = hashes(tmp_path)
    cases = {
        "n 13 -> 14": {"n": 14},
        "shard_size 4 -> 8": {"shard_size": 8},
        "recipe seed 5 -> 6": {"recipe": tiny(seed=6)},
        "chunk_size 4 -> 2": {"chunk_size": 2},
    }
    for words, options in cases.items():
        with pytest.raises(TargetError) as caught:
            tiny_make(out, **({"n": N, "resume": True} | options))
        assert words in str(caught.value)
    turned = tiny(splits={"test": 0.1, "train": 0.8, "validation": 0.1})
    with pytest.raises(TargetError, match="recipe splits"):
        tiny_make(out, N, resume=True, recipe=turned)
    assert hashes(tmp_path) == before


def test_resuming_shards_of_other_names_says_so(tmp_path: Path) -> None:
    words = re.escape("target 'd-{shard:05d}.h5' -> 'd-{shard:03d}.h5'")
    begin(tmp_path / "d-{shard:05d}.h5")
    with pytest.raises(TargetError, match=words):
        tiny_make(tmp_path / "d-{shard:03d}.h5", N, resume=True)
    tiny_make(tmp_path / "d-{shard:05d}.h5", N, resume=True).close()
    with pytest.raises(TargetError, match=words):
        tiny_make(tmp_path / "d-{shard:03d}.h5", N, resume=True)


@pytest.mark.parametrize("out", OUTS)
def test_resuming_what_is_finished_returns_it_untouched(tmp_path: Path, out) -> None:
    tiny_make(tmp_path / out, N).close()
    before = hashes(tmp_path)
    with tiny_make(tmp_path / out, N, resume=True) as dataset:
        assert dataset.n == N
    with pytest.raises(TargetError, match="n 13 -> 12"):
        tiny_make(tmp_path / out, 12, resume=True)
    assert hashes(tmp_path) == before


def test_resuming_where_nothing_was_begun_makes_it(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.zarr", N, resume=True).close()
    (tmp_path / "e.zarr.making").mkdir()
    tiny_make(tmp_path / "e.zarr", N, resume=True).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.zarr", "e.zarr"]


def test_a_shard_lost_from_an_unfinished_dataset_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "d.zarr"
    begin(out, 3)
    lost = sorted(tmp_path.glob("d.zarr.making/data-*/image/c.*"))[:2]
    lost[0].unlink()
    lost[1].write_bytes(b"short")
    with tiny_make(out, N, resume=True) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))


@pytest.mark.parametrize("out", OUTS)
def test_an_existing_target_is_refused_and_left_untouched(tmp_path: Path, out) -> None:
    tiny_make(tmp_path / out, N).close()
    before = hashes(tmp_path)
    with pytest.raises(TargetError, match=r"exists; choose another out.*overwrite=True"):
        tiny_make(tmp_path / out, N)
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("out", OUTS)
def test_overwriting_keeps_the_old_until_the_new_is_whole(tmp_path: Path, out) -> None:
    tiny_make(tmp_path / out, 20, recipe=tiny(seed=8)).close()
    begin(tmp_path / out, overwrite=True)
    with open_dataset(tmp_path / out) as old:
        assert (old.n, old.recipe.seed) == (20, 8)
        np.testing.assert_array_equal(old.image[:], drawn(tiny(seed=8), 20))
    tiny_make(tmp_path / out, N, resume=True).close()
    (tmp_path / "fresh").mkdir()
    tiny_make(tmp_path / "fresh" / out, N).close()
    fresh = hashes(tmp_path / "fresh")
    shutil.rmtree(tmp_path / "fresh")
    assert hashes(tmp_path) == fresh


def test_overwriting_something_begun_starts_again(tmp_path: Path) -> None:
    begin(tmp_path / "d.zarr", recipe=tiny(seed=8))
    with tiny_make(tmp_path / "d.zarr", N, overwrite=True) as dataset:
        assert dataset.recipe.seed == 5
    assert [path.name for path in tmp_path.iterdir()] == ["d.zarr"]


@pytest.mark.parametrize("out", ["d-{shard:03d}.h5", "d-{shard:03d}.tar"])
def test_shards_without_their_manifest_are_overwritten(tmp_path: Path, out) -> None:
    tiny_make(tmp_path / out, N).close()
    whole = hashes(tmp_path)
    next(tmp_path.glob("*manifest*")).unlink()
    tiny_make(tmp_path / out, N, overwrite=True).close()
    assert hashes(tmp_path) == whole


@pytest.mark.parametrize("out", ["d.zarr", "d.h5", "d-1.h5", "d-1.tar"])
def test_overwriting_never_removes_what_is_no_dataset(tmp_path: Path, out) -> None:
    thesis = tmp_path / out
    if out == "d.zarr":
        thesis.mkdir()
        (thesis / "thesis.tex").write_text("years")
    else:
        thesis.write_text("years")
    before = hashes(tmp_path)
    with pytest.raises(TargetError, match="is not a dataset of that format"):
        tiny_make(tmp_path / out.replace("-1", "-{shard}"), N, overwrite=True)
    assert hashes(tmp_path) == before


def test_what_appears_at_the_target_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def intrude(state) -> None:
        (tmp_path / "d.h5").write_text("mine")

    with pytest.raises(TargetError, match="has appeared while"):
        tiny_make(tmp_path / "d.h5", N, progress=intrude)
    assert (tmp_path / "d.h5").read_text() == "mine"
    (tmp_path / "d.h5").unlink()
    tiny_make(tmp_path / "d.h5", N, resume=True).close()


def test_a_missing_or_forbidden_folder_is_refused(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(TargetError, match="does not exist; make it"):
        tiny_make(tmp_path / "no" / "d.zarr", N)
    monkeypatch.setattr("gpgen.workspace.local.is_writable", lambda folder: False)
    with pytest.raises(TargetError, match="is not writable"):
        tiny_make(tmp_path / "d.zarr", N)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_full_is_found_before_anything_is_written(tmp_path: Path, monkeypatch) -> None:
    needed = plan(tiny(), N, tmp_path / "d.zarr", shard_size=4).nbytes
    monkeypatch.setattr("gpgen.workspace.local.Disk.free_bytes", lambda disk, target: needed - 1)
    with pytest.raises(TargetError, match=r"its disk has .* free"):
        tiny_make(tmp_path / "d.zarr", N)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("gpgen.workspace.local.Disk.free_bytes", lambda disk, target: needed)
    tiny_make(tmp_path / "d.zarr", N).close()


def test_a_disk_that_fills_up_stops_the_run_which_can_then_be_resumed(tmp_path: Path) -> None:
    import resource

    out = tmp_path / "d.h5"
    script = (
        "import resource, signal, sys, pathlib, warnings, store_tools\n"
        "from gpgen.errors import RecipeWarning, TargetError\n"
        "warnings.simplefilter('ignore', RecipeWarning)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))\n"
        "try:\n"
        "    store_tools.tiny_make(pathlib.Path(sys.argv[1]), 13)\n"
        "except TargetError as error:\n"
        "    print(error)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])
    }
    done = subprocess.run(
        [sys.executable, "-c", script, out],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "can't be written: file too large" in done.stdout
    assert done.stderr == ""
    with tiny_make(out, N, resume=True) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EACCES, "permission")],
)
def test_what_the_system_refuses_is_named_and_not_tried_again(
    tmp_path: Path, number, words
) -> None:
    refused = []

    def hook(action: str, path: str) -> None:
        if action == "create" and "c.2" in path:
            refused.append(path)
            raise OSError(number, os.strerror(number), path)

    files.watch(hook)
    try:
        with pytest.raises(TargetError, match=rf"(?i){words}.*"):
            tiny_make(tmp_path / "d.zarr", N)
    finally:
        files.watch(None)
    assert len(refused) == 1
    tiny_make(tmp_path / "d.zarr", N, resume=True).close()


def test_a_failing_shard_is_tried_again(tmp_path: Path) -> None:
    failures = []

    def hook(action: str, path: str) -> None:
        if action == "create" and "c.2" in path and len(failures) < 2:
            failures.append(path)
            raise OSError(errno.EIO, "unlucky", path)

    files.watch(hook)
    try:
        tiny_make(tmp_path / "d.zarr", N, workers=2).close()
    finally:
        files.watch(None)
    assert len(failures) == 2


def test_a_shard_that_keeps_failing_stops_the_run_with_its_reason(tmp_path: Path) -> None:
    def hook(action: str, path: str) -> None:
        if action == "create" and "c.2" in path:
            raise OSError(errno.EIO, "broken", path)

    files.watch(hook)
    try:
        with pytest.raises(ClusterError, match=r"shard 2 failed 3 times.*broken.*resume=True"):
            tiny_make(tmp_path / "d.zarr", N)
    finally:
        files.watch(None)
    tiny_make(tmp_path / "d.zarr", N, resume=True).close()


def test_arguments_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "d.zarr"
    for options in (
        {"resume": True, "overwrite": True},
        {"scheduler": "tcp://127.0.0.1:1", "workers": 2},
        {"workers": 0},
        {"workers": 1.5},
        {"n": 0},
    ):
        with pytest.raises(UsageError):
            make(tiny(), **({"n": N, "out": out} | options))
    assert list(tmp_path.iterdir()) == []


def test_the_plan_touches_nothing_and_agrees_with_what_is_made(tmp_path: Path) -> None:
    planned = plan(tiny(), N, tmp_path / "d.zarr", workers=3, shard_size=4)
    assert list(tmp_path.iterdir()) == []
    assert (planned.shards, planned.shard_size, planned.workers) == (4, 4, 3)
    assert planned.format == "zarr"
    assert planned.free_bytes > 0
    assert 2**20 <= planned.memory_per_worker < 2**26


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler and two workers, started with the dask command."""
    (tmp_path / "cluster").mkdir()
    with contextlib.closing(DaskCluster(tmp_path / "cluster", workers=2)) as cluster:
        yield cluster


@pytest.mark.cluster
def test_an_existing_cluster_makes_the_same_and_survives_a_lost_worker(tmp_path, cluster) -> None:
    address, first, seen = cluster.address, cluster.workers[0], []

    def progress(state) -> None:
        seen.append(state)
        if state.done >= 3:
            first.kill()

    out = tmp_path / "d.zarr"
    with make(tiny(), 60, out, scheduler=address, shard_size=1, progress=progress) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), 60))

    def kill_scheduler(state) -> None:
        if state.done >= 3:
            cluster.scheduler.kill()

    out = tmp_path / "e.zarr"
    with pytest.raises(ClusterError, match="scheduler"):
        make(tiny(), 60, out, scheduler=address, shard_size=1, progress=kill_scheduler)
    with make(tiny(), 60, out, shard_size=1, resume=True) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), 60))
