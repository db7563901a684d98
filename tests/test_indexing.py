"""An index means what it means to NumPy, in every reader, but that no scalar boolean is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_tools import drawn, tiny, tiny_make

import gpgen
from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import SampleIndexError, UsageError
from gpgen.indexing import samples_of_key
from gpgen.making.converting import convert

N = 13
IMAGES = drawn(tiny(), N)
SHAPE = IMAGES.shape
LABELS = tiny().labels(0, N)
WHAT = {
    "image": IMAGES,
    "label": LABELS,
    "length_scales": tiny().length_scale_array(0, N),
    "split_code": tiny().split_codes(0, N),
}


@pytest.fixture(scope="module")
def datasets(made, tmp_path_factory) -> list[Dataset]:
    """One of each format."""
    tars = tmp_path_factory.mktemp("tars") / "d-{shard:03d}.tar"
    convert(made["d.zarr"], tars).close()
    opened = [open_dataset(path) for path in (*made.values(), tars)]
    assert len({dataset.format for dataset in opened}) == 4
    yield opened
    for dataset in opened:
        dataset.close()


@st.composite
def _parts(draw, size: int):
    """What may stand for one axis, in range and out of it."""
    number = st.integers(-size - 1, size)
    inside = st.integers(-size, size - 1)
    length = draw(st.integers(0, 4))
    return draw(
        st.one_of(
            inside,
            number,
            inside.map(np.int64),
            inside.map(np.array),
            st.builds(slice, *[st.none() | number] * 2, st.sampled_from([None, 1, 2, -1, -3])),
            st.lists(inside, min_size=length, max_size=length),
            st.lists(number, max_size=3),
            st.lists(inside, min_size=2, max_size=2).map(lambda x: np.array([x, x[::-1]])),
            st.lists(st.booleans(), min_size=size, max_size=size).map(np.array),
            st.lists(st.booleans(), min_size=1, max_size=3),
            st.just(np.array([], int)),
        )
    )


@st.composite
def _keys(draw, shape: tuple[int, ...]):
    parts = [draw(_parts(size)) for size in shape[: draw(st.integers(0, len(shape)))]]
    for extra in draw(st.lists(st.sampled_from([None, ..., 0]), max_size=2)):
        parts.insert(draw(st.integers(0, len(parts))), extra)
    if len(shape) > 1 and draw(st.booleans()) and len(parts) < 2:
        wide = np.random.default_rng(draw(st.integers(0, 9))).random(shape[:2]) < 0.1
        parts.insert(0, wide)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def _same(lazy, array: np.ndarray, key: object) -> None:
    try:
        expected = array[key]
    except (IndexError, TypeError):
        with pytest.raises(SampleIndexError) as caught:
            lazy[key]
        assert "\n" not in str(caught.value)
        return
    found = lazy[key]
    assert (type(found), found.shape, found.dtype) == (
        type(expected),
        expected.shape,
        expected.dtype.newbyteorder("="),
    )
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=200)
@given(key=_keys(SHAPE))
def test_images_are_indexed_as_an_array_in_every_format(datasets, key) -> None:
    for dataset in datasets:
        _same(dataset.image, IMAGES, key)


@given(key=_keys((N, 2)))
def test_small_arrays_are_indexed_as_arrays_in_every_format(datasets, key) -> None:
    for dataset in datasets:
        for name, array in WHAT.items():
            if name != "image":
                _same(getattr(dataset, name), array, key)


KEYS = {
    "an empty tuple": (),
    "a new last axis": (..., None),
    "paired numbers": ([0, 1], [2, 3]),
    "paired numbers, broadcast": ([[0], [1]], [2, 3]),
    "numbers apart": ([0, 1], slice(None), [2, 3]),
    "a new axis before numbers apart": (None, [0, 1], slice(None), 3),
    "a number between new axes": (None, 5, None, ..., 2),
    "numbers in two dimensions": [[1, 2], [2, -1]],
    "a range": range(3, 12, 4),
    "unsigned numbers": np.array([3, 12], np.uint64),
    "a mask of pixels": IMAGES > 1,
    "a mask of lines": IMAGES[:, :, 0] > 1,
    "a mask, then a number": (LABELS == 1, 3),
    "a mask, then numbers": (LABELS == 1, 3, [1] * 6),
    "a mask of an image's lines": (slice(3, 5), np.arange(16) % 5 == 0),
    "an ellipsis for no axis": (2, ..., 3, 4),
    "backwards": slice(None, None, -5),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_kinds_of_keys_give_what_numpy_gives(datasets, key) -> None:
    for dataset in datasets:
        np.testing.assert_array_equal(dataset.image[key], IMAGES[key])
        assert dataset.image[key].shape == IMAGES[key].shape


NONE = {
    "True": True,
    "np.False_": np.False_,
    "a boolean of no dimension": np.array(True),
    "True for an axis": (0, True),
    "2.9": 2.9,
    "np.float64": np.float64(2),
    "floats": [0.0, 1.0],
    "an empty array of floats": np.array([]),
    "a boolean among numbers": [True, 2],
    "text": "image",
    "texts": ["1"],
    "ragged": [[1], [1, 2]],
    "a dictionary": {},
    "a mask too short": [True, False],
    "a mask too long": np.ones(N + 1, bool),
    "a mask of another shape": np.ones((N, 3), bool),
    "out of range": N,
    "out of range below": [-N - 1],
    "beyond int64": 2**64 - 1,
    "beyond uint64": [0, 2**70],
    "uint64 beside a number": [0, np.uint64(2**64 - 1)],
    "two ellipses": (..., ...),
    "too many": (0, 0, 0, 0),
    "a slice of floats": slice(0, 2.5),
    "a pixel out of range": (slice(None), 16),
    "numbers that don't pair": ([0, 1], [0, 1, 2]),
}


@pytest.mark.parametrize("key", NONE.values(), ids=NONE)
def test_what_is_no_index_is_refused_in_one_line_before_anything_is_read(
    datasets, key, monkeypatch
) -> None:
    for dataset in datasets:
        monkeypatch.setattr(type(dataset.image), "read", None)
        with pytest.raises(IndexError) as caught:
            dataset.image[key]
        assert isinstance(caught.value, SampleIndexError)
        assert str(caught.value).isprintable()
        if not isinstance(key, tuple):
            with pytest.raises(SampleIndexError):
                dataset.read(key)


def test_read_takes_one_dimension_only(datasets) -> None:
    for key in (3, np.int64(3), [[1, 2]], slice(2), None, ...):
        with pytest.raises(SampleIndexError, match="is no index of samples"):
            datasets[0].read(key)
    np.testing.assert_array_equal(datasets[0].read(LABELS == 1), IMAGES[LABELS == 1])


def test_small_arrays_compare_and_calculate_as_arrays(datasets) -> None:
    for ds in datasets:
        np.testing.assert_array_equal(ds.image[ds.label == 0], IMAGES[LABELS == 0])
        mask = (ds.label != 0) & (ds.split_code == 0) & (ds.length_scales[:, 1] < 5)
        codes = tiny().split_codes(0, N)
        np.testing.assert_array_equal(ds.image[mask], IMAGES[(LABELS != 0) & (codes == 0)])
        np.testing.assert_array_equal(ds.image[ds.label], IMAGES[LABELS])
        np.testing.assert_array_equal(ds.label == ds.label, np.ones(N, bool))
        np.testing.assert_array_equal(1 - ds.label % 2, 1 - LABELS % 2)
        np.testing.assert_array_equal(np.sqrt(ds.length_scales), np.sqrt(WHAT["length_scales"]))
        np.testing.assert_array_equal(ds.image > 1, IMAGES > 1)
        assert np.add.reduce(ds.label) == LABELS.sum()
        total = np.zeros(N, int)
        total += ds.label
        np.testing.assert_array_equal(total, LABELS)
        with pytest.raises(TypeError):
            ds.label += 1
        np.testing.assert_array_equal(ds.label[:], LABELS)


def test_only_the_samples_asked_for_are_read(made, monkeypatch) -> None:
    with open_dataset(made["d.zarr"]) as dataset:
        read = []
        whole = type(dataset.image).read
        monkeypatch.setattr(
            type(dataset.image), "read", lambda self, i: read.append(i.tolist()) or whole(self, i)
        )
        for key in (7, [5, 1, 5], slice(2, 9, 3), ([9, 3, 9], [1, 2, 3]), IMAGES[4] == IMAGES):
            np.testing.assert_array_equal(dataset.image[key], IMAGES[key])
        assert read == [[7], [5, 1, 5], [2, 5, 8], [3, 9], [4]]


def test_a_sample_of_a_billion_costs_no_list_of_a_billion() -> None:
    shape = (10**12, 64, 64)
    for key, wanted in {5: [5], -1: [10**12 - 1]}.items():
        samples, _ = samples_of_key(key, shape)
        assert samples.tolist() == wanted
    samples, _ = samples_of_key(slice(-3, None), shape)
    assert samples.tolist() == [10**12 - 3, 10**12 - 2, 10**12 - 1]


def test_labels_far_apart_and_in_any_order_are_read_in_runs(tmp_path, monkeypatch) -> None:
    recipe = tiny(shape=[2], standardize=False)
    n = 200_000
    with tiny_make(tmp_path / "l.h5", n=n, recipe=recipe, shard_size=n) as dataset:
        seeds = dataset.seed[:]
        wanted = np.array([n - 1, 3, 3, 150_000, 0, n - 2])
        spans = []
        rows = type(dataset.reader).rows
        monkeypatch.setattr(
            type(dataset.reader),
            "rows",
            lambda self, name, a, b: spans.append(b - a) or rows(self, name, a, b),
        )
        np.testing.assert_array_equal(dataset.seed[wanted], seeds[wanted])
        assert sum(spans) < n
        np.testing.assert_array_equal(dataset.seed[::-1], seeds[::-1])
        np.testing.assert_array_equal(dataset.seed[::50_000], seeds[::50_000])


def test_torch_datasets_take_whole_numbers_in_range_and_nothing_else(made) -> None:
    torch = pytest.importorskip("torch")
    from gpgen.torch import GeneratedTextures, TextureDataset, sample_batch

    stored, generated = TextureDataset(made["d.zarr"]), GeneratedTextures(tiny(), N)
    one = GeneratedTextures(tiny(), 1)  # of which [True] would be a mask
    for dataset in (stored, generated):
        for index in (4, np.int64(4), np.array(4), np.uint8(4), torch.tensor(4), 4 - N):
            np.testing.assert_array_equal(dataset[index][0][0], IMAGES[4])
        for many in ([4, -1], np.array([4, -1]), torch.tensor([4, -1]), range(4, 13, 8)):
            images = [image[0] for image, _ in dataset.__getitems__(many)]
            np.testing.assert_array_equal(images, IMAGES[[4, -1]])
        mask = np.isin(np.arange(N), [4, N - 1])
        for many in ([4, -1], np.array([4, -1]), torch.tensor([4, -1]), mask, mask.tolist()):
            np.testing.assert_array_equal(dataset[many][0][:, 0], IMAGES[[4, -1]])
        assert dataset.__getitems__([]) == []
    several = (slice(2), (0, 1), None, ..., [2.9], [0, True])
    for index in (True, False, np.True_, 2.9, 2.0, np.float32(1), torch.tensor(1.0), "1", *several):
        for dataset in (stored, generated, one):
            with pytest.raises(SampleIndexError, match="is no index of samples"):
                dataset[index]
    for index in ([2.9], [True], [0, True], [[0, 1]], 3, torch.tensor([0.0]), ["1"]):
        with pytest.raises(SampleIndexError):
            stored.__getitems__(index)
    split = TextureDataset(made["d.zarr"], split="validation")
    with pytest.raises(SampleIndexError, match=r"the split 'validation' has \d+ samples"):
        split[99]
    np.testing.assert_array_equal(sample_batch(tiny(), torch.tensor([4, 0]))[:, 0], IMAGES[[4, 0]])
    for index in ([2.9], [True], [-1], [0, 2**63], torch.tensor([1.5]), "1"):
        with pytest.raises(SampleIndexError):
            sample_batch(tiny(), index)


@pytest.mark.parametrize(
    "arguments",
    [
        {"index": True},
        {"index": 2.9},
        {"index": np.float64(2)},
        {"index": "1"},
        {"seed": 2.5, "label": 0},
        {"seed": 2, "label": True},
    ],
)
def test_a_sample_is_drawn_by_whole_numbers_only(arguments) -> None:
    import gpgen
    from gpgen.errors import UsageError

    with pytest.raises(UsageError, match="give a whole number"):
        gpgen.sample(tiny(), **arguments)


def test_counts_are_whole_numbers_of_numpy_too(made, tmp_path) -> None:
    four = np.int64(4)
    plan = gpgen.plan(tiny(), four, tmp_path / "d.zarr", shard_size=np.uint8(2), workers=four)
    assert (plan.n, plan.shard_size, plan.workers) == (4, 2, 4)
    assert {type(number) for number in (plan.n, plan.shard_size, plan.workers)} == {int}
    with gpgen.make(tiny(), four, tmp_path / "d.zarr") as dataset:
        np.testing.assert_array_equal(dataset.image[:], IMAGES[:4])
    with convert(made["d.zarr"], tmp_path / "d.h5", n=np.int32(2)) as copy:
        assert copy.n == 2
    assert gpgen.verify(made["d.zarr"], regenerate=four).samples_regenerated == 4
    for wrong in (np.bool_(True), True, 4.0, np.float64(4), "4", np.array([4]), np.int64(0)):
        with pytest.raises(UsageError, match=r"n is .*ask for 1 sample or more"):
            gpgen.plan(tiny(), wrong, tmp_path / "no.zarr")


@pytest.mark.parametrize("what", ["labels", "length_scale_array", "weight_array", "split_codes"])
def test_a_recipes_samples_are_counted_from_0(what) -> None:
    told = getattr(tiny(), what)
    assert len(told(np.int64(2), 4)) == 2
    for start, stop in ((-1, 2), (0, 2.5), ("0", 2), (-3, -1)):
        with pytest.raises(UsageError, match="use 0 or more"):
            told(start, stop)
