from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpgen.errors import UsageError
from gpgen.format.layout import CHUNK_BYTES, MOST_SAMPLES, SHARD_BYTES, Target, choose_layout


@given(
    nbytes=st.integers(1, 2**30),
    n=st.integers(1, 10**9),
    chunk=st.none() | st.integers(1, 5000),
    shards=st.none() | st.integers(1, 50),
)
def test_shards_are_whole_chunks_and_cover_every_sample_once(nbytes, n, chunk, shards) -> None:
    size = None if shards is None else shards * (chunk or 7)
    layout = choose_layout("zarr", nbytes, n, chunk, size)
    assert layout.shard_size % layout.chunk_size == 0
    assert layout.bounds(0)[0] == 0
    assert layout.bounds(layout.shards - 1)[1] == n
    start, stop = layout.bounds(layout.shards // 2)
    assert start < stop
    if layout.shards > 1:
        assert layout.bounds(1)[0] == layout.bounds(0)[1] == layout.shard_size
    if chunk is not None:
        assert layout.chunk_size == chunk
    if size is not None:
        assert layout.shard_size in (size, -(-n // layout.chunk_size) * layout.chunk_size)


@given(nbytes=st.integers(1, 2**30), n=st.integers(1, 10**9))
def test_usual_sizes_stay_within_their_bytes(nbytes, n) -> None:
    for form in ("zarr", "hdf5"):
        layout = choose_layout(form, nbytes, n)
        assert layout.shard_size == 1 or layout.shard_size * nbytes <= SHARD_BYTES
        if layout.chunk_size is not None:
            assert layout.chunk_size == 1 or layout.chunk_size * nbytes <= CHUNK_BYTES


def test_a_small_dataset_still_has_work_for_several_workers() -> None:
    assert choose_layout("zarr", 64 * 64 * 4, 10_000).shards >= 8
    assert choose_layout("zarr", 2**22, 2000).shard_size == 64


def test_sizes_that_do_not_fit_each_other_are_refused_with_one_that_does() -> None:
    with pytest.raises(UsageError, match="try shard_size 12"):
        choose_layout("zarr", 100, 50, 4, 10)
    with pytest.raises(UsageError, match="only Zarr"):
        choose_layout("hdf5", 100, 50, 4, None)


@pytest.mark.parametrize("n", [0, -1, 1.5, "3", True])
def test_a_number_of_samples_below_one_or_not_whole_is_refused(n) -> None:
    with pytest.raises(UsageError, match="n is"):
        choose_layout("zarr", 100, n)


@pytest.mark.parametrize("size", [0, -4, 2.0, True])
def test_sizes_below_one_are_refused(size) -> None:
    for sizes in ({"chunk_size": size}, {"shard_size": size}):
        with pytest.raises(UsageError, match="_size is"):
            choose_layout("zarr", 100, 10, **sizes)


def test_what_a_reader_would_not_believe_is_not_laid_out() -> None:
    assert choose_layout("hdf5", 4, MOST_SAMPLES).n == MOST_SAMPLES
    with pytest.raises(UsageError, match=f"{MOST_SAMPLES} samples are the most"):
        choose_layout("hdf5", 4, MOST_SAMPLES + 1)
    for sizes in ({"chunk_size": 2 * MOST_SAMPLES}, {"shard_size": 2 * MOST_SAMPLES}):
        with pytest.raises(UsageError, match="samples are the most"):
            choose_layout("zarr", 4, 10, **sizes)
    with pytest.raises(UsageError, match="ask for at most 4398046511104 samples"):
        choose_layout("hdf5", 2**20, 2**42 + 1)


def test_the_format_follows_from_the_name() -> None:
    assert Target.parse("a/b.zarr").form == "zarr"
    assert Target.parse("b.h5").form == Target.parse("b.hdf5").form == "hdf5"
    shards = Target.parse("x/data-{shard:05d}.h5")
    assert shards.form == "hdf5-shards"
    assert shards.shard_name(7) == "data-00007.h5"
    assert shards.shard_name(1_234_567) == "data-1234567.h5"
    assert shards.manifest.name == "data-manifest.h5"
    assert Target.parse("{shard}.h5").shard_name(12) == "12.h5"


@pytest.mark.parametrize(
    "name", ["data", "data.tar", "data-{shard}.zarr", "{shard}-{shard}.h5", "{shard}/a.h5"]
)
def test_a_name_that_no_format_has_is_refused_with_those_that_have(name) -> None:
    with pytest.raises(UsageError, match=r"name it like data\.zarr"):
        Target.parse(name)


@given(shard=st.integers(0, 10**7))
def test_a_shard_is_recognised_by_its_own_name_only(shard) -> None:
    target = Target(Path("/d/a.{shard:03d}.h5"), "hdf5-shards")
    assert target.shard_number(target.shard_name(shard)) == shard
    for name in (f"a.0000{shard}.h5", f"b.{shard:03d}.h5", f"axx{shard:03d}.h5", "a.manifest.h5"):
        assert target.shard_number(name) is None
