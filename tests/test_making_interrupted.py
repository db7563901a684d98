"""What a run that was broken off leaves behind, and what the next one makes of it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.fuzzing.material import OUTS, RESUMABLE, N, Stopped, make_here, pixels, recipe
from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError, TargetError
from gpgen.format.zarr import ZarrStore
from gpgen.io import files
from gpgen.making.run import make

SHARDED = [out for out in OUTS if out != "d.h5"]


@pytest.fixture(autouse=True)
def unwatched():
    yield
    files.watch(None)


def stop_when(wanted) -> None:
    """Stop the run before the first step for which `wanted(action, path)` is true."""

    def hook(action: str, path: str) -> None:
        if wanted(action, path):
            files.watch(None)
            raise Stopped

    files.watch(hook)


def working(folder: Path) -> Path:
    (found,) = folder.glob("*.making")
    return found


@pytest.mark.parametrize("out", OUTS)
def test_the_lock_is_the_last_file_to_go(tmp_path: Path, out: str) -> None:
    """Once it was removed first, and the next run's journal then with the rest."""
    left = []

    def hook(action: str, path: str) -> None:
        if action == "remove" and path.endswith("/lock"):
            left.append([p.name for p in Path(path).parent.iterdir() if p.name != "lock"])

    files.watch(hook)
    make_here(tmp_path / out).close()
    assert left == [[]]


def test_a_run_that_begins_while_the_last_one_tidies_up_keeps_all_it_has(tmp_path: Path) -> None:
    target = tmp_path / "d.zarr"

    def hook(action: str, path: str) -> None:
        if action == "remove" and path.endswith("d.zarr.making"):  # the lock is gone already
            files.watch(None)
            shutil.rmtree(target)
            with pytest.raises(Stopped):
                make_here(target, stop_after=2)

    files.watch(hook)
    with pytest.raises(DatasetError, match="2 of 3 shards are done"):
        make_here(target)
    make_here(target, resume=True).close()
    with open_dataset(target) as dataset:
        assert dataset.read(range(N)).tobytes() == pixels().tobytes()


def test_a_run_that_cannot_tidy_up_gives_the_lock_back(tmp_path: Path) -> None:
    """In a notebook each later run was told that this very process was making the target."""

    def hook(action: str, path: str) -> None:
        if action == "remove" and path.endswith("/tmp"):
            raise Stopped

    files.watch(hook)
    with pytest.raises(Stopped):
        make_here(tmp_path / "d.zarr", stop_after=0)
    files.watch(None)
    make_here(tmp_path / "d.zarr", overwrite=True).close()


@pytest.mark.parametrize("out", [out for out in SHARDED if out in RESUMABLE])
def test_a_shard_that_did_not_get_on_record_makes_room_first(tmp_path: Path, out: str) -> None:
    """Else a disk that just holds the dataset is full as soon as it is made again."""
    with pytest.raises(Stopped):
        make_here(tmp_path / out, stop_after=2)
    (data,) = working(tmp_path).glob("data-*")
    first = next(p for p in sorted(data.rglob("*")) if p.is_file())
    stray = first.with_name(first.name.replace("c.0.", "c.2.").replace("000", "002"))
    assert stray != first
    shutil.copy(first, stray)
    seen = []
    files.watch(lambda action, path: seen.append((action, path)))
    make_here(tmp_path / out, resume=True).close()
    files.watch(None)
    drawn = next(
        k for k, (action, path) in enumerate(seen) if ".making/tmp/" in path and action == "create"
    )
    assert seen.index(("remove", str(stray))) < drawn
    with open_dataset(tmp_path / out) as dataset:
        assert dataset.read(range(N)).tobytes() == pixels().tobytes()


@pytest.mark.parametrize("out", SHARDED)
def test_of_two_overwritings_that_were_broken_off_a_whole_dataset_is_left(tmp_path, out) -> None:
    """The second began by removing the new dataset, when the old one was gone already."""
    make_here(tmp_path / out).close()
    new = {"recipe": recipe(seed=9), "overwrite": True}
    manifest = "d.zarr" if out == "d.zarr" else next(tmp_path.glob("*manifest*")).name
    stop_when(lambda action, path: action == "rename" and path.endswith(f"/{manifest}")
              and ".making/data" not in path)  # fmt: skip
    with pytest.raises(Stopped):
        make_here(tmp_path / out, **new)
    with pytest.raises(DatasetError, match="3 of 3 shards are done"):
        open_dataset(tmp_path / out)
    with pytest.raises(Stopped):
        make_here(tmp_path / out, stop_after=1, **new | {"recipe": recipe(seed=10)})
    with open_dataset(tmp_path / out) as dataset:
        assert dataset.read(range(N)).tobytes() == pixels(9).tobytes()


@pytest.mark.parametrize("out", RESUMABLE)
def test_the_old_dataset_is_not_taken_for_the_one_that_was_to_replace_it(tmp_path, out) -> None:
    make_here(tmp_path / out).close()
    new = recipe(seed=9)
    with pytest.raises(Stopped):
        make_here(tmp_path / out, recipe=new, overwrite=True, stop_after=1)
    (data,) = working(tmp_path).glob("data-*")
    shutil.rmtree(data)  # by somebody who tidied up
    with pytest.raises(TargetError, match="where the dataset grew, is gone; start again with"):
        make_here(tmp_path / out, recipe=new, resume=True)
    with open_dataset(tmp_path / out) as dataset:
        assert dataset.read(range(N)).tobytes() == pixels().tobytes()


def test_a_pipe_in_the_journals_place_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        make_here(tmp_path / "d.zarr", stop_after=1)
    journal = working(tmp_path) / "journal.jsonl"
    journal.unlink()
    os.mkfifo(journal)
    with pytest.raises(DatasetError, match="0 of 3 shards are done"):
        open_dataset(tmp_path / "d.zarr")
    with pytest.raises(OSError, match="no regular file"):
        make_here(tmp_path / "d.zarr", resume=True)


def test_what_was_finished_beside_a_failure_is_on_record(tmp_path: Path, monkeypatch) -> None:
    """Shards that arrive together with an error were made, and forgotten."""
    write = ZarrStore.write_shard

    def full(self, job, shard, check):
        if shard == 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, job, shard, check)

    monkeypatch.setattr(ZarrStore, "write_shard", full)
    target = tmp_path / "d.zarr"
    with pytest.raises(TargetError, match="no space left"):
        make(recipe(), 40, target, shard_size=2, workers=4)
    (data,) = working(tmp_path).glob("data-*")
    made = len(list((data / "image").glob("c.*")))
    with pytest.raises(DatasetError, match=f"{made} of 20 shards are done"):
        open_dataset(target)
