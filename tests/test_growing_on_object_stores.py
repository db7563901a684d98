"""Datasets on an object store that begin with the samples of a smaller one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from object_store_support import Bucket, N, bucket, local, store
from store_tools import hashes, tiny, tiny_make

import gpgen
from gpgen.errors import DatasetWarning, StorageError
from gpgen.io import object_requests as requests
from gpgen.io.object_path import ObjectPath

pytestmark = pytest.mark.s3

_ = bucket, local, store
# One whole shard of 4 and a half.
SMALL, OLD, WHOLE = 6, "old.zarr", "image/c.0.0.0"


@pytest.fixture
def old(bucket: Bucket, tmp_path: Path) -> str:
    """Put a smaller dataset beside the target; return its address."""
    tiny_make(tmp_path / OLD, SMALL).close()
    for path in (tmp_path / OLD).rglob("*"):
        if path.is_file():
            bucket.write(str(path.relative_to(tmp_path)), path.read_bytes())
    return bucket.address(OLD)


def grow(bucket: Bucket, reuse: object, **options: object) -> None:
    gpgen.make(tiny(), N, bucket.address(), reuse=reuse, workers=1, **options).close()


def made(bucket: Bucket) -> dict[str, str]:
    """What is there of the new dataset, without the old one."""
    return {name: h for name, h in bucket.hashes().items() if not name.startswith(OLD)}


def watched(bucket: Bucket) -> list[tuple[str, str]]:
    asked = []

    def note(method: str, path: str) -> bool:
        asked.append((method, path.partition("?")[0].removeprefix(f"/{bucket.name}/")))
        return True

    bucket.proxy.before = note
    return asked


def test_the_store_copies_whole_shards_itself(bucket, old, local) -> None:
    asked = watched(bucket)
    grow(bucket, old)
    assert made(bucket) == local
    assert ("PUT", f"d.zarr/{WHOLE}") in asked
    assert not {("GET", f"{name}/{WHOLE}") for name in (OLD, "d.zarr")} & set(asked)
    assert gpgen.verify(bucket.address()).ok


def test_a_store_that_tells_no_checksum_has_its_copy_read(bucket, old, local, monkeypatch) -> None:
    copy = requests.copy
    monkeypatch.setattr(requests, "copy", lambda *where: copy(*where) and None)
    asked = watched(bucket)
    grow(bucket, old)
    assert made(bucket) == local
    assert asked.count(("PUT", f"d.zarr/{WHOLE}")) == 1
    assert ("GET", f"d.zarr/{WHOLE}") in asked


def test_a_store_that_refuses_to_copy_is_read_and_written(bucket, old, local, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("access denied")

    monkeypatch.setattr(requests, "copy", refuse)
    asked = watched(bucket)
    grow(bucket, old)
    assert made(bucket) == local
    assert {("GET", f"{OLD}/{WHOLE}"), ("PUT", f"d.zarr/{WHOLE}")} <= set(asked)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("harm", ["changed", "longer", "missing"])
def test_a_damaged_shard_is_drawn_and_said(bucket, old, local, monkeypatch, harm, tells) -> None:
    if not tells:
        copy = requests.copy
        monkeypatch.setattr(requests, "copy", lambda *where: copy(*where) and None)
    data = bytearray(bucket.read(f"{OLD}/{WHOLE}"))
    data[5] ^= harm == "changed"
    if harm == "missing":
        bucket.remove(f"{OLD}/{WHOLE}")
    else:
        bucket.write(f"{OLD}/{WHOLE}", bytes(data) + b"more" * (harm == "longer"))
    with pytest.warns(DatasetWarning, match="is damaged in shard 0"):
        grow(bucket, old)
    assert made(bucket) == local


def test_from_a_disk_to_a_store_and_back(bucket, local, tmp_path: Path) -> None:
    tiny_make(tmp_path / OLD, SMALL).close()
    grow(bucket, tmp_path / OLD)
    assert bucket.hashes() == local
    # From there to a disk, its part first.
    back = tmp_path / "back"
    back.mkdir()
    gpgen.convert(bucket.address(), back / "d.zarr", n=SMALL, shard_size=4).close()
    shutil.move(back / "d.zarr", back / OLD)
    assert hashes(back) == {f"{OLD}/{name}": h for name, h in hashes(tmp_path / OLD).items()}
    shutil.rmtree(back / OLD)
    more = tmp_path / "more"
    (more / "once").mkdir(parents=True)
    gpgen.make(tiny(), 30, more / "d.zarr", reuse=bucket.address()).close()
    tiny_make(more / "once" / "d.zarr", 30).close()
    assert hashes(more / "d.zarr") == hashes(more / "once" / "d.zarr")


def test_requests_that_fail_are_made_again(bucket, old, local) -> None:
    bucket.proxy.reset(error=0.05, cut=0.03, lost=0.05)
    grow(bucket, old)
    assert made(bucket) == local


def test_broken_off_it_goes_on(bucket, old, local) -> None:
    class Stop(Exception):
        pass

    def stop(progress: gpgen.Progress) -> None:
        if progress.done:
            raise Stop

    with pytest.raises(Stop):
        grow(bucket, old, progress=stop)
    asked = watched(bucket)
    grow(bucket, old, resume=True)
    assert made(bucket) == local
    assert ("PUT", f"d.zarr/{WHOLE}") not in asked  # it was done


def test_names_of_all_kinds_are_copied(bucket, old, local) -> None:
    name = "a b+c%20d/é?#.zarr"
    source, target = ObjectPath.parse(old), ObjectPath.parse(bucket.address(name))
    for path, _ in source.members():
        (target / path.relative_to(source)).copy_of(path)
    grow(bucket, bucket.address(name))
    assert {key: h for key, h in made(bucket).items() if not key.startswith(name)} == local
