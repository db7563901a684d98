"""A dataset as a sequence of samples, its views, and what notebooks, xarray and zarr see of it."""

from __future__ import annotations

import base64
import itertools
import pickle
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_tools import OUTS, drawn, tiny

import gpgen
from gpgen.dataset import Dataset, DatasetView, open_dataset
from gpgen.errors import DatasetError, MissingPackageError, UsageError

N = 13
IMAGES = drawn(tiny(), N)
ARRAYS = ("image", "label", "length_scales", "seed", "split_code")


@pytest.fixture(params=OUTS)
def dataset(made, request):
    with open_dataset(made[request.param]) as dataset:
        yield dataset


@pytest.fixture
def zarr_dataset(made):
    with open_dataset(made["d.zarr"]) as dataset:
        yield dataset


def _same(sample: gpgen.Sample, index: int) -> None:
    expected = gpgen.sample(tiny(), index)
    np.testing.assert_array_equal(sample.image, IMAGES[index])
    for name in ("label", "class_name", "length_scales", "seed", "index"):
        assert getattr(sample, name) == getattr(expected, name), name
        assert type(getattr(sample, name)) is type(getattr(expected, name)), name


def test_a_sample_is_what_the_recipe_draws(dataset: Dataset) -> None:
    for key, index in [(0, 0), (7, 7), (-1, N - 1), (np.int64(3), 3), (np.array(4), 4)]:
        _same(dataset[key], index)
        _same(dataset[::-1][key], N - 1 - index)


def test_a_loop_gives_every_sample_once_in_order(dataset: Dataset, monkeypatch) -> None:
    monkeypatch.setattr("gpgen.dataset.samples.batch_size", lambda recipe: 4)
    for index, sample in itertools.zip_longest(range(N), dataset):
        _same(sample, index)
    for index, sample in itertools.zip_longest([9, 2, 9], dataset[[9, 2, 9]]):
        _same(sample, index)


def test_a_loop_reads_many_samples_at_once(zarr_dataset: Dataset, monkeypatch) -> None:
    reads = []
    real = type(zarr_dataset.image).read

    def noting(self, indices):
        reads.append(len(indices))
        return real(self, indices)

    monkeypatch.setattr(type(zarr_dataset.image), "read", noting)
    assert len(list(zarr_dataset)) == N
    assert reads == [N]


def test_a_kept_sample_does_not_keep_the_others_in_memory(zarr_dataset: Dataset) -> None:
    for sample in zarr_dataset:
        assert sample.image.base is None


def test_a_loop_gives_what_comes_before_a_damaged_sample(made, tmp_path: Path) -> None:
    shutil.copytree(made["d.zarr"], tmp_path / "d.zarr")
    path = tmp_path / "d.zarr" / "image" / "c.1.0.0"
    raw = bytearray(path.read_bytes())
    raw[2 * IMAGES[0].nbytes + 5] ^= 4
    path.write_bytes(raw)
    with open_dataset(tmp_path / "d.zarr") as dataset:
        samples = iter(dataset)
        assert [next(samples).index for _ in range(6)] == list(range(6))
        with pytest.raises(DatasetError, match="sample 6"):
            next(samples)


@pytest.mark.parametrize(
    "key", [N, -N - 1, 2**70, True, np.True_, 0.5, "0", None, [0.5], [N], [True]]
)
def test_what_names_no_sample_is_an_index_error(zarr_dataset: Dataset, key) -> None:
    for samples in (zarr_dataset, zarr_dataset[::-1]):
        with pytest.raises(IndexError):
            samples[key]


def test_what_iterates_by_index_comes_to_an_end(zarr_dataset: Dataset) -> None:
    class Sequence:
        def __getitem__(self, index: int) -> int:
            return zarr_dataset[index].index

    assert list(Sequence()) == list(range(N))


KEYS = st.one_of(
    st.slices(N),
    st.lists(st.integers(-N, N - 1), max_size=20),
    st.lists(st.booleans(), min_size=N, max_size=N).map(np.array),
)


@given(key=KEYS)
def test_views_hold_what_numpy_would_choose(made, key) -> None:
    with open_dataset(made["d.zarr"]) as dataset:
        view = dataset[key]
        chosen = np.arange(N)[key]
        assert len(view) == len(chosen)
        np.testing.assert_array_equal(view.indices, chosen)
        for name in ARRAYS:
            array = getattr(view, name)
            assert array.shape == (len(chosen), *getattr(dataset, name).shape[1:])
            np.testing.assert_array_equal(array[:], getattr(dataset, name)[:][chosen])
        assert [sample.index for sample in view] == chosen.tolist()
        np.testing.assert_array_equal(view[::-1].indices, chosen[::-1])


def test_splits_and_classes_are_chosen_by_name(dataset: Dataset) -> None:
    labels, codes = np.arange(N) % 2, tiny().split_codes(0, N)
    for code, name in enumerate(dataset.splits):
        view = dataset.split(name)
        assert view.indices.tolist() == np.flatnonzero(codes == code).tolist()
        assert (view.split_code[:] == code).all()
    for classes in ("2-4", 1, [1], ["2-4"], -1, np.int64(1)):
        assert dataset.subset(classes=classes).indices.tolist() == [1, 3, 5, 7, 9, 11]
    both = dataset.subset(range(6), classes=["1.5-4", 1], split="train")
    assert both.indices.tolist() == [k for k in range(6) if codes[k] == 0]
    one = dataset.split("train").subset(classes=0)
    assert one.indices.tolist() == np.flatnonzero((codes == 0) & (labels == 0)).tolist()
    assert dataset.split("train").subset(split="test").indices.tolist() == []
    assert not len(dataset.subset(classes=[]))


def test_a_split_or_class_that_does_not_exist_is_refused_with_those_that_do(zarr_dataset) -> None:
    with pytest.raises(UsageError, match="train, validation, test"):
        zarr_dataset.split("tset")
    with pytest.raises(UsageError, match=r"1\.5-4, 2-4"):
        zarr_dataset.subset(classes="3")
    for wrong in (2, True, 0.5):
        with pytest.raises(UsageError):
            zarr_dataset.subset(classes=wrong)


def test_a_view_is_read_only_pickles_and_says_what_it_is(zarr_dataset: Dataset) -> None:
    view = zarr_dataset.split("train")
    with pytest.raises(TypeError):
        view.image[0] = 0
    again = pickle.loads(pickle.dumps(view))  # noqa: S301
    np.testing.assert_array_equal(again.image[:], view.image[:])
    assert (
        repr(view)
        == f"<DatasetView of {zarr_dataset.path}: {len(view)} samples 16 x 24, 2 classes>"
    )


def test_a_view_of_a_whole_split_lists_no_indices() -> None:
    """A split of a billion samples is computed."""
    from gpgen.splits import ComputedSplit

    class Huge(Dataset):
        def __init__(self) -> None:
            self.recipe = tiny()
            self.manifest = type("Manifest", (), {"n": 10**9, "split_names": ["train", "test"]})()
            self.path = Path("huge")
            self.reader = None

        def __len__(self) -> int:
            return 10**9

    view = Huge().split("train")
    assert isinstance(view.chosen, ComputedSplit)
    assert len(view) > 10**8


def test_a_torch_dataset_takes_a_dataset_or_a_view(dataset: Dataset) -> None:
    from gpgen.torch import TextureDataset

    view = dataset.subset(classes=1)
    textures = TextureDataset(view)
    assert len(textures) == len(view)
    assert textures.targets.tolist() == [1] * len(view)
    for position, (image, label) in enumerate(textures):
        np.testing.assert_array_equal(image[0], view[position].image)
        assert label == 1
    train = TextureDataset(view, split="train")
    assert train.indices.tolist() == view.split("train").indices.tolist()
    assert len(TextureDataset(dataset)) == N
    with pytest.raises(UsageError, match="no sample of the view is in the split 'test'"):
        TextureDataset(dataset.split("train"), split="test")
    assert len(TextureDataset(dataset, split="test")) == len(dataset.split("test"))
    again = pickle.loads(pickle.dumps(train))  # noqa: S301
    assert again.indices.tolist() == train.indices.tolist()
    with pytest.raises(UsageError, match="ascending"):
        TextureDataset(dataset[::-1])


def test_a_notebook_shows_thumbnails(dataset: Dataset) -> None:
    shown = dataset.split("train")._repr_html_()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert 1 <= len(pictures) <= 6
    assert base64.b64decode(pictures[0]).startswith(b"\x89PNG\r\n\x1a\n")
    assert "0: 1.5-4" in shown
    assert "2 classes" in shown
    assert "img" not in dataset[[]]._repr_html_()


def test_a_contact_sheet_of_a_view_has_each_image_in_its_class(dataset: Dataset) -> None:
    view = dataset[[1, 3, 4, 5, 6]]
    sheet = gpgen.plots.contact_sheet(view, columns=2)
    drawn = [axes.images[0].get_array() for axes in sheet.axes if axes.images]
    for image, index in zip(drawn, [4, 6, 1, 3], strict=True):
        np.testing.assert_array_equal(image, IMAGES[index])
    with pytest.raises(UsageError, match="no samples"):
        gpgen.plots.contact_sheet(dataset[:0])


def test_a_notebook_shows_damage_in_words(made, tmp_path: Path) -> None:
    shutil.copytree(made["d.zarr"], tmp_path / "d<b>.zarr")
    (tmp_path / "d<b>.zarr" / "image" / "c.0.0.0").unlink()
    with open_dataset(tmp_path / "d<b>.zarr") as dataset:
        shown = dataset._repr_html_()
    assert "d&lt;b&gt;.zarr" in shown
    assert "<b>" not in shown
    assert "<img" not in shown


def test_a_notebook_without_matplotlib_says_what_to_install(zarr_dataset, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.image", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "gpgen[plot]" in zarr_dataset._repr_html_()


def test_xarray_reads_what_is_asked_for(dataset: Dataset, monkeypatch) -> None:
    data = dataset.to_xarray()
    assert data.image.dims == ("sample", "y", "x")
    assert data.length_scales.dims == ("sample", "component")
    assert data.length_scales.attrs["units"] == "pixel"
    reads = []
    real = type(dataset.image).read

    def noting(self, indices):
        reads.extend(indices.tolist())
        return real(self, indices)

    monkeypatch.setattr(type(dataset.image), "read", noting)
    np.testing.assert_array_equal(data.image.sel(sample=7), IMAGES[7])
    np.testing.assert_array_equal(data.image[[5, 2], 3], IMAGES[[5, 2], 3])
    assert sorted(set(reads)) == [2, 5, 7]
    for key in [
        (slice(None, None, -2), slice(2, 5), 3),
        (4, [1, 3], slice(None, None, -1)),
        ([1, 2], [3, 4], [5, 6, 7]),
        (slice(3), 1, 2),
        (0, 0, 0),
    ]:
        lists = [k if isinstance(k, slice | int) else np.array(k) for k in key]
        expected = IMAGES
        for axis in (2, 1, 0):
            expected = expected[(slice(None),) * axis + (lists[axis],)]
        np.testing.assert_array_equal(data.image[key], expected, str(key))
    assert data.class_name.values.tolist() == [tiny().classes[k % 2] for k in range(N)]
    assert data.split.values.tolist() == [dataset.splits[code] for code in tiny().split_codes(0, N)]
    np.testing.assert_array_equal(data.seed, dataset.seed[:])
    np.testing.assert_array_equal(data.image, IMAGES)
    view = dataset.subset(classes=1).to_xarray()
    assert view.sample.values.tolist() == [1, 3, 5, 7, 9, 11]
    np.testing.assert_array_equal(view.image.sel(sample=5), IMAGES[5])


def test_xarray_divides_the_work_with_dask(zarr_dataset: Dataset) -> None:
    mean = zarr_dataset.to_xarray().chunk(sample=4).image.mean(("y", "x"))
    np.testing.assert_allclose(mean.compute(), IMAGES.mean((1, 2)), atol=1e-6)


def test_zarr_python_opens_a_dataset_to_be_read(zarr_dataset: Dataset) -> None:
    group = zarr_dataset.to_zarr()
    np.testing.assert_array_equal(group["image"][7], IMAGES[7])
    assert group.attrs["recipe_sha256"] == tiny().sha256
    with pytest.raises(Exception, match="read-only"):
        group["label"][0] = 1


@pytest.mark.parametrize("out", [out for out in OUTS if out != "d.zarr"])
def test_what_is_no_zarr_group_is_refused_with_the_way_to_one(made, out) -> None:
    with open_dataset(made[out]) as dataset, pytest.raises(UsageError, match=r"gpgen\.convert"):
        dataset.to_zarr()


@pytest.mark.parametrize("package", ["xarray", "zarr"])
def test_a_missing_package_is_named(zarr_dataset, monkeypatch, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "gpgen.dataset.in_xarray", raising=False)
    with pytest.raises(MissingPackageError, match=rf"gpgen\[{package}\]"):
        getattr(zarr_dataset, f"to_{package}")()


def test_views_are_read_by_the_public_names() -> None:
    assert issubclass(DatasetView, gpgen.dataset.Samples)
    assert not issubclass(DatasetView, gpgen.Dataset)
