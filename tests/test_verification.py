from __future__ import annotations

import json
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import h5py
import pytest
from store_tools import tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError, UsageError
from gpgen.verification import verify

N = 13


def _files(own: Path) -> dict[str, Path]:
    """Every file of a dataset, by the name that verify gives it."""
    if own.suffix == ".zarr":
        return {str(p.relative_to(own)): p for p in own.rglob("*") if p.is_file()}
    return {p.name: p for p in own.parent.iterdir()}


def _shard(own: Path, shard: int) -> Path:
    if own.suffix == ".zarr":
        return own / "image" / f"c.{shard}.0.0"
    return own.parent / f"d-{shard:03d}.h5"


def test_what_is_whole_is_found_whole(own: Path) -> None:
    seen = []
    report = verify(own, regenerate="all", progress=seen.append)
    assert report.ok
    assert (report.shards, report.samples_regenerated) == (4, N)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (N, N, "sample")
    seen.clear()
    verify(own, progress=seen.append)
    nbytes = N * tiny().image_nbytes
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (nbytes, nbytes, "byte")
    for count in (1, 5, 12, 50):
        assert verify(own, regenerate=count).samples_regenerated == min(count, N)


def test_a_report_is_true_where_nothing_is_wrong(own: Path) -> None:
    report = verify(own)
    assert report
    report.raise_for_problems()
    names = [name for name in sorted(_files(own)) if "manifest" not in name][:5]
    if own.suffix == ".zarr":
        names = [f"image/c.{shard}.0.0" for shard in range(4)]
    for name in names:
        path = _files(own)[name]
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    report = verify(own)
    assert not report
    with pytest.raises(DatasetError) as caught:
        report.raise_for_problems()
    first = report.problems[0]
    assert str(own) in str(caught.value) or own.suffix == ".h5"
    assert f"{first.file}: {first.what}" in caught.value.message
    assert "again" in (caught.value.hint or "")
    if len(report.problems) > 3:
        assert f"and {len(report.problems) - 3} more" in caught.value.message


def test_a_problem_that_is_no_damage_is_raised_without_the_advice_to_remake(made, tmp_path) -> None:
    shutil.copytree(made["d.zarr"], tmp_path / "d.zarr")
    (tmp_path / "d.zarr" / "image" / "c.9.0.0").write_bytes(b"foreign")
    report = verify(tmp_path / "d.zarr")
    assert not report
    assert not report.is_damaged
    with pytest.raises(DatasetError, match="no byte is known to be damaged"):
        report.raise_for_problems()


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_named_by_its_file(own: Path) -> None:
    generator = random.Random(3)
    for name, path in _files(own).items():
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *(generator.randrange(len(whole)) for _ in range(6))}
        if own.suffix == ".h5":
            places |= set(generator.sample(range(4096), 3))
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << generator.randrange(8)
            path.write_bytes(damaged)
            report = verify(own)
            assert name in {problem.file for problem in report.problems}, (name, place)
        path.write_bytes(whole)
    assert verify(own).ok


@pytest.mark.slow
def test_a_truncated_lengthened_or_deleted_file_is_named(own: Path) -> None:
    for name, path in _files(own).items():
        whole = path.read_bytes()
        # The root's metadata means the same without its last line break.
        shorter = whole[: -2 if name == "zarr.json" else -1]
        half = len(whole) // 2
        for damaged in (shorter, whole[:half], whole[: half | 1], b"", whole + b"\0"):
            path.write_bytes(damaged)
            assert name in {problem.file for problem in verify(own).problems}, name
        path.unlink()
        if path.name in ("zarr.json", "d.h5", "d-manifest.h5") and path.parent in (own, own.parent):
            with pytest.raises(DatasetError):
                verify(own)
        else:
            assert name in {problem.file for problem in verify(own).problems}, name
        path.write_bytes(whole)
    assert verify(own).ok


def test_the_damaged_samples_are_named(own: Path) -> None:
    nbytes = tiny().image_nbytes
    if own.name == "d.h5":
        with h5py.File(own) as file:
            path, offset = own, file["image"].id.get_offset() + 4 * nbytes
    elif own.suffix == ".h5":
        path = _shard(own, 1)
        with h5py.File(path) as file:
            offset = file["image"].id.get_offset()
    else:
        path, offset = _shard(own, 1), 0
    with path.open("r+b") as file:
        for sample in (1, 2):
            file.seek(offset + sample * nbytes + 30)
            file.write(b"\xff\xff\xff")
    (problem,) = verify(own).problems
    assert "samples 5, 6)" in problem.what


@pytest.mark.parametrize("out", ["d.zarr", "d-{shard:03d}.h5"])
def test_swapped_shards_are_both_named(made, tmp_path: Path, out) -> None:
    shutil.copytree(made[out].parent, tmp_path / "own")
    own = tmp_path / "own" / out
    first, second = _shard(own, 0).read_bytes(), _shard(own, 2).read_bytes()
    _shard(own, 0).write_bytes(second)
    _shard(own, 2).write_bytes(first)
    named = {Path(problem.file).name for problem in verify(own).problems}
    assert named == {_shard(own, 0).name, _shard(own, 2).name}


def test_a_shard_of_another_seed_is_named(own: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / own.name
    tiny_make(other, N, recipe=tiny(seed=6)).close()
    if own.name == "d.h5":
        with h5py.File(own) as file:
            offset = file["image"].id.get_offset()
        nbytes = 4 * tiny().image_nbytes
        raw, foreign = bytearray(own.read_bytes()), other.read_bytes()
        raw[offset : offset + nbytes] = foreign[offset : offset + nbytes]
        own.write_bytes(raw)
        name = own.name
    else:
        shutil.copy(_shard(other, 1), _shard(own, 1))
        name = _shard(own, 1).name
    assert {Path(problem.file).name for problem in verify(own).problems} == {name}


@pytest.mark.parametrize(
    "edit", [("n", 12), ("shard_size", 8), ("citation", "me"), ("class_names", ["a", "b"])]
)
def test_an_edited_manifest_is_named_and_not_opened(made, tmp_path: Path, edit) -> None:
    shutil.copytree(made["d.zarr"], tmp_path / "d.zarr")
    shutil.copy(made["d.h5"], tmp_path / "d.h5")
    key, value = edit
    root = json.loads((tmp_path / "d.zarr" / "zarr.json").read_text())
    root["attributes"][key] = value
    (tmp_path / "d.zarr" / "zarr.json").write_text(json.dumps(root, indent=2) + "\n")
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file.attrs[key] = value
    for name, file in {"d.zarr": "zarr.json", "d.h5": "d.h5"}.items():
        with pytest.raises(DatasetError):
            open_dataset(tmp_path / name)
        assert file in {problem.file for problem in verify(tmp_path / name).problems}


@pytest.mark.parametrize("out", ["d.zarr", "d-{shard:03d}.h5"])
def test_what_does_not_belong_is_named(made, tmp_path: Path, out) -> None:
    shutil.copytree(made[out].parent, tmp_path / "own")
    own = tmp_path / "own" / out
    shutil.copy(_shard(own, 0), _shard(own, 7))
    (problem,) = verify(own).problems
    assert Path(problem.file).name == _shard(own, 7).name
    assert "does not belong" in problem.what


def test_regenerating_finds_what_all_checksums_confirm(tmp_path: Path, monkeypatch) -> None:
    """Wrong pixels with right checksums: only drawing them again can tell."""
    from gpgen.sampling import Sampler

    real = Sampler.images

    def wrong(self, start, stop, out=None):
        images = real(self, start, stop, out)
        if start <= 6 < stop:
            images[6 - start, 0, 0] += 1
        return images

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "images", wrong)
        tiny_make(tmp_path / "d.zarr", N).close()
    assert verify(tmp_path / "d.zarr").ok
    (problem,) = verify(tmp_path / "d.zarr", regenerate="all").problems
    assert problem.file == "image/c.1.0.0"
    assert problem.what.endswith("sample 6")


def test_samples_to_regenerate_are_spread_evenly(made, monkeypatch) -> None:
    from gpgen.sampling import Sampler

    real, drawn = Sampler.images, []

    def noting(self, start, stop, out=None):
        drawn.append(start)
        return real(self, start, stop, out)

    monkeypatch.setattr(Sampler, "images", noting)
    verify(made["d.zarr"], regenerate=4)
    assert sorted(drawn) == [(2 * k + 1) * N // 8 for k in range(4)]


@pytest.mark.parametrize("regenerate", [None, "all"], ids=["reading", "drawing"])
def test_ctrl_c_does_not_wait_for_the_end_of_a_shard(tmp_path: Path, monkeypatch, regenerate):
    monkeypatch.setattr("gpgen.format.pixels._READ_BYTES", 1024)
    monkeypatch.setattr("gpgen.verification.shards.batch_size", lambda recipe: 1)
    monkeypatch.setattr("gpgen.verification.shards.worker_count", lambda workers: 1)
    tiny_make(tmp_path / "d.h5", 40, shard_size=40).close()
    seen = []

    def press_ctrl_c(progress) -> None:
        if progress.unit == "sample" or regenerate is None:
            seen.append(progress)
            if len(seen) == 1:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.25)

    with pytest.raises(KeyboardInterrupt):
        verify(tmp_path / "d.h5", regenerate=regenerate, progress=press_ctrl_c)
    assert len(seen) < 20


@pytest.mark.parametrize("count", [0, -1, 1.5, "some", True])
def test_a_number_to_regenerate_that_is_none_is_refused(made, count) -> None:
    with pytest.raises(UsageError, match="regenerate is"):
        verify(made["d.zarr"], regenerate=count)
