"""Damage of every kind to every format: verify names the file, and no wrong pixel comes out.

A few dozen cases a format; with --long some thousands of flipped bits more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from publish_help import PUBLICATION
from store_tools import drawn, tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError
from gpgen.format import store_for
from gpgen.format.hdf5_file import write_user_block
from gpgen.format.manifest import seal
from gpgen.io.local_path import LocalPath
from gpgen.io.zip_writing import ZipLayout
from gpgen.publish.packaging import package
from gpgen.torch import TextureDataset
from gpgen.verification import verify

N = 9
SHARDED = ("d-{shard:03d}.h5", "d-{shard:03d}.tar")
FORMS = ("d.zarr", "d.h5", *SHARDED, "data.zarr.zip")


@dataclasses.dataclass(frozen=True)
class Whole:
    """A dataset that is whole: what it is opened by, its files by verify's names, its pixels."""

    path: Path
    files: dict[str, Path]
    shards: tuple[Path, ...]


def make_whole(form: str, folder: Path, **changes: object) -> Whole:
    folder.mkdir()
    recipe = tiny(shape=[16, 16], splits={"a": 0.5, "b": 0.5}, **changes)
    if form == "data.zarr.zip":
        tiny_make(folder / "d.zarr", N, recipe=recipe, chunk_size=2).close()
        (folder / "p.toml").write_text(PUBLICATION)
        package(folder / "d.zarr", folder / "p.toml", folder / "deposit")
        (folder / "deposit" / form).rename(folder / form)
        for name in ("deposit", "d.zarr"):
            shutil.rmtree(folder / name)
        (folder / "p.toml").unlink()
    else:
        chunks = {"chunk_size": 2} if form == "d.zarr" else {}
        tiny_make(folder / form, N, recipe=recipe, **chunks).close()
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


RECIPE = tiny(shape=[16, 16], splits={"a": 0.5, "b": 0.5})
TRUE = {
    "image": drawn(RECIPE, N),
    "label": np.arange(N) % 2,
    "length_scales": np.array([[1.5, 4.0], [2.0, 4.0]])[np.arange(N) % 2],
    "seed": np.random.SeedSequence(5, spawn_key=(0,)).generate_state(1024, np.uint64)[:N],
    "split_code": np.arange(N) // 2 % 2,
}
"""What each array holds; all but the image computed after docs/format.md, without gpgen."""


def read_arrays(path: Path) -> int:
    """Read every array, each sample alone and all at once; return how many images came whole."""
    came = 0
    with open_dataset(path) as dataset:
        for name, true in TRUE.items():
            array, right = getattr(dataset, name), 0
            for index in range(min(N, dataset.n)):
                with contextlib.suppress(DatasetError):
                    np.testing.assert_array_equal(array[index], true[index], name)
                    right += 1
            try:
                np.testing.assert_array_equal(array[:], true[: dataset.n], name)
            except DatasetError:
                assert right < dataset.n
            came = right if name == "image" else came
        for index in range(N, dataset.n):
            with pytest.raises(DatasetError):
                dataset.image[index]
    return came


def read_textures(path: Path) -> int:
    """Read what a network is trained with, alone and in batches; return how many came whole."""
    textures, came = TextureDataset(path, target="both"), 0
    n = min(N, len(textures))
    np.testing.assert_array_equal(textures.targets.numpy()[:n], TRUE["label"][:n])
    for index in range(n):
        with contextlib.suppress(DatasetError):
            image, (label, length_scale) = textures[index]
            np.testing.assert_array_equal(image.numpy()[0], TRUE["image"][index])
            assert label == TRUE["label"][index]
            np.testing.assert_array_equal(length_scale.numpy(), TRUE["length_scales"][index])
            came += 1
    try:
        batch = textures.__getitems__(list(range(n)))
        np.testing.assert_array_equal(batch.images.numpy()[:, 0], TRUE["image"][:n])
    except DatasetError:
        assert came < n
    return came


def read_all(path: Path) -> int:
    """Read through both doors, which must agree; return how many images came whole."""
    came = []
    for read in (read_arrays, read_textures):
        try:
            came.append(read(path))
        except DatasetError:
            came.append(0)
    assert came[0] == came[1]
    return came[0]


def named(path: Path) -> set[str]:
    return {problem.file for problem in verify(path).problems}


def check_damaged(own: Whole, *names: str) -> None:
    """Assert that verify names these files and no other, and that only right values are read."""
    read_all(own.path)
    assert named(own.path) == set(names)


def test_what_is_whole_is_read_whole_and_verified(own: Whole) -> None:
    assert read_all(own.path) == N
    report = verify(own.path, regenerate="all")
    assert report.ok, report.problems
    assert report.samples_regenerated == N


def flips(own: Whole, count: int, generator: random.Random) -> Iterator[tuple[str, int]]:
    """Choose a file, every kind as often as another, and a bit of it."""
    for k in range(count):
        name = sorted(own.files)[k % len(own.files)]
        yield name, generator.randrange(8 * own.files[name].stat().st_size)


def test_a_flipped_bit_anywhere(own: Whole, long: bool) -> None:
    for name, bit in flips(own, 2000 if long else 3 * len(own.files), random.Random(17)):
        path = own.files[name]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        check_damaged(own, name)
        path.write_bytes(whole)
    assert verify(own.path).ok


CUTS: dict[str, Callable[[bytes], bytes]] = {
    # A zarr.json means the same without its last line break.
    "one byte less": lambda whole: whole.removesuffix(b"\n")[:-1],
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
        if name == manifest_of(own):  # without it there is no dataset
            assert read_all(own.path) == 0
            with pytest.raises(DatasetError):
                verify(own.path)
        else:
            check_damaged(own, name)
        path.write_bytes(whole)


@pytest.mark.parametrize("own", ["d.zarr", *SHARDED], indirect=True)
def test_a_damaged_checksum_of_a_shard_accuses_no_shard(own: Whole) -> None:
    digest = hashlib.sha256(own.shards[1].read_bytes()).digest()
    ((name, whole),) = (
        (name, path.read_bytes()) for name, path in own.files.items() if digest in path.read_bytes()
    )
    own.files[name].write_bytes(whole.replace(digest, bytes(32)))
    check_damaged(own, name)
    assert read_all(own.path) == N


def shard_bytes(own: Whole, shard: int) -> tuple[Path, slice]:
    """Return the file in which a shard lies, and its bytes of it."""
    if own.shards:
        return own.shards[shard], slice(None)
    region = (
        store_for("hdf5" if own.path.suffix == ".h5" else "zarr")
        .reader(LocalPath(own.path))
        .region(shard)
    )
    return own.path, slice(region.offset, region.offset + region.nbytes)


def put_shard(own: Whole, shard: int, raw: bytes) -> str:
    """Put other bytes in a shard's place; return what verify calls the file."""
    path, place = shard_bytes(own, shard)
    whole = bytearray(path.read_bytes())
    assert len(whole[place]) == len(raw)
    whole[place] = raw
    path.write_bytes(whole)
    return next(name for name, file in own.files.items() if file == path)


def get_shard(own: Whole, shard: int) -> bytes:
    path, place = shard_bytes(own, shard)
    return path.read_bytes()[place]


def test_two_swapped_shards(own: Whole) -> None:
    first, second = get_shard(own, 0), get_shard(own, 1)
    check_damaged(own, put_shard(own, 0, second), put_shard(own, 1, first))
    assert read_all(own.path) == N - 8


def test_a_shard_of_another_seed(own: Whole, tmp_path: Path) -> None:
    other = make_whole(own.path.name, tmp_path / "other", seed=6)
    check_damaged(own, put_shard(own, 1, get_shard(other, 1)))
    assert read_all(own.path) == N - 4


def manifest_of(own: Whole) -> str:
    return next(n for n in own.files if n in ("zarr.json", own.path.name) or "manifest" in n)


def attributes_of(own: Whole) -> dict[str, Any]:
    """Return the root attributes, as they are hashed."""
    path = own.files[manifest_of(own)]
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("zarr.json"))["attributes"]
    if path.name == "zarr.json":
        return json.loads(path.read_bytes())["attributes"]
    with h5py.File(path) as file:
        plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in file.attrs.items()}
    return {**plain, "recipe": json.loads(plain["recipe"])}


def put_attributes(own: Whole, attributes: dict[str, Any]) -> None:
    """Write them in the others' place as gpgen would; all else that seals a file fits again."""
    path = own.files[manifest_of(own)]
    if path.suffix == ".h5":
        _put_in_hdf5(path, attributes)
    elif path.name == "zarr.json":
        path.write_bytes(_document(path.read_bytes(), attributes))
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["zarr.json"] = _document(members["zarr.json"], attributes)
        layout = ZipLayout([(name, len(data)) for name, data in members.items()])
        crcs = [zlib.crc32(data) for data in members.values()]
        pieces = zip(layout.members, members.values(), crcs, strict=True)
        whole = b"".join(member.header(crc) + data for member, data, crc in pieces)
        path.write_bytes(whole + layout.directory(crcs))


def _document(raw: bytes, attributes: dict[str, Any]) -> bytes:
    root = {**json.loads(raw), "attributes": attributes}
    return (json.dumps(root, indent=2, ensure_ascii=False) + "\n").encode()


def _put_in_hdf5(path: Path, attributes: dict[str, Any]) -> None:
    block = re.match(rb"gpgen \d+ n=(\d+) image=(\d+)\+(\d+)", path.read_bytes())
    assert block is not None
    n, offset, nbytes = map(int, block.groups())
    with h5py.File(path, "r+") as file:
        for key in set(file.attrs) - attributes.keys():
            del file.attrs[key]
        for key, value in attributes.items():
            if isinstance(value, list):
                file.attrs.create(key, value, dtype=h5py.string_dtype())
            else:
                file.attrs[key] = json.dumps(value) if isinstance(value, dict) else value
    descriptor = os.open(path, os.O_RDWR)
    try:
        write_user_block(descriptor, LocalPath(path), attributes["n"] if n else n, (offset, nbytes))
    finally:
        os.close(descriptor)


def other_recipe(attributes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what the manifest of another recipe says of it."""
    recipe = tiny(shape=[16, 16], splits={"a": 0.5, "b": 0.5}).replace(**changes)
    return {
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.sha256,
        "class_names": list(recipe.classes),
        "split_names": list(recipe.splits),
    }


EDITS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a sample less": lambda old: {"n": N - 1},
    "two shards less": lambda old: {"n": 4},
    "a sample more": lambda old: {"n": N + 1},
    "smaller shards": lambda old: {"shard_size": 2},
    "larger shards": lambda old: {"shard_size": 8},
    "smaller chunks": lambda old: {"chunk_size": 1},
    "larger chunks": lambda old: {"chunk_size": 4},
    "another seed": lambda old: other_recipe(old, seed=6),
    "other splits": lambda old: other_recipe(old, splits={"a": 0.25, "b": 0.75}),
    "renamed splits": lambda old: other_recipe(old, splits={"c": 0.5, "b": 0.5}),
    "another shape": lambda old: other_recipe(old, shape=(16, 8)),
    "another hash of the recipe": lambda old: {"recipe_sha256": "0" * 64},
    "other classes": lambda old: {"class_names": ["a", "b"]},
    "another file's hash": lambda old: {"files": {**old["files"], "label/c.0": "0" * 64}},
    "a file less": lambda old: {"files": dict(list(old["files"].items())[1:])},
    "a file more": lambda old: {"files": {**old["files"], "more": "0" * 64}},
    "another pattern": lambda old: {"shard_pattern": "e" + old["shard_pattern"][1:]},
    "another version of sampling": lambda old: {"sampling_version": 2},
    "another citation": lambda old: {"citation": "me"},
    "another version of gpgen": lambda old: {"gpgen_version": "9"},
}


ZARRS = ("d.zarr", "data.zarr.zip")
HAVE = {"file": ZARRS, "pattern": SHARDED, "chunks": ZARRS}
"""Which formats have what an edit is about, by a word of its name; all have the rest."""
CASES = [
    (form, edit)
    for edit in EDITS
    for form in next((HAVE[word] for word in HAVE if word in edit), FORMS)
]
of_every_format_and_edit = pytest.mark.parametrize(("own", "edit"), CASES, indirect=["own"])


def edited(own: Whole, edit: str, *, sealed: bool) -> None:
    """Edit the manifest in one way, and seal it again or not."""
    old = attributes_of(own)
    changes = EDITS[edit](old)
    assert changes.keys() <= old.keys(), "there is nothing to edit"
    put_attributes(own, seal(old | changes) if sealed else old | changes)


@of_every_format_and_edit
def test_an_edited_manifest_is_named_and_not_opened(own: Whole, edit: str) -> None:
    edited(own, edit, sealed=False)
    with pytest.raises(DatasetError):
        open_dataset(own.path)
    check_damaged(own, manifest_of(own))
    assert read_all(own.path) == 0


# The seal is no signature: who seals again may say this anew, for no value follows from it.
SAID_ANEW = {"another version of sampling", "another citation", "another version of gpgen",
             "renamed splits"}  # fmt: skip
OTHER_RECIPES = {"another seed", "other splits", "renamed splits", "another shape"}
SMALL = {"label/c.0", "length_scale/c.0.0", "seed/c.0", "split/c.0"}
SHARDS = {"image/c.0.0.0", "image/c.1.0.0", "image/c.2.0.0"}
NAMED_IN_ZARR = {
    "a sample less": {"image/c.2.0.0"},
    "two shards less": {"image/c.1.0.0", "image/c.2.0.0"},
    "a sample more": SMALL,
    "smaller shards": SHARDS | {"image/c.3.0.0", "image/c.4.0.0"},
    "larger shards": SHARDS,
    "smaller chunks": SHARDS,
    "larger chunks": SHARDS,
    "another seed": {"seed/c.0"},
    "other splits": {"split/c.0"},
    "another shape": SHARDS,
    "another file's hash": {"label/c.0"},
    "a file less": {"zarr.json", "label/c.0"},
}
"""Which files don't fit a root that was edited and sealed again, if not the root itself."""


@of_every_format_and_edit
def test_a_manifest_edited_and_sealed_again(own: Whole, edit: str) -> None:
    """A forger can seal it; the checksums of pixels and files are still those of the pixels."""
    edited(own, edit, sealed=True)
    came, names = read_all(own.path), named(own.path)
    if edit in SAID_ANEW and came == N:
        assert names == set()
    elif own.path.name == "d.zarr":
        assert names == NAMED_IN_ZARR.get(edit, {"zarr.json"})
    elif own.shards and came == 0 and edit in OTHER_RECIPES:
        # Shards and manifest contradict each other, and nothing says which of them is right.
        assert names
    else:
        assert names == {manifest_of(own)}


def test_a_zip_is_read_in_other_processes_and_converted(made, tmp_path: Path) -> None:
    import pickle

    from gpgen.making.converting import convert

    path = made["data.zarr.zip"].path
    with open_dataset(path) as dataset:
        again = pickle.loads(pickle.dumps(dataset))  # noqa: S301
        np.testing.assert_array_equal(again.image[[3, 1]], TRUE["image"][[3, 1]])
        again.close()
    convert(path, tmp_path / "d.zarr", shard_size=4, chunk_size=2).close()
    assert {name: (tmp_path / "d.zarr" / name).read_bytes() for name in made["d.zarr"].files} == {
        name: file.read_bytes() for name, file in made["d.zarr"].files.items()
    }
