"""Shards that are taken over: damage of every kind is found, said, and drawn again."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from store_tools import hashes, tiny, tiny_make

import gpgen
from gpgen.errors import DatasetError, DatasetWarning
from gpgen.format.base import Place
from gpgen.io import files
from gpgen.making import taking

# Two whole shards of 4 and a part of the third; then five and a part of the sixth.
SMALL, LARGE, SHARD = 10, 21, 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[tuple[str, int | None, int], Path]:
    """Folders with datasets by name, chunk size and number of samples."""
    found = {}
    for out, chunk in (("d.zarr", 2), ("d.zarr", 1), ("d.h5", None)):
        for n in (SMALL, LARGE):
            folder = found[out, chunk, n] = tmp_path_factory.mktemp("whole")
            tiny_make(folder / out, n, chunk_size=chunk).close()
    return found


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]


# What becomes of the file of a shard, by where its images lie and the bytes of its index.
HARMS: dict[str, Callable[[bytes, Place, int], bytes]] = {
    "image": lambda data, place, _: flipped(data, place.of(3) + 7),
    "CRC of a chunk": lambda data, place, _: flipped(data, place.of(place.chunk_size or 1) - 1),
    "offset in the index": lambda data, _, index: flipped(data, len(data) - index),
    "length in the index": lambda data, _, index: flipped(data, len(data) - index + 8),
    "CRC of the index": lambda data, _, index: flipped(data, len(data) - 1),
    "cut off at the end": lambda data, *_: data[:-1],
    "cut off within an image": lambda data, place, _: data[: place.of(2) + 100],
    "empty": lambda *_: b"",
    "too long": lambda data, *_: data + b"\0",
}


def grow(path: Path, how: str, monkeypatch) -> Path:
    """Make the dataset larger, in its place or beside; return the folder of the larger one."""
    if how == "in place":
        gpgen.make(tiny(), LARGE, path, extend=True, workers=2).close()
        return path.parent
    if how == "in place, without links":

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(files, "link", refuse)
        return grow(path, "in place", monkeypatch)
    folder = path.parent.with_name("more")
    folder.mkdir()
    gpgen.make(tiny(), LARGE, folder / path.name, reuse=path, workers=2).close()
    return folder


@pytest.mark.parametrize(
    ("how", "chunk"),
    [("in place", 1), ("in place", 2), ("in place, without links", 2), ("beside", 1)],
)
@pytest.mark.parametrize("harm", [*HARMS, "another shard"])
def test_a_zarr_shard_that_is_damaged_is_drawn_again(
    whole, tmp_path: Path, monkeypatch, harm, chunk, how
) -> None:
    small = tmp_path / "small"
    shutil.copytree(whole["d.zarr", chunk, SMALL], small)
    with gpgen.open_dataset(small / "d.zarr") as dataset:
        place = dataset.reader.place(1)
    if harm == "another shard":
        shutil.copy(dataset.reader.place(0).path, place.path)
    else:
        index = SHARD // chunk * 16 + 4
        place.path.write_bytes(HARMS[harm](place.path.read_bytes(), place, index))
    with pytest.warns(DatasetWarning, match=r"is damaged in shard 1 \(.*drawn again"):
        folder = grow(small / "d.zarr", how, monkeypatch)
    assert hashes(folder) == hashes(whole["d.zarr", chunk, LARGE])


@pytest.mark.parametrize("how", ["in place", "beside"])
@pytest.mark.parametrize("harm", ["image", "another shard"])
def test_images_of_an_hdf5_file_that_are_damaged_are_drawn_again(
    whole, tmp_path: Path, monkeypatch, harm, how
) -> None:
    small = tmp_path / "small"
    shutil.copytree(whole["d.h5", None, SMALL], small)
    with gpgen.open_dataset(small / "d.h5") as dataset:
        place, first = dataset.reader.place(1), dataset.reader.region(0)
    data = place.path.read_bytes()
    if harm == "image":
        data = HARMS["image"](data, place, 0)
    else:
        images = data[first.offset :][: first.nbytes]
        data = data[: place.offset] + images + data[place.offset + len(images) :]
    place.path.write_bytes(data)
    with pytest.warns(DatasetWarning, match=r"is damaged in shard 1 \(.*drawn again"):
        folder = grow(small / "d.h5", how, monkeypatch)
    assert hashes(folder) == hashes(whole["d.h5", None, LARGE])


def test_checksums_that_are_damaged_after_they_were_checked_are_not_passed_on(
    whole, tmp_path: Path, monkeypatch
) -> None:
    small = tmp_path / "small"
    shutil.copytree(whole["d.zarr", 1, SMALL], small)
    rows, before = small / "d.zarr/shard_sha256/c.0.0", taking.make_in_threads

    def damaging(*arguments: object) -> None:
        rows.write_bytes(flipped(rows.read_bytes(), 0))
        before(*arguments)

    monkeypatch.setattr(taking, "make_in_threads", damaging)
    with pytest.raises(DatasetError, match=r"d\.zarr: shard_sha256/c\.0\.0 damaged"):
        grow(small / "d.zarr", "in place", monkeypatch)
    with gpgen.open_dataset(small / "d.zarr") as dataset:
        assert dataset.n == SMALL
