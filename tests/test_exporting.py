"""What other programs read: Parquet files, pictures, NumPy's files."""

from __future__ import annotations

import csv
import gc
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_support import run

import gpgen
import gpgen.exporting
from gpgen import Recipe
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.exporting import Exported, in_files, parquet

N = 75
PATTERN = "{split}-{shard:05d}.parquet"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = Recipe.load("two-scale-mini").replace(shape=[24, 32], standardize=False)
    path = tmp_path_factory.mktemp("source") / "data.zarr"
    gpgen.make(recipe, N, path, shard_size=20, workers=1).close()
    return path


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def check_rows(columns: dict[str, list[Any]], source: Path, indices: list[int]) -> None:
    """Compare rows with the dataset, value for value."""
    dataset = gpgen.open_dataset(source)
    assert columns["index"] == indices
    assert columns["label"] == dataset.label[indices].tolist()
    assert columns["seed"] == dataset.seed[indices].tolist()
    assert columns["length_scales"] == dataset.length_scales[indices].tolist()
    assert np.array_equal(np.array(columns["image"], np.float32), dataset.image[indices])


def test_each_split_has_files_of_its_own(source: Path, tmp_path: Path) -> None:
    exported = gpgen.convert(source, tmp_path / PATTERN, shard_size=30)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sorted(sizes) == [
        "test-00000.parquet",
        "train-00000.parquet",
        "train-00001.parquet",
        "validation-00000.parquet",
    ]
    assert isinstance(exported, Exported)
    assert exported == Exported(exported.path, N, 4, sum(sizes.values()))
    with gpgen.open_dataset(source) as dataset:
        train = dataset.split("train").indices.tolist()
    for k, mine in enumerate((train[:30], train[30:])):
        table = pq.read_table(tmp_path / f"train-0000{k}.parquet")
        check_rows(table.to_pydict(), source, mine)
    assert max(train) > 30


def test_the_same_bytes_twice(source: Path, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        gpgen.convert(source, tmp_path / name / PATTERN)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_without_fields_all_are_in_one_file_in_order(source: Path, tmp_path: Path) -> None:
    gpgen.convert(source, tmp_path / "all.parquet")
    columns = pq.read_table(tmp_path / "all.parquet").to_pydict()
    check_rows(columns, source, list(range(N)))
    assert columns["split"] == gpgen.open_dataset(source).split_code[:].tolist()
    about = json.loads(pq.read_schema(tmp_path / "all.parquet").metadata[b"gpgen"])
    assert Recipe.from_dict(about["recipe"]).sha256 == about["recipe_sha256"]


def test_what_is_chosen(source: Path, tmp_path: Path) -> None:
    """A split, a class and a range, and in the order asked for."""
    gpgen.convert(
        source, tmp_path / "a.parquet", split="train", classes="4.2-24", samples=slice(10, 40)
    )
    with gpgen.open_dataset(source) as dataset:
        train = dataset.split("train").indices.tolist()
    expected = [k for k in range(10, 40) if k % 4 == 1 and k in train]
    check_rows(pq.read_table(tmp_path / "a.parquet").to_pydict(), source, expected)
    gpgen.convert(source, tmp_path / "b-{shard}.parquet", samples=[7, 3, 3], shard_size=2)
    check_rows(pq.read_table(tmp_path / "b-0.parquet").to_pydict(), source, [7, 3])
    check_rows(pq.read_table(tmp_path / "b-1.parquet").to_pydict(), source, [3])


def test_row_groups_and_files_are_bounded(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 60_000)
    monkeypatch.setattr(in_files, "FILE_BYTES", 130_000)
    told: list[int] = []
    out = tmp_path / "{shard}.parquet"
    gpgen.convert(source, out, progress=lambda p: told.append(p.done))
    files = [pq.ParquetFile(tmp_path / f"{k}.parquet") for k in range(2)]
    groups = [
        [f.metadata.row_group(k).total_byte_size for k in range(f.num_row_groups)] for f in files
    ]
    assert all(nbytes < 60_000 for mine in groups for nbytes in mine)
    assert sum(f.metadata.num_rows for f in files) == N
    assert all(path.stat().st_size < 150_000 for path in tmp_path.iterdir())
    assert told[0] == 0
    assert told == sorted(told)
    assert told[-1] == N


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ([24, 32], "float32", "Array2D"),
        ([8, 12, 16], "float16", "Array3D"),
        ([64], "float32", "List"),
    ],
)
# It leaves files and sockets to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_datasets_package_reads_every_value(
    shape: list[int], dtype: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    recipe = Recipe.load("two-scale-mini").replace(shape=shape, dtype=dtype, standardize=False)
    source, data = tmp_path / "d.zarr", tmp_path / "hub" / "data"
    data.mkdir(parents=True)
    gpgen.make(recipe, 40, source, workers=1).close()
    gpgen.convert(source, data / PATTERN, shard_size=20)
    loaded = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "validation", "test"}
    with gpgen.open_dataset(source) as dataset:
        for name, part in loaded.items():
            features = part.features
            assert type(features["image"]).__name__ == kind
            assert features["label"].names == list(dataset.classes)
            assert features["seed"].dtype == "uint64"
            view = dataset.split(name)
            assert part["index"][:] == view.indices.tolist()
            assert part["seed"][:] == view.seed[:].tolist()
            assert part["label"][:] == view.label[:].tolist()
            assert part["length_scales"][:] == view.length_scales[:].tolist()
            images = np.array(part["image"][:], dtype)
            assert np.array_equal(images, view.image[:])
    del loaded, part, features
    gc.collect()  # here, and not in another test


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_datasets_package_reads_a_folder_of_pictures(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    gpgen.convert(source, f"{tmp_path}/p/")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=f"{tmp_path}/p", cache_dir=f"{tmp_path}/cache", split="train"
    )
    with gpgen.open_dataset(source) as dataset:
        assert [int(seed, 16) for seed in loaded["seed"]] == dataset.seed[:].tolist()
        assert loaded["label"][:] == dataset.label[:].tolist()
        assert loaded[N - 1]["image"].mode == "I;16"
    del loaded
    gc.collect()


def test_what_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / PATTERN
    for name in ("{split}-{split}.parquet", "{class}.parquet", "{split}/a.parquet"):
        with pytest.raises(UsageError, match=r"may have one field \{split\}"):
            gpgen.convert(source, tmp_path / name)
    with pytest.raises(UsageError, match=r"no format belongs .* like pictures/"):
        gpgen.convert(source, tmp_path / "pictures")
    with pytest.raises(UsageError, match="on an object store"):
        gpgen.convert(source, "s3://bucket/data.parquet")
    with pytest.raises(UsageError, match="there is no split 'dev'"):
        gpgen.convert(source, out, split="dev")
    with pytest.raises(UsageError, match="there is no class 'x'"):
        gpgen.convert(source, out, classes="x")
    with pytest.raises(UsageError, match="no sample fulfils"):
        gpgen.convert(source, out, samples=slice(75, 80))
    with pytest.raises(UsageError, match="would be a dataset"):
        gpgen.convert(source, tmp_path / "part.zarr", split="train")
    with pytest.raises(UsageError, match="only Zarr stores images in chunks"):
        gpgen.convert(source, out, chunk_size=1)
    with pytest.raises(UsageError, match=r"no field \{shard\}"):
        gpgen.convert(source, tmp_path / "a.parquet", shard_size=10)
    with pytest.raises(UsageError, match="shard_size is 0"):
        gpgen.convert(source, out, shard_size=0)
    with pytest.raises(TargetError, match="does not exist"):
        gpgen.convert(source, tmp_path / "none" / PATTERN)
    with pytest.raises(DatasetError, match="there is no dataset"):
        gpgen.convert(tmp_path / "none.zarr", out)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_replaced_when_asked(source: Path, tmp_path: Path) -> None:
    out = tmp_path / PATTERN
    gpgen.convert(source, out, shard_size=10)
    before = hashes(tmp_path)
    with pytest.raises(TargetError, match=r"test-00000.parquet exists; .*overwrite=True"):
        gpgen.convert(source, out)
    assert hashes(tmp_path) == before
    (tmp_path / "other-00000.parquet").write_bytes(b"PAR1")
    gpgen.convert(source, out, overwrite=True)
    assert sorted(hashes(tmp_path)) == [
        "other-00000.parquet",
        "test-00000.parquet",
        "train-00000.parquet",
        "validation-00000.parquet",
    ]
    (tmp_path / "train-00000.parquet").write_text("dear")
    with pytest.raises(TargetError, match="is no such file"):
        gpgen.convert(source, out, overwrite=True)
    assert (tmp_path / "train-00000.parquet").read_text() == "dear"


def test_an_npz_holds_every_value(source: Path, tmp_path: Path) -> None:
    gpgen.convert(source, tmp_path / "{split}.npz")
    gpgen.convert(source, tmp_path / "all.npz", classes=[1, 2])
    with gpgen.open_dataset(source) as dataset:
        for name, view in (
            ("train", dataset.split("train")),
            ("all", dataset.subset(classes=[1, 2])),
        ):
            with np.load(tmp_path / f"{name}.npz", allow_pickle=False) as arrays:
                assert arrays["index"].tolist() == view.indices.tolist()
                assert tuple(arrays["classes"]) == dataset.classes
                assert tuple(arrays["splits"]) == dataset.splits
                for array in ("image", "label", "length_scales", "seed"):
                    expected = getattr(view, array)[:]
                    assert arrays[array].dtype == expected.dtype
                    assert np.array_equal(arrays[array], expected)
                if name == "all":
                    assert np.array_equal(arrays["split_code"], view.split_code[:])
    before = hashes(tmp_path)
    gpgen.convert(source, tmp_path / "{split}.npz", overwrite=True)
    assert hashes(tmp_path) == before


def test_drawn_weights_and_scales_of_each_axis_are_written(tmp_path: Path) -> None:
    fields = Recipe.load("two-scale-mini").to_dict() | {"shape": [16, 24], "standardize": False}
    first, second = fields["components"]
    fields["components"] = [
        first | {"length_scales": [[2.0, 3.0]], "weight": {"low": 0.5, "high": 1.0}},
        second | {"length_scales": [6.0]},
    ]
    source = tmp_path / "d.zarr"
    with gpgen.make(fields, 3, source, workers=1) as dataset:
        weights, scales = dataset.weights[:].tolist(), dataset.length_scales[:].tolist()
    gpgen.convert(source, tmp_path / "a.parquet")
    gpgen.convert(source, tmp_path / "a.npz")
    gpgen.convert(source, f"{tmp_path}/p/")
    columns = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert (columns["weights"], columns["length_scales"]) == (weights, scales)
    with np.load(tmp_path / "a.npz") as arrays:
        assert (arrays["weights"].tolist(), arrays["length_scales"].tolist()) == (weights, scales)
    for row, numbers, lengths in zip(table(tmp_path / "p"), weights, scales, strict=True):
        assert [float(row[f"weight_{k}"]) for k in (1, 2)] == numbers
        columns_of_scales = [f"length_scale_{k}_{axis}" for k in (1, 2) for axis in "yx"]
        assert [float(row[name]) for name in columns_of_scales] == [*lengths[0], *lengths[1]]


def test_the_first_n(source: Path, tmp_path: Path) -> None:
    gpgen.convert(source, tmp_path / "a.npz", n=9, classes=2)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["index"].tolist() == [2, 6]
    with pytest.raises(UsageError, match=r"n is 76, and .* has 75 samples; leave out n"):
        gpgen.convert(source, tmp_path / "b.npz", n=76)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("pictures", "mode"), [("png16", "I;16"), ("png8", "L")])
def test_pictures_are_on_one_scale_that_is_told(
    pictures: gpgen.exporting.Pictures, mode: str, source: Path, tmp_path: Path
) -> None:
    from PIL import Image

    folder = tmp_path / "p"
    gpgen.convert(source, f"{folder}/", pictures=pictures, samples=slice(3, 33))
    grey = json.loads((folder / "pictures.json").read_text())["grey"]
    rows = table(folder)
    assert len(list(folder.iterdir())) == len(rows) + 2 == 32
    with gpgen.open_dataset(source) as dataset:
        values = dataset.image[3:33]
        assert (grey["black"], grey["white"]) == (values.min(), values.max())
        for index, row in enumerate(rows, 3):
            assert row == {
                "file_name": f"{index:08d}.png",
                "sample": str(index),
                "label": str(index % 4),
                "class": dataset.classes[index % 4],
                "length_scale_1": str(dataset.length_scales[index, 0]),
                "length_scale_2": str(dataset.length_scales[index, 1]),
                "seed": f"0x{dataset.seed[index]:016x}",
                "split": dataset.splits[dataset.split_code[index]],
            }
            with Image.open(folder / row["file_name"]) as picture:
                assert picture.mode == mode
                level = np.asarray(picture).astype(float)
            back = grey["black"] + (grey["white"] - grey["black"]) * level / grey["last_level"]
            assert abs(back - dataset.image[index]).max() <= grey["largest_error"] * (1 + 1e-6)


def test_pictures_as_numpys_files_hold_the_pixels(source: Path, tmp_path: Path) -> None:
    gpgen.convert(source, f"{tmp_path}/p/", pictures="npy", samples=[9, 4])
    assert [row["file_name"] for row in table(tmp_path / "p")] == ["00000009.npy", "00000004.npy"]
    with gpgen.open_dataset(source) as dataset:
        for index in (4, 9):
            image = np.load(tmp_path / "p" / f"{index:08d}.npy")
            assert image.dtype == np.float32
            assert np.array_equal(image, dataset.image[index])


def test_a_folder_is_replaced_only_if_it_holds_pictures(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    gpgen.convert(source, f"{folder}/", samples=slice(3))  # it was empty
    with pytest.raises(TargetError, match="p exists"):
        gpgen.convert(source, f"{folder}/", samples=slice(2))
    gpgen.convert(source, f"{folder}/", samples=slice(2), overwrite=True)
    assert len(table(folder)) == 2
    assert len(list(folder.iterdir())) == 4
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(TargetError, match=r"p exists and holds letter.txt"):
        gpgen.convert(source, f"{folder}/", overwrite=True)
    with pytest.raises(TargetError, match="is no folder of pictures"):
        gpgen.convert(source, f"{source.parent}/", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_what_can_be_no_picture_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sample is named twice"):
        gpgen.convert(source, f"{tmp_path}/p/", samples=[1, 1])
    with pytest.raises(UsageError, match=r"pictures is 'jpeg'; use one of png16"):
        gpgen.convert(source, f"{tmp_path}/p/", pictures="jpeg")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the target is no folder of pictures"):
        gpgen.convert(source, tmp_path / "p.zarr", pictures="png8")
    line = tmp_path / "line.zarr"
    gpgen.make({**Recipe.load("two-scale-mini").to_dict(), "shape": [64]}, 4, line).close()
    with pytest.raises(UsageError, match=r"an image has 1 axes.*; give pictures as npy"):
        gpgen.convert(line, f"{tmp_path}/p/")
    gpgen.convert(line, f"{tmp_path}/p/", pictures="npy")
    assert np.load(tmp_path / "p" / "00000003.npy").shape == (64,)


def test_netcdf_by_xarray_holds_every_value(source: Path, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    with gpgen.open_dataset(source) as dataset:
        data = dataset.subset(split="test").to_xarray()
        data.chunk(sample=4).to_netcdf(tmp_path / "test.nc", engine="h5netcdf")
        with xarray.open_dataset(tmp_path / "test.nc", engine="h5netcdf") as found:
            assert found.identical(data)
            assert found.seed.dtype == np.uint64
            recipe = Recipe.from_toml(found.attrs["recipe_toml"])
            assert recipe.sha256 == found.attrs["recipe_sha256"]


def test_damage_is_not_copied(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.zarr"
    gpgen.convert(source, copy, shard_size=20).close()
    shard = copy / "image" / "c.2.0.0"
    raw = bytearray(shard.read_bytes())
    raw[77] ^= 8
    shard.write_bytes(raw)
    with pytest.raises(DatasetError, match="sample 40 is damaged"):
        gpgen.convert(copy, tmp_path / PATTERN)
    assert [p.name for p in tmp_path.iterdir()] == ["copy.zarr"]


def test_the_command_line(source: Path, tmp_path: Path) -> None:
    words = ("--split", "train", "--class", "4-24", "--samples", ":40", "--json")
    told = run("convert", source, "some.parquet", *words, cwd=tmp_path)
    assert told.status == 0, told.err
    answer = json.loads(told.out)
    size = (tmp_path / "some.parquet").stat().st_size
    n = pq.read_metadata(tmp_path / "some.parquet").num_rows
    assert 0 < n < 10
    assert (answer["n"], answer["files"], answer["nbytes"]) == (n, 1, size)
    wrong = run("convert", source, "b.parquet", "--samples", "7", cwd=tmp_path)
    assert wrong.status == 2
    assert "is not a range like 0:1000" in wrong.err
