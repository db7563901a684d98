"""A dataset that is replaced or removed while somebody reads it: told as that, never as damage."""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from publish_help import publication
from store_tools import OUTS, drawn, tiny, tiny_make

from gpgen import open_dataset, verify
from gpgen.errors import DatasetError
from gpgen.making.converting import convert
from gpgen.publish.packaging import package
from gpgen.torch import TextureDataset

FORMS = (*OUTS, "d-{shard:03d}.tar")
N = 13
TOLD = "was replaced or removed since it was opened; open it again"


def make(out: Path, **changes) -> None:
    if out.suffix != ".tar":
        tiny_make(out, recipe=tiny(**changes), overwrite=True).close()
        return
    source = out.with_name("source.h5")
    tiny_make(source, recipe=tiny(**changes), overwrite=True).close()
    convert(source, out, shard_size=4, overwrite=True).close()
    source.unlink()


def value_or_told(read: Callable) -> np.ndarray | None:
    """Return what is read, or nothing where it is told that the dataset was replaced."""
    with contextlib.suppress(DatasetError):
        return read()
    with pytest.raises(DatasetError, match=TOLD):
        read()
    return None


# Alike but for its pixels; of other labels; of another size.
OTHERS = [{"seed": 6}, {"splits": {"a": 0.5, "b": 0.5}}, {"shape": [8, 8]}]


@pytest.mark.parametrize("changes", OTHERS, ids=["seed", "splits", "shape"])
@pytest.mark.parametrize("out", FORMS)
def test_what_is_read_is_the_dataset_that_was_opened_or_nothing(
    tmp_path: Path, out, changes
) -> None:
    """The new one's samples used to be given as the old one's where both were alike."""
    make(tmp_path / out)
    expected = drawn(tiny(), N)
    used, fresh = open_dataset(tmp_path / out), open_dataset(tmp_path / out)
    textures = TextureDataset(tmp_path / out)
    np.testing.assert_array_equal(used.image[0], expected[0])
    names = ("label", "seed", "split_code", "length_scales")
    before = {name: getattr(used, name)[:] for name in names}
    make(tmp_path / out, **changes)
    # What was read before is kept open, and stays right.
    np.testing.assert_array_equal(used.image[1], expected[1])
    for dataset in (fresh, copy.deepcopy(fresh), textures):
        for index in range(N):
            with pytest.raises(DatasetError, match=TOLD):
                dataset[index] if dataset is textures else dataset.image[index]
    for index in range(N):
        image = value_or_told(lambda index=index: used.image[index])
        assert image is None or np.array_equal(image, expected[index])
    for name in names:
        values = value_or_told(lambda name=name: getattr(fresh, name)[:])
        assert values is None or np.array_equal(values, before[name])
    with open_dataset(tmp_path / out) as again:
        np.testing.assert_array_equal(again.image[:], drawn(tiny(**changes), N))


@pytest.mark.parametrize("out", FORMS)
def test_a_dataset_that_is_removed_is_not_called_damaged(tmp_path: Path, out) -> None:
    make(tmp_path / out)
    dataset = open_dataset(tmp_path / out)
    for path in tmp_path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for array in (dataset.image, dataset.label):
        with pytest.raises(DatasetError, match=TOLD):
            array[0]


@pytest.mark.parametrize("out", FORMS)
def test_the_same_dataset_made_again_or_copied_goes_on_being_read(tmp_path: Path, out) -> None:
    make(tmp_path / out)
    used, fresh = open_dataset(tmp_path / out), open_dataset(tmp_path / out)
    used.image[0]
    make(tmp_path / out)
    for dataset in (used, fresh):
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))


@pytest.mark.parametrize("out", ["d.zarr", "d-{shard:03d}.h5"])
def test_verify_convert_and_package_tell_a_dataset_that_is_replaced_meanwhile(
    tmp_path: Path, out
) -> None:
    make(tmp_path / out)

    def replace(*_) -> None:
        with open_dataset(tmp_path / out) as found:
            replaced = found.recipe.seed == 6
        if not replaced:
            make(tmp_path / out, seed=6)

    for act in (
        lambda: verify(tmp_path / out, progress=replace),
        lambda: convert(tmp_path / out, tmp_path / "copy.h5", progress=replace),
        lambda: package(tmp_path / out, publication(), tmp_path / "deposit", progress=replace),
    ):
        make(tmp_path / out)
        with pytest.raises(DatasetError) as caught:
            act()
        assert TOLD in str(caught.value)
    assert not (tmp_path / "deposit").exists()


def test_damage_is_still_damage_where_nothing_was_replaced(own: Path) -> None:
    dataset = open_dataset(own)
    shard = own / "image" / "c.1.0.0" if own.suffix == ".zarr" else own.parent / "d-001.h5"
    path = shard if shard.exists() else own
    raw = bytearray(path.read_bytes())
    raw[raw.index(drawn(tiny(), N)[5].tobytes()) + 100] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DatasetError, match="is damaged; run `gpgen verify`"):
        dataset.image[:]
