"""Zips of Zarr datasets that other tools have packed."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
import zarr.storage
from store_tools import tiny, tiny_make
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

import gpgen
from gpgen.errors import DatasetError

N = 9
PACKED = ["zarr-python", "in a folder", "in a folder of another script", "any order", "streamed"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "d.zarr"
    tiny_make(path, N, recipe=tiny(shape=[16, 16]), chunk_size=2).close()
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


async def copy_to(store: zarr.storage.ZipStore, source: Path) -> None:
    for name in names_in(source):
        content = default_buffer_prototype().buffer.from_bytes((source / name).read_bytes())
        await store.set(name, content)


class Pipe:
    """A file that can't be sought: then sizes follow the members."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


def pack(source: Path, path: Path, how: str) -> Path:
    """Pack a Zarr folder as somebody might."""
    if how == "zarr-python":
        with zarr.storage.ZipStore(path, mode="w") as store:
            sync(copy_to(store, source))
        return path
    names = names_in(source)
    if how == "any order":
        random.Random(1).shuffle(names)
    stream = Pipe(path)
    with zipfile.ZipFile(stream if how == "streamed" else path, "w") as archive:
        folder = ""
        if how.startswith("in a folder"):
            folder = "d.zarr/" if how == "in a folder" else "données.zarr/"
            archive.mkdir(folder)
            archive.writestr(f"__MACOSX/._{folder[:-1]}", b"finder")
        for name in names:
            archive.write(source / name, folder + name)
    stream.close()
    return path


@pytest.mark.parametrize("how", PACKED)
def test_what_other_tools_have_packed_is_read(how: str, source: Path, tmp_path: Path) -> None:
    path = pack(source, tmp_path / "d.zarr.zip", how)
    report = gpgen.verify(path)
    assert report.ok
    with gpgen.open_dataset(source) as expected, gpgen.open_dataset(path) as dataset:
        assert np.array_equal(dataset.image[:], expected.image[:])
        assert np.array_equal(dataset.seed[:], expected.seed[:])
        assert np.array_equal(dataset.to_zarr()["image"][:], expected.image[:])


def test_what_the_zip_program_has_packed_is_read(source: Path, tmp_path: Path) -> None:
    command = ["zip", "-0", "-q", "-r", str(tmp_path / "d.zarr.zip"), "d.zarr"]
    try:
        subprocess.run(command, cwd=source.parent, check=True)
    except FileNotFoundError:
        pytest.skip("there is no program called zip")
    assert gpgen.verify(tmp_path / "d.zarr.zip").ok


def test_of_two_members_of_one_name_the_last_counts(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.zarr.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        archive.writestr("zarr.json", "{}")
        for name in names_in(source):
            archive.write(source / name, name)
    assert gpgen.verify(path).ok


def test_compressed_members_are_refused(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zarr.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names_in(source):
            archive.write(source / name, name)
    with pytest.raises(DatasetError, match=r"crc32c/c.0 is compressed in .*; pack .* `zip -0"):
        gpgen.open_dataset(tmp_path / "d.zarr.zip")


def test_members_that_lie_elsewhere_are_refused(source: Path, tmp_path: Path) -> None:
    path = pack(source, tmp_path / "d.zarr.zip", "any order")
    whole = path.read_bytes()
    entry = whole.index(b"PK\1\2")
    for place, found in (
        (7, "header of"),
        (entry, "header of"),
        (2**31, "read as a zip"),
    ):
        forged = bytearray(whole)
        struct.pack_into("<I", forged, entry + 42, place)
        path.write_bytes(forged)
        with pytest.raises(DatasetError, match=found):
            gpgen.open_dataset(path)
    forged = bytearray(whole)
    struct.pack_into("<2I", forged, entry + 20, 2**20, 2**20)
    path.write_bytes(forged)
    with pytest.raises(DatasetError, match="doesn't lie within"):
        gpgen.open_dataset(path)


@pytest.mark.parametrize("how", ["zarr-python", "in a folder"])
def test_a_flipped_bit_never_gives_wrong_values(how: str, source: Path, tmp_path: Path) -> None:
    path = pack(source, tmp_path / "d.zarr.zip", how)
    whole, chance = path.read_bytes(), random.Random(2)
    expected = gpgen.open_dataset(source).image[:]
    data = {m.start() for m in re.finditer(re.escape(expected[4].tobytes()), whole)}
    assert len(data) == 1
    for k in range(60):
        flipped = bytearray(whole)
        place = min(data) if k == 0 else chance.randrange(len(whole))
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            found = gpgen.open_dataset(path).image[:]
        except DatasetError:
            continue
        assert k > 0
        assert np.array_equal(found, expected)
