"""Damage of every kind to every format: verify names the file, and no wrong pixel comes out.

A few dozen cases a format; with GPGEN_LONG=1 some thousands of flipped bits more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from publish_help import PUBLICATION
from store_tools import drawn, tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError
from gpgen.publish.packaging import package
from gpgen.store.manifest import seal
from gpgen.torch import TextureDataset
from gpgen.verification import verify

N = 9
FORMS = ("d.zarr", "d.h5", "d-{shard:03d}.h5", "d-{shard:03d}.tar", "data.zarr.zip")
FLIPS = 2000 if os.environ.get("GPGEN_LONG") else 3
"""A file each of the short run; a format in the long one."""


@dataclasses.dataclass(frozen=True)
class Whole:
    """A dataset that is whole: what it is opened by, its files by verify's names, its pixels."""

    path: Path
    files: dict[str, Path]
    shards: tuple[Path, ...]


def make_whole(form: str, folder: Path, **changes: object) -> Whole:
    folder.mkdir()
    recipe = tiny(shape=[16, 16], **changes)
    if form == "data.zarr.zip":
        tiny_make(folder / "d.zarr", N, recipe=recipe).close()
        (folder / "p.toml").write_text(PUBLICATION)
        package(folder / "d.zarr", folder / "p.toml", folder / "deposit")
        (folder / "deposit" / form).rename(folder / form)
        for name in ("deposit", "d.zarr"):
            shutil.rmtree(folder / name)
        (folder / "p.toml").unlink()
    else:
        tiny_make(folder / form, N, recipe=recipe).close()
    return look_at(form, folder)


def look_at(form: str, folder: Path) -> Whole:
    root = folder / form if form == "d.zarr" else folder
    files = {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}
    shards = tuple(
        p for name, p in files.items() if name.startswith("image/c.") or name[2:5].isdecimal()
    )
    return Whole(folder / form, files, shards)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Whole]:
    folder = tmp_path_factory.mktemp("made")
    return {form: make_whole(form, folder / str(k)) for k, form in enumerate(FORMS)}


@pytest.fixture(params=FORMS)
def own(made, request, tmp_path: Path) -> Whole:
    shutil.copytree(made[request.param].path.parent, tmp_path / "own")
    return look_at(request.param, tmp_path / "own")


TRUE = drawn(tiny(shape=[16, 16]), N)


def read_all(path: Path) -> int:
    """Read all samples, alone and in batches, through both doors; return how many came whole."""
    came = 0
    try:
        with open_dataset(path) as dataset:
            for index in range(N):
                try:
                    assert dataset.image[index].tobytes() == TRUE[index].tobytes()
                    assert dataset.label[index] == index % 2
                    came += 1
                except DatasetError:
                    pass
            try:
                assert dataset.image[:].tobytes() == TRUE.tobytes()
            except DatasetError:
                assert came < N
    except DatasetError:
        assert came == 0
    try:
        textures = TextureDataset(path)
    except DatasetError:
        assert came == 0
        return came
    for index in range(N):
        try:
            image, label = textures[index]
            assert image.numpy().tobytes() == TRUE[index].tobytes()
            assert label == index % 2
        except DatasetError:
            assert came < N
    return came


def check_damaged(own: Whole, *names: str) -> None:
    """Assert that verify names these files, and that only right pixels are read."""
    read_all(own.path)
    named = {problem.file for problem in verify(own.path).problems}
    assert named >= set(names), (names, named)


def test_what_is_whole_is_read_whole_and_verified(own: Whole) -> None:
    assert read_all(own.path) == N
    report = verify(own.path, regenerate="all")
    assert report.ok, report.problems
    assert report.samples_regenerated == N


def flips(own: Whole, count: int, generator: random.Random) -> Iterator[tuple[str, int]]:
    """Choose a file, every kind as often as another, and a bit of it."""
    for k in range(count * (1 if os.environ.get("GPGEN_LONG") else len(own.files))):
        name = sorted(own.files)[k % len(own.files)]
        yield name, generator.randrange(8 * own.files[name].stat().st_size)


def test_a_flipped_bit_anywhere(own: Whole) -> None:
    for name, bit in flips(own, FLIPS, random.Random(17)):
        path = own.files[name]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        check_damaged(own, name)
        path.write_bytes(whole)
    assert verify(own.path).ok


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "one byte less": lambda whole: whole[:-1],
    "half": lambda whole: whole[: len(whole) // 2],
    "nothing": lambda whole: b"",
    "one byte more": lambda whole: whole + b"\0",
    "zeros": lambda whole: bytes(len(whole)),
    "a page of zeros": lambda whole: bytes(min(4096, len(whole))) + whole[4096:],
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_file_cut_lengthened_or_zeroed(own: Whole, cut: str) -> None:
    for name, path in own.files.items():
        whole = path.read_bytes()
        path.write_bytes(CUTS[cut](whole))
        check_damaged(own, name)
        path.write_bytes(whole)


def test_a_deleted_file(own: Whole) -> None:
    for name, path in own.files.items():
        whole = path.read_bytes()
        path.unlink()
        try:
            check_damaged(own, name)
        except DatasetError:  # without its manifest it is no dataset
            assert "manifest" in name or name in ("zarr.json", own.path.name)
        path.write_bytes(whole)


def test_two_swapped_shards(own: Whole) -> None:
    if not own.shards:
        pytest.skip("the shards are in one file")
    first, second = own.shards[0], own.shards[1]
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    names = [name for name, path in own.files.items() if path in (first, second)]
    check_damaged(own, *names)
    assert read_all(own.path) == N - 8


def test_two_swapped_shards_within_one_file(made, tmp_path: Path) -> None:
    for form in ("d.h5", "data.zarr.zip"):
        shutil.copytree(made[form].path.parent, tmp_path / form)
        own = look_at(form, tmp_path / form)
        from gpgen.store import store_for

        reader = store_for("hdf5" if form == "d.h5" else "zarr").reader(own.path)
        a, b = reader.region(0), reader.region(1)
        whole = own.path.read_bytes()
        raw = bytearray(whole)
        raw[a.offset : a.offset + a.nbytes] = whole[b.offset : b.offset + b.nbytes]
        raw[b.offset : b.offset + b.nbytes] = whole[a.offset : a.offset + a.nbytes]
        own.path.write_bytes(raw)
        check_damaged(own, form)
        assert read_all(own.path) == N - 8


def test_a_shard_of_another_seed(own: Whole, tmp_path: Path) -> None:
    if not own.shards:
        pytest.skip("the shards are in one file")
    other = make_whole(own.path.name, tmp_path / "other", seed=6)
    own.shards[1].write_bytes(other.shards[1].read_bytes())
    name = next(name for name, path in own.files.items() if path == own.shards[1])
    check_damaged(own, name)
    assert read_all(own.path) == N - 4


EDITS = [("n", N - 1), ("n", N + 1), ("shard_size", 2), ("citation", "me"), ("gpgen_version", "9")]


@pytest.mark.parametrize(("key", "value"), EDITS)
@pytest.mark.parametrize("form", FORMS[:4])
def test_an_edited_manifest(made, tmp_path: Path, form, key, value) -> None:
    """Not sealed again, it isn't opened; sealed again, verify names it, and no pixel is wrong."""
    shutil.copytree(made[form].path.parent, tmp_path / "own")
    own = look_at(form, tmp_path / "own")
    name = (
        "zarr.json"
        if form == "d.zarr"
        else next(n for n in own.files if "manifest" in n or n == form)
    )
    if form == "d.zarr":
        root = json.loads(own.files[name].read_bytes())
        root["attributes"][key] = value
        own.files[name].write_text(json.dumps(root, indent=2) + "\n")
    else:
        with h5py.File(own.files[name], "r+") as file:
            file.attrs[key] = value
    with pytest.raises(DatasetError):
        open_dataset(own.path)
    assert read_all(own.path) == 0
    check_damaged(own, name)


def test_a_manifest_edited_and_sealed_again(made, tmp_path: Path) -> None:
    """A forger can seal it; the checksums of pixels and files are still those of the pixels."""
    for key, value in (("n", N - 1), ("n", 5), ("shard_size", 2), ("shard_size", 8)):
        shutil.rmtree(tmp_path / "own", ignore_errors=True)
        shutil.copytree(made["d.zarr"].path.parent, tmp_path / "own")
        root = tmp_path / "own" / "d.zarr" / "zarr.json"
        document = json.loads(root.read_bytes())
        document["attributes"] = seal({**document["attributes"], key: value, "chunk_size": 2})
        root.write_text(json.dumps(document, indent=2) + "\n")
        with open_dataset(tmp_path / "own" / "d.zarr") as dataset:
            for index in range(dataset.n):
                with contextlib.suppress(DatasetError):
                    assert dataset.image[index].tobytes() == TRUE[index].tobytes()
        assert not verify(tmp_path / "own" / "d.zarr").ok


def test_a_zip_that_gpgen_did_not_write_is_refused_with_what_to_do(made, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "own.zarr"), "zip", made["d.zarr"].path)
    with pytest.raises(DatasetError, match="not a zip as `gpgen package` writes it; if you packed"):
        open_dataset(tmp_path / "own.zarr.zip")


def test_a_zip_is_read_in_other_processes_and_converted(made, tmp_path: Path) -> None:
    import pickle

    from gpgen.converting import convert

    path = made["data.zarr.zip"].path
    with open_dataset(path) as dataset:
        again = pickle.loads(pickle.dumps(dataset))  # noqa: S301
        np.testing.assert_array_equal(again.image[[3, 1]], TRUE[[3, 1]])
        again.close()
    convert(path, tmp_path / "d.zarr", shard_size=4).close()
    assert {name: (tmp_path / "d.zarr" / name).read_bytes() for name in made["d.zarr"].files} == {
        name: file.read_bytes() for name, file in made["d.zarr"].files.items()
    }
