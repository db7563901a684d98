from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
import zarr
from store_tools import ENVIRONMENT, OUTS, drawn, hashes, tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.format.image_writing import crc32c
from gpgen.making.run import plan
from gpgen.sampling import seeds
from gpgen.verification import verify

N = 13
SHAPES = {
    "one axis": {"shape": [40]},
    "three axes": {"shape": [6, 5, 7]},
    "half precision": {"dtype": "float16"},
    "a length-scale an axis": {
        "components": [{"kernel": "rbf", "length_scales": [[1.5, 3.0], 2.0], "weight": 1.0}]
    },
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("out", OUTS)
def test_what_is_read_is_what_is_drawn(tmp_path: Path, out, changes) -> None:
    recipe = tiny(**changes)
    with tiny_make(tmp_path / out, N, recipe=recipe) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(recipe, N))
        assert dataset.image.dtype == recipe.dtype
        np.testing.assert_array_equal(dataset.label[:], recipe.labels(0, N))
        np.testing.assert_array_equal(dataset.length_scales[:], recipe.length_scale_array(0, N))
        np.testing.assert_array_equal(dataset.split_code[:], recipe.split_codes(0, N))


@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (3, 6), (4, 4), (5, 20), (13, 13)])
def test_plain_zarr_reads_every_chunk_and_shard_size(tmp_path: Path, sizes) -> None:
    tiny_make(tmp_path / "d.zarr", N, chunk_size=sizes[0], shard_size=sizes[1]).close()
    group = zarr.open(tmp_path / "d.zarr", mode="r")
    np.testing.assert_array_equal(group["image"][:], drawn(tiny(), N))
    np.testing.assert_array_equal(group["image"][5], drawn(tiny(), N)[5])
    np.testing.assert_array_equal(group["seed"][:], drawn_seeds())
    assert group.attrs["class_names"] == ["1.5-4", "2-4"]
    assert group["image"].metadata.dimension_names == ("sample", "y", "x")


def drawn_seeds() -> np.ndarray:
    from gpgen.sampling import seeds

    return seeds(tiny().seed, 0, N)


def test_zarr_itself_notices_a_flipped_bit_in_a_chunk(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.zarr", N).close()
    path = tmp_path / "d.zarr" / "image" / "c.1.0.0"
    raw = bytearray(path.read_bytes())
    raw[100] ^= 4
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"(?i)checksum"):
        zarr.open(tmp_path / "d.zarr", mode="r")["image"][:]


def test_xarray_opens_zarr_with_names_and_types(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.zarr", N).close()
    with xarray.open_zarr(tmp_path / "d.zarr") as data:
        assert data.image.dims == ("sample", "y", "x")
        assert data.length_scale.dims == ("sample", "component")
        assert (data.label.dtype, data.seed.dtype, data.split.dtype) == ("i8", "u8", "u1")
        assert data.split.attrs["flag_meanings"] == "train validation test"
        np.testing.assert_array_equal(data.image.values, drawn(tiny(), N))
        np.testing.assert_array_equal(data.seed.values, drawn_seeds())


@pytest.mark.parametrize("name", ["d.h5", "d-{shard:03d}.h5"])
def test_xarray_opens_hdf5_with_names_and_types(tmp_path: Path, name) -> None:
    tiny_make(tmp_path / name, N).close()
    files = sorted(tmp_path.glob("*.h5"))
    for path in files:
        with xarray.open_dataset(path, engine="h5netcdf") as data:
            arrays = {"label", "length_scale", "seed", "split", "crc32c"}
            arrays |= set() if "manifest" in path.name else {"image"}
            arrays |= set() if path.stem.endswith(tuple("0123456789")) else {"shard_sha256"}
            assert set(data.variables) == arrays
            assert data.length_scale.dims == ("sample", "component")
            assert (data.label.dtype, data.seed.dtype, data.split.dtype) == ("i8", "u8", "u1")
    with xarray.open_dataset(files[0], engine="h5netcdf") as data:
        assert data.image.dims == ("sample", "y", "x")
        count = data.sizes["sample"]
        np.testing.assert_array_equal(data.image.values, drawn(tiny(), N)[:count])
        np.testing.assert_array_equal(data.seed.values, drawn_seeds()[:count])


def test_hdf5_holds_no_bytes_that_nobody_wrote(tmp_path: Path) -> None:
    """Of what HDF5 takes from memory without clearing it, another byte would be there."""
    found = []
    for perturbed in ("17", "170"):
        code = (
            "import gpgen; from store_tools import tiny; "
            f"gpgen.make(tiny(), {N}, 'd{perturbed}.h5').close()"
        )
        subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=tmp_path,
            env={**ENVIRONMENT, "MALLOC_PERTURB_": perturbed},
        )  # fmt: skip
        found.append((tmp_path / f"d{perturbed}.h5").read_bytes())
    assert found[0] == found[1]


def test_plain_h5py_reads_the_single_file(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.h5", N).close()
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["image"][:], drawn(tiny(), N))
        np.testing.assert_array_equal(file["seed"][:], drawn_seeds())
        assert [dim.label for dim in file["image"].dims] == ["sample", "y", "x"]
        assert file["split"].attrs["flag_meanings"] == "train validation test"
        assert json.loads(file.attrs["recipe"]) == tiny().to_dict()
        assert list(file.attrs["class_names"]) == ["1.5-4", "2-4"]
        assert file["image"].id.get_offset() % file["image"].dtype.itemsize == 0


def test_the_images_of_an_hdf5_file_begin_on_a_page_so_that_they_can_be_mapped(tmp_path) -> None:
    tiny_make(tmp_path / "d.h5", N).close()
    with h5py.File(tmp_path / "d.h5") as file:
        offset, shape = file["image"].id.get_offset(), file["image"].shape
    assert offset % 4096 == 0
    images = np.memmap(tmp_path / "d.h5", "<f4", "r", offset, shape)
    np.testing.assert_array_equal(images, drawn(tiny(), N))


def test_each_hdf5_shard_is_complete_in_itself(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d-{shard:03d}.h5", N).close()
    parts = []
    for shard in range(4):
        with h5py.File(tmp_path / f"d-{shard:03d}.h5") as file:
            assert file.attrs["shard"] == shard
            assert file.attrs["first_sample"] == 4 * shard
            np.testing.assert_array_equal(
                file["label"][:], tiny().labels(4 * shard, min(N, 4 * shard + 4))
            )
            parts.append(file["image"][:])
    np.testing.assert_array_equal(np.concatenate(parts), drawn(tiny(), N))


@pytest.mark.parametrize("size", [1, 4, 1023, 1024, 1500])
def test_an_hdf5_shard_holds_the_checksums_of_its_images(tmp_path: Path, size: int) -> None:
    """In shards of fewer than 1024 samples they were zeros: their place came before the images'."""
    n = size + 1
    recipe = tiny(shape=[8, 8])
    tiny_make(tmp_path / "d-{shard:03d}.h5", n, recipe=recipe, shard_size=size).close()
    for shard, first in ((0, 0), (1, size)):
        with h5py.File(tmp_path / f"d-{shard:03d}.h5") as file:
            crcs = [crc32c(image) for image in file["image"][:]]
            assert file["crc32c"][:].tolist() == crcs
            assert file["seed"][0] == seeds(recipe.seed, first, first + 1)[0]
    assert verify(tmp_path / "d-{shard:03d}.h5").ok


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("n", [1, 4, 13])
def test_the_plan_knows_the_bytes_exactly(tmp_path: Path, out, n) -> None:
    expected = plan(tiny(), n, tmp_path / out, shard_size=4)
    tiny_make(tmp_path / out, n).close()
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in found) == expected.nbytes
    assert list(tmp_path.glob("*.making")) == []


@pytest.mark.parametrize("n", [10, 101, pytest.param(1003, marks=pytest.mark.slow)])
def test_the_plan_knows_the_bytes_of_any_number_of_blocks(tmp_path: Path, n, monkeypatch) -> None:
    for module in ("zarr_reader", "zarr_metadata"):
        monkeypatch.setattr(f"gpgen.format.{module}.BLOCK_ROWS", 1)
    recipe = tiny(shape=[4, 4])
    expected = plan(recipe, n, tmp_path / "d.zarr", shard_size=100)
    tiny_make(tmp_path / "d.zarr", n, recipe=recipe, shard_size=100).close()
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in found) == expected.nbytes


@pytest.mark.parametrize("name", ["p-{shard}.tar.h5", "p-{shard:02d}.tar.hdf5", "p-{shard}.h5.tar"])
def test_the_manifest_says_what_its_shards_are_whatever_its_name(tmp_path: Path, name) -> None:
    form = "webdataset" if name.endswith(".tar") else "hdf5-shards"
    with tiny_make(tmp_path / name, N) as made:
        assert made.format == form
    for path in (tmp_path / name, tmp_path, made.path):
        with open_dataset(path) as dataset:
            assert dataset.format == form
            np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))
        assert verify(path, regenerate="all").ok


@pytest.mark.parametrize("out", OUTS)
def test_equal_data_is_equal_bytes(tmp_path: Path, out) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tiny_make(tmp_path / name / out, N).close()
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_small_arrays_in_several_blocks_read_like_one(tmp_path: Path, monkeypatch) -> None:
    for module in ("zarr_reader", "zarr_metadata"):
        monkeypatch.setattr(f"gpgen.format.{module}.BLOCK_ROWS", 5)
    with tiny_make(tmp_path / "d.zarr", N) as dataset:
        np.testing.assert_array_equal(dataset.label[:], tiny().labels(0, N))
        np.testing.assert_array_equal(dataset.label[3:12], tiny().labels(3, 12))
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))
    group = zarr.open(tmp_path / "d.zarr", mode="r")
    np.testing.assert_array_equal(group["seed"][:], drawn_seeds())
    assert sorted(p.name for p in (tmp_path / "d.zarr" / "label").glob("c*")) == [
        "c.0",
        "c.1",
        "c.2",
    ]
