from __future__ import annotations

import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_tools import OUTS, drawn, tiny

from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import DatasetError, UsageError

N = 13
IMAGES = drawn(tiny(), N)


@pytest.fixture(params=OUTS)
def dataset(made, request):
    with open_dataset(made[request.param]) as dataset:
        yield dataset


@pytest.fixture(params=OUTS)
def own(made, request, tmp_path: Path) -> Path:
    """A dataset of each format to be damaged."""
    shutil.copytree(made[request.param].parent, tmp_path / "own")
    return tmp_path / "own" / request.param


def test_indexing_is_numpys(dataset: Dataset) -> None:
    keys = [
        0,
        -1,
        np.int64(3),
        slice(None),
        slice(2, 11, 3),
        slice(None, None, -1),
        slice(20, 30),
        [5, 1, 5],
        np.array([], int),
        np.arange(N) % 3 == 0,
        (4, 2),
        (slice(1, 4), slice(2, 5), 3),
        ([3, 2], ..., 0),
        (..., 1),
        ...,
        (2, 3, 4),
        (None, 2)[1],
    ]
    for key in keys:
        np.testing.assert_array_equal(dataset.image[key], IMAGES[key])
    labels = tiny().labels(0, N)
    for key in keys[:10]:
        np.testing.assert_array_equal(dataset.label[key], labels[key])
    np.testing.assert_array_equal(np.asarray(dataset.image), IMAGES)
    assert list(dataset.split_code) == tiny().split_codes(0, N).tolist()
    assert dataset.image.shape == IMAGES.shape
    assert len(dataset) == dataset.n == N


@settings(max_examples=40)
@given(indices=st.lists(st.integers(-N, N - 1), max_size=30))
def test_read_keeps_the_order_and_repeats_asked_for(made, indices) -> None:
    for path in made.values():
        with open_dataset(path) as dataset:
            np.testing.assert_array_equal(dataset.read(indices), IMAGES[indices])


@pytest.mark.parametrize(
    "indices",
    [
        [13],
        [-14],
        [0.5],
        [True, False],
        ["1"],
        10**30,
        [2**63],
        np.array([2**64 - 1], np.uint64),
    ],
)
def test_indices_that_name_no_sample_are_an_index_error(dataset: Dataset, indices) -> None:
    with pytest.raises(IndexError):
        dataset.image[indices]


def test_an_index_is_no_sample_of_a_torch_dataset_because_it_overflows(made) -> None:
    pytest.importorskip("torch")
    from gpgen.torch import TextureDataset

    dataset = TextureDataset(made["d.zarr"])
    for index in (2**64 - 1, 2**63, 2**70, np.uint64(2**64 - 1)):
        with pytest.raises(IndexError, match=f"sample {index} is out of range"):
            dataset[index]
        with pytest.raises(IndexError, match="out of range"):
            dataset.__getitems__([0, index])
    (first, _), (last, _) = dataset.__getitems__(np.array([0, N - 1], np.uint64))
    np.testing.assert_array_equal([first[0], last[0]], IMAGES[[0, N - 1]])


def test_splits_are_found_by_name_and_others_refused_with_those_that_are(dataset) -> None:
    codes = tiny().split_codes(0, N)
    for code, name in enumerate(("train", "validation", "test")):
        assert dataset.split(name).indices.tolist() == np.flatnonzero(codes == code).tolist()
    with pytest.raises(UsageError, match="train, validation, test"):
        dataset.split("tset")


def test_a_dataset_of_shards_opens_by_pattern_folder_manifest(made) -> None:
    pattern = made["d-{shard:03d}.h5"]
    for path in (pattern, str(pattern), pattern.parent, pattern.parent / "d-manifest.h5"):
        with open_dataset(path) as dataset:
            assert dataset.format == "hdf5-shards"
            np.testing.assert_array_equal(dataset.image[6], IMAGES[6])
    with pytest.raises(DatasetError, match="one shard of a dataset"):
        open_dataset(pattern.parent / "d-001.h5")


def test_opening_reads_nothing_but_the_manifest(own: Path) -> None:
    for path in [*own.parent.glob("d-0*.h5"), *own.parent.glob("d.zarr/image/c.*")]:
        path.unlink()
    for name in ("label", "seed", "crc32c"):
        shutil.rmtree(own.parent / "d.zarr" / name, ignore_errors=True)
    assert open_dataset(own).n == N


def test_it_pickles_and_reads_on(dataset: Dataset) -> None:
    dataset.read([1])
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    np.testing.assert_array_equal(copy.read([4]), IMAGES[[4]])
    assert copy.format == dataset.format
    copy.close()
    images = pickle.loads(pickle.dumps(dataset.image))  # noqa: S301 - as Dask's arrays need it
    np.testing.assert_array_equal(images[4], IMAGES[4])
    images.close()


def test_it_reads_on_after_being_closed(dataset: Dataset) -> None:
    dataset.read([1])
    dataset.close()
    np.testing.assert_array_equal(dataset.read([4]), IMAGES[[4]])


def test_threads_may_read_at_once(dataset: Dataset) -> None:
    with ThreadPoolExecutor(4) as pool:
        for k, images in enumerate(pool.map(lambda k: dataset.read([k, N - 1 - k]), range(N))):
            np.testing.assert_array_equal(images, IMAGES[[k, N - 1 - k]])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_files_are_closed_with_the_dataset_or_the_thread_that_opened_them(made) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for path in made.values():
        before = descriptors()
        for _ in range(20):
            np.testing.assert_array_equal(open_dataset(path).image[6], IMAGES[6])
        assert descriptors() == before
        with open_dataset(path) as dataset:
            for _ in range(20):
                thread = Thread(target=dataset.read, args=(range(N),))
                thread.start()
                thread.join()
            assert descriptors() == before
            dataset.read(range(N))
            assert descriptors() > before
        assert descriptors() == before


def _read_in_child(dataset: Dataset, results) -> None:
    results.put(dataset.read([2, 9]))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_another_process_may_read(made, method) -> None:
    context = multiprocessing.get_context(method)
    with open_dataset(made["d.zarr"]) as dataset:
        dataset.read([2])
        results = context.SimpleQueue()
        process = context.Process(target=_read_in_child, args=(dataset, results))
        process.start()
        np.testing.assert_array_equal(results.get(), IMAGES[[2, 9]])
        process.join()


def _image_file(own: Path, shard: int) -> tuple[Path, int]:
    """The file that holds a shard's images, and the byte at which they begin."""
    if own.suffix == ".zarr":
        return own / "image" / f"c.{shard}.0.0", 0
    path = own.parent / f"d-{shard:03d}.h5" if "{" in own.name else own
    with h5py.File(path) as file:
        offset = file["image"].id.get_offset()
    return path, offset if "{" in own.name else offset + shard * 4 * IMAGES[0].nbytes


def test_a_damaged_image_raises_and_the_others_read(own: Path) -> None:
    path, offset = _image_file(own, 1)
    with path.open("r+b") as file:
        file.seek(offset + 2 * IMAGES[0].nbytes + 77)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 16]))
    with open_dataset(own) as dataset:
        with pytest.raises(DatasetError, match=r"sample 6 is damaged.*gpgen verify") as caught:
            dataset.read([5, 6])
        assert str(path) in str(caught.value)
        np.testing.assert_array_equal(dataset.read([4, 5, 7]), IMAGES[[4, 5, 7]])


def test_a_missing_or_short_shard_raises_and_is_never_a_fill_value(own: Path) -> None:
    path, offset = _image_file(own, 2)
    with path.open("r+b") as file:
        file.truncate(offset + IMAGES[0].nbytes + 5)
    with pytest.raises(DatasetError, match=r"(?s)ends|early|HDF5"), open_dataset(own) as dataset:
        dataset.read([9])
    if own.suffix != ".h5" or "{" in own.name:
        path.unlink()
        with pytest.raises(DatasetError) as caught, open_dataset(own) as dataset:
            dataset.read([9])
        assert str(path) in str(caught.value)


def test_swapped_shards_raise_though_each_is_whole(own: Path) -> None:
    if own.suffix == ".h5" and "{" not in own.name:
        nbytes = 4 * IMAGES[0].nbytes
        path, offset = _image_file(own, 0)
        raw = bytearray(path.read_bytes())
        first, second = raw[offset : offset + nbytes], raw[offset + nbytes : offset + 2 * nbytes]
        raw[offset : offset + 2 * nbytes] = second + first
        path.write_bytes(raw)
    else:
        (a, _), (b, _) = _image_file(own, 0), _image_file(own, 1)
        a.rename(own.parent / "aside")
        b.rename(a)
        (own.parent / "aside").rename(b)
    with open_dataset(own) as dataset:
        for k in range(8):
            with pytest.raises(DatasetError, match=r"sample \d is damaged|does not belong"):
                dataset.read([k])
        np.testing.assert_array_equal(dataset.read([8]), IMAGES[[8]])


def test_a_damaged_label_or_seed_raises(made, tmp_path: Path) -> None:
    shutil.copytree(made["d.zarr"], tmp_path / "d.zarr")
    for name in ("label", "seed", "split", "length_scale"):
        path = next((tmp_path / "d.zarr" / name).glob("c.0*"))
        raw = bytearray(path.read_bytes())
        raw[0] ^= 1
        path.write_bytes(raw)
    with open_dataset(tmp_path / "d.zarr") as dataset:
        for array in (dataset.label, dataset.seed, dataset.split_code, dataset.length_scales):
            with pytest.raises(DatasetError, match="sample 0 is damaged"):
                array[:]


def test_what_is_no_dataset_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr" / "zarr.json").write_text('{"attributes": {}}')
    for name, words in {
        "missing.zarr": "there is no dataset",
        "missing.h5": "there is no dataset",
        "m-{shard}.h5": "there is no dataset",
        "empty.zarr": "an empty folder, not a gpgen dataset",
        "text.h5": "a text file, not a gpgen dataset",
        "other.h5": "not a gpgen dataset",
        "other.zarr": "not a gpgen dataset",
    }.items():
        with pytest.raises(DatasetError, match=words):
            open_dataset(tmp_path / name)


def test_a_newer_format_asks_for_a_newer_gpgen(made, tmp_path: Path) -> None:
    shutil.copytree(made["d.zarr"], tmp_path / "d.zarr")
    root = tmp_path / "d.zarr" / "zarr.json"
    root.write_text(root.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(DatasetError, match="install a newer gpgen"):
        open_dataset(tmp_path / "d.zarr")
