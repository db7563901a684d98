"""A recipe read as a Zarr store has the bytes of the dataset that would be stored."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from publish_help import contents, refusal
from store_tools import tiny
from virtual_support import deposit_of, everything, kinds
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

import gpgen
from gpgen.errors import DatasetError, RecipeError, UsageError
from gpgen.publish import deposit as deposits
from gpgen.virtual_store.drawing import DRAWING, drawn
from gpgen.virtual_store.keys import VirtualKeys
from gpgen.virtual_store.store import VirtualStore

KINDS = kinds()
SIZES = {"chunk_size": 2, "shard_size": 4}


@pytest.fixture(scope="module")
def deposited(tmp_path_factory):
    return deposit_of(tmp_path_factory.mktemp("deposited"))


@pytest.mark.parametrize("name", KINDS)
def test_every_key_that_needs_no_pixels_has_the_stored_bytes(
    tmp_path: Path, name, monkeypatch
) -> None:
    monkeypatch.setattr("gpgen.format.zarr_metadata.BLOCK_ROWS", 4)
    recipe = KINDS[name]
    gpgen.make(recipe, 9, tmp_path / "d.zarr", workers=1, **SIZES).close()
    stored = contents(tmp_path / "d.zarr")
    found = everything(gpgen.virtual(recipe, 9, **SIZES))
    sums = {key for key in stored if key.startswith(("crc32c/", "shard_sha256/"))}
    assert stored.keys() - found.keys() == sums
    assert {key for key in found if found[key] != stored[key]} == {"zarr.json"}
    assert len(found) == 1 + 5 + 4 * 3 + 3
    image = zarr.open_group(tmp_path / "d.zarr", mode="r")["image"]
    virtual = gpgen.virtual(recipe, 9, **SIZES).to_xarray()
    np.testing.assert_array_equal(virtual.image[3:8].values, image[3:8])


def test_a_deposits_dataset_is_there_key_for_key(deposited) -> None:
    stored, deposit = deposited
    store = gpgen.virtual(deposit)
    assert everything(store) == contents(stored)
    dataset = store.to_dataset()
    with gpgen.open_dataset(stored) as original:
        np.testing.assert_array_equal(dataset.image[[39, 0, 17]], original.image[[39, 0, 17]])
        np.testing.assert_array_equal(dataset.label[:], original.label[:])
    assert "nothing can be written" in refusal(UsageError, gpgen.make, tiny(), 3, store.path)
    report = gpgen.verify(store.path, regenerate=3)
    assert (report.ok, report.shards, report.problems) == (True, 3, ())


@pytest.mark.parametrize("weight", [None, {"low": 0.5, "high": 2.0}])
def test_xarray_sees_the_names_and_values_of_a_stored_dataset(tmp_path: Path, weight) -> None:
    recipe = tiny()
    if weight is not None:
        first, *rest = recipe.to_dict()["components"]
        recipe = recipe.replace(components=[{**first, "weight": weight}, *rest])
    with gpgen.make(recipe, 9, tmp_path / "d.zarr") as dataset:
        stored = dataset.to_xarray().load()
    virtual = gpgen.virtual(recipe, 9).to_xarray()
    assert ("weights" in virtual) == (weight is not None)
    for part in (slice(None), [7, 2, 2], slice(8, 1, -3)):
        mine, theirs = virtual.isel(sample=part), stored.isel(sample=part)
        assert set(mine.variables) == set(theirs.variables)
        for name, variable in theirs.variables.items():
            assert (mine[name].dims, mine[name].dtype) == (variable.dims, variable.dtype)
            np.testing.assert_array_equal(mine[name].values, variable.values)
    assert virtual.attrs | {"path": ""} == stored.attrs | {"path": ""}


def test_parts_of_a_key_are_those_of_the_whole(deposited) -> None:
    store = gpgen.virtual(deposited[1])
    whole = contents(deposited[0])
    for key in ("image/c.2.0.0", "label/c.0", "zarr.json"):
        data = whole[key]
        for part, expected in (
            (RangeByteRequest(3, 10), data[3:10]),
            (RangeByteRequest(4 * 4096, 4 * 4096 + 9), data[4 * 4096 :][:9]),
            (RangeByteRequest(5, 10**9), data[5:]),
            (OffsetByteRequest(len(data) - 7), data[-7:]),
            (SuffixByteRequest(20), data[-20:]),
            (SuffixByteRequest(10**9), data),
        ):
            assert asyncio.run(store.get(key, byte_range=part)).to_bytes() == expected


def test_an_image_that_is_read_is_drawn_alone_and_once(monkeypatch) -> None:
    drawn = []

    class Spy(type(gpgen.sampling.DrawnImages(tiny()))):
        def images(self, start, stop, out=None):
            drawn.append((start, stop))
            return super().images(start, stop, out)

    monkeypatch.setattr("gpgen.virtual_store.keys.DrawnImages", Spy)
    DRAWING.renew()
    store = gpgen.virtual(tiny(), 100, chunk_size=1, shard_size=50)
    assert asyncio.run(store.getsize("image/c.1.0.0")) > 50 * 16 * 24 * 4
    assert asyncio.run(store.exists("image/c.2.0.0")) is False
    assert store.to_zarr()["image"][70].shape == store.to_zarr()["image"][70].shape
    assert drawn == [(70, 71)]


def test_an_answer_that_is_alone_has_all_threads_and_many_pile_nothing_up(monkeypatch) -> None:
    DRAWING.renew()
    monkeypatch.setattr("gpgen.virtual_store.drawing.worker_count", lambda _: 8)
    submit, begun = DRAWING.submit, []
    monkeypatch.setattr(DRAWING, "submit", lambda piece: (begun.append(0), submit(piece))[1])

    async def begin(count):
        answers = [drawn(iter([lambda: memoryview(b"1")] * 100)) for _ in range(count)]
        firsts = [await anext(answer) for answer in answers]
        for answer in answers:
            await answer.aclose()
        return firsts

    assert asyncio.run(begin(1)) == [b"1"]
    assert len(begun) == 8
    begun.clear()
    assert asyncio.run(begin(16)) == [b"1"] * 16
    assert len(begun) == 8 + 4 + 14 * 2


@pytest.mark.parametrize(
    "key",
    [
        "image/c.4.0.0", "image/c.-1.0.0", "image/c.+1.0.0", "image/c.01.0.0", "image/c.1.0",
        "image/c.1.0.0.0", "image/c.1.0.1", "image/c.\u0661.0.0", "image/c.1e1.0.0",
        "image/c." + "9" * 4400 + ".0.0", "image/c.99999999999999999999.0.0", "image/c..0.0",
        "image/../zarr.json", "../zarr.json", "/zarr.json", "zarr.json/", "image", "image/", "",
        "label/c.1", "label/c.0.0", "label/c.00", "label/c.-0", "length_scale/c.0", "crc32c/c.0",
        "crc32c/zarr.json", "nothing/zarr.json", "image/c.1.0.0\x00", ".zattrs", "image/c/0/0/0",
    ],
)  # fmt: skip
def test_no_other_key_is_there(key) -> None:
    store = gpgen.virtual(tiny(), 13, shard_size=4, chunk_size=1)
    assert asyncio.run(store.get(key)) is None
    assert not asyncio.run(store.exists(key))


def test_a_trillion_samples_take_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recipe, n = gpgen.Recipe.load("two-scale"), 10**12
    store = gpgen.virtual(recipe, n)
    dataset = store.to_xarray()
    assert dataset.sizes["sample"] == n
    for index in (n - 1, 123_456_789_012):
        expected = gpgen.sample(recipe, index)
        found = dataset.isel(sample=index)
        np.testing.assert_array_equal(found.image[500], expected.image[500])
        assert (int(found.label), int(found.seed)) == (expected.label, expected.seed)
        assert (int(found.sample), found.class_name.item()) == (index, expected.class_name)
        assert tuple(found.length_scales.values) == expected.length_scales
    # A block of labels has 8 MB, of length-scales 16; and the sampler's factors.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
    names = store.list_dir("image")
    assert asyncio.run(anext(names)) == "zarr.json"
    assert len(pickle.dumps(store)) < 2000


def test_it_pickles_and_is_equal_to_what_holds_the_same(deposited) -> None:
    store = gpgen.virtual(tiny(), 13)
    assert pickle.loads(pickle.dumps(store)) == store  # noqa: S301
    assert len({store, gpgen.virtual(tiny(), 13), gpgen.virtual(tiny(), 14)}) == 2
    sealed = gpgen.virtual(deposited[1])
    again = pickle.loads(pickle.dumps(sealed))  # noqa: S301
    assert everything(again) == contents(deposited[0])


def _row(store, index):
    return store.to_zarr()["image"][index, 0]


def test_dask_and_forked_processes_read_it_after_their_parent_has() -> None:
    store = gpgen.virtual(tiny(), 13)
    expected = store.to_zarr()["image"][:]
    chunked = store.to_xarray().chunk({"sample": 4}).image
    np.testing.assert_array_equal(chunked.mean(("y", "x")), expected.mean((1, 2)))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        rows = pool.starmap_async(_row, [(store, k) for k in range(13)]).get(120)
    np.testing.assert_array_equal(rows, expected[:, 0])


@pytest.mark.train
def test_the_workers_of_a_data_loader_read_it() -> None:
    from torch.utils.data import DataLoader

    class Images:
        def __init__(self, store):
            self.store = store

        def __len__(self):
            return 13

        def __getitem__(self, index):
            return self.store.to_zarr()["image"][index]

    store = gpgen.virtual(tiny(), 13)
    expected = store.to_zarr()["image"][:]
    batches = [batch.numpy() for batch in DataLoader(Images(store), batch_size=4, num_workers=2)]
    np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_without_checksums_it_says_so_and_is_no_dataset_to_be_verified() -> None:
    store = gpgen.virtual(tiny(), 13, seed=7, dtype="float16")
    attributes = dict(store.to_zarr().attrs)
    assert (attributes["format"], attributes["virtual"], attributes["sealed"]) == (
        "gpgen-virtual", True, False,
    )  # fmt: skip
    assert (attributes["recipe"]["seed"], attributes["recipe"]["dtype"]) == (7, "float16")
    assert "manifest_sha256" not in attributes
    assert "no checksums seal them" in refusal(DatasetError, store.to_dataset)
    with pytest.raises(ValueError, match="read-only"):
        store.to_zarr()["image"][0] = 0
    with pytest.raises(ValueError, match="read-only"):
        zarr.open_group(store, mode="w")


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "what"),
    [
        (("two-scal", 5), {}, RecipeError, "two-scal"),
        (("two-scale", 0), {}, UsageError, "n is 0"),
        (("two-scale", "5"), {}, UsageError, "n is '5'"),
        (("two-scale", 2**48 + 1), {}, UsageError, "n is"),
        (("two-scale", 5), {"chunk_size": 2, "shard_size": 3}, UsageError, "not a multiple"),
        (("two-scale", 5), {"seed": -1}, RecipeError, "seed"),
        (("two-scale", 5), {"dtype": "int8"}, RecipeError, "dtype"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(arguments, options, kind, what) -> None:
    assert what in refusal(kind, gpgen.virtual, *arguments, **options)


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("crc32c.npy", None, None, "crc32c.npy"),
        ("crc32c.npy", b"<u4", b"<f4", "is no array of"),
        ("crc32c.npy", b"NUMPY", b"PICKL", "is no array of"),
        ("crc32c.npy", -1, b"~", "checksums of one dataset"),
        ("shards.csv", b"0,image/", b"7,image/", "checksums of one"),
        ("recipe.toml", b"seed = 11", b"seed = 12", "recipe.toml"),
        ("dataset.json", b'"chunk_size": 4', b'"chunk_size": 2', "checksums of one"),
        ("dataset.json", b'"form": "zarr"', b'"form": "hdf5"', "not in Zarr's"),
    ],
)
def test_a_damaged_deposit_is_refused_in_a_line(
    tmp_path: Path, deposited, name, old, new, what
) -> None:
    shutil.copytree(deposited[1], tmp_path / "deposit")
    path = tmp_path / "deposit" / name
    data = path.read_bytes()
    if old is None:
        path.unlink()
    elif old == -1:
        path.write_bytes(data[:-1] + new)
    else:
        assert old in data
        path.write_bytes(data.replace(old, new))
    assert what in refusal((DatasetError, UsageError), gpgen.virtual, tmp_path / "deposit")


def test_an_older_deposit_and_arguments_beside_one_are_refused(tmp_path: Path, deposited) -> None:
    assert "seed is given" in refusal(UsageError, gpgen.virtual, deposited[1], seed=1)
    assert "n is given" in refusal(UsageError, gpgen.virtual, deposited[1], 41)
    assert gpgen.virtual(deposited[1], 40).keys.layout.n == 40
    shutil.copytree(deposited[1], tmp_path / "deposit")
    sums = tmp_path / "deposit" / deposits.SHA256SUMS
    lines = [line for line in sums.read_text().splitlines(True) if "crc32c" not in line]
    sums.write_text("".join(lines))
    assert "older gpgen" in refusal(DatasetError, gpgen.virtual, tmp_path / "deposit")


def test_a_deposit_whose_pixels_this_gpgen_would_not_draw_is_found_out(deposited) -> None:
    keys = gpgen.virtual(deposited[1]).keys
    crcs = np.array(keys.checksums.crc32c)
    crcs[5] ^= 1
    sums = dataclasses.replace(keys.checksums, crc32c=crcs)
    DRAWING.renew()
    other = VirtualKeys(keys.recipe, keys.layout, sums)
    with pytest.raises(DatasetError, match="sample 5 as it is drawn here is not the deposit's"):
        asyncio.run(
            VirtualStore(other).get("image/c.0.0.0", byte_range=RangeByteRequest(20_000, 20_009))
        )
