"""Data of each format version, made when it was new, is read by every later gpgen."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import google_crc32c
import h5py
import numpy as np
import pytest
import zarr
from format_data import DATA, N, file_of, recipe

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError
from gpgen.publish.regenerating import regenerate
from gpgen.sampling import Sampler, seeds
from gpgen.store.manifest import FORMAT_VERSION, seal
from gpgen.verification import verify

VERSIONS = sorted(DATA.glob("format-*"))
DATASETS = [
    (version.name, name)
    for version in VERSIONS
    for name in json.loads((version / "reads-as.json").read_text())
]


def test_there_is_data_of_every_version() -> None:
    assert [folder.name for folder in VERSIONS] == [
        f"format-{version}" for version in range(1, FORMAT_VERSION + 1)
    ]


@pytest.mark.parametrize(("version", "name"), DATASETS)
def test_it_reads_as_it_did(version: str, name: str) -> None:
    expected = json.loads((DATA / version / "reads-as.json").read_text())[name]
    with open_dataset(DATA / version / name) as dataset:
        assert file_of(dataset) == expected
        if dataset.recipe.is_drawn:
            assert (dataset.n, dataset.recipe) == (N, recipe())


@pytest.mark.parametrize(("version", "name"), DATASETS)
def test_it_is_verified_and_drawn_again(version: str, name: str) -> None:
    regenerate_all = None if name.startswith("imported") else "all"
    report = verify(DATA / version / name, regenerate=regenerate_all)
    assert report.ok, report.problems
    assert report.samples_regenerated == (N if regenerate_all else 0)


def test_its_pixels_are_those_that_are_drawn_today() -> None:
    with open_dataset(DATA / "format-1" / "d.zarr") as dataset:
        np.testing.assert_array_equal(dataset.image[:], Sampler(recipe()).images(0, N))


def test_its_deposit_is_made_again(tmp_path: Path) -> None:
    regenerate(DATA / "format-1" / "deposit", tmp_path / "d.zarr", workers=1).close()
    assert verify(tmp_path / "d.zarr").ok


def test_libraries_that_never_heard_of_gpgen_read_it() -> None:
    images = Sampler(recipe()).images(0, N)
    group = zarr.open(DATA / "format-1" / "d.zarr", mode="r")
    np.testing.assert_array_equal(group["image"][:], images)
    with h5py.File(DATA / "format-1" / "d.h5") as file:
        np.testing.assert_array_equal(file["image"][:], images)


def newer_zarr(folder: Path) -> Path:
    shutil.copytree(DATA / "format-1" / "d.zarr", folder / "d.zarr")
    path = folder / "d.zarr" / "zarr.json"
    root = json.loads(path.read_bytes())
    root["attributes"] = seal({**root["attributes"], "format_version": FORMAT_VERSION + 1})
    path.write_text(json.dumps(root, indent=2, ensure_ascii=False) + "\n")
    return folder / "d.zarr"


def newer_hdf5(folder: Path) -> Path:
    shutil.copy(DATA / "format-1" / "d.h5", folder / "d.h5")
    with h5py.File(folder / "d.h5", "r+") as file:
        file.attrs["format_version"] = FORMAT_VERSION + 1
    with (folder / "d.h5").open("r+b") as file:
        block = file.read(4096)
        file.seek(0)
        file.write(re.sub(rb"^gpgen \d+", b"gpgen %d" % (FORMAT_VERSION + 1), block))
    return folder / "d.h5"


@pytest.mark.parametrize("newer", [newer_zarr, newer_hdf5])
def test_a_newer_version_is_refused_in_one_line_that_says_what_to_do(tmp_path, newer) -> None:
    path = newer(tmp_path)
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    name = f"{path}/zarr.json" if path.is_dir() else str(path)
    what = f"has format version {FORMAT_VERSION + 1}, this gpgen reads up to {FORMAT_VERSION}"
    assert str(caught.value) == f"{name} {what}; install a newer gpgen"
    # Not called damaged: nobody shall throw it away.
    problems = [f"{problem.file} {problem.what}" for problem in verify(path).problems]
    assert problems
    assert all(what in text for text in problems)


def test_a_deposit_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DATA / "format-1" / "deposit", tmp_path / "deposit")
    path = tmp_path / "deposit" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2}))
    with pytest.raises(DatasetError, match="install a newer gpgen"):
        regenerate(tmp_path / "deposit", tmp_path / "d.zarr")


def test_the_page_on_the_format_is_enough_to_read_zarr_without_gpgen_or_zarr() -> None:
    """Written after docs/format.md alone."""
    folder = DATA / "format-1" / "d.zarr"
    root = json.loads((folder / "zarr.json").read_bytes())["attributes"]
    others = {key: value for key, value in root.items() if key != "manifest_sha256"}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == root["manifest_sha256"]
    shard_size, chunk_size, shape = root["shard_size"], root["chunk_size"], root["recipe"]["shape"]
    nbytes = 4 * shape[0] * shape[1]
    crcs = np.frombuffer((folder / "crc32c" / "c.0").read_bytes()[:-4], "<u4")
    images = []
    for index in range(root["n"]):
        shard, j = divmod(index, shard_size)
        raw = (folder / "image" / f"c.{shard}.0.0").read_bytes()
        begin = j * nbytes + 4 * (j // chunk_size)
        images.append(np.frombuffer(raw[begin : begin + nbytes], "<f4").reshape(shape))
        assert google_crc32c.value(images[-1].tobytes()) == crcs[index]
    np.testing.assert_array_equal(images, Sampler(recipe()).images(0, N))
    for name, sha256 in root["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256


def test_the_page_on_the_format_is_enough_to_compute_splits_and_seeds() -> None:
    splits, classes, n = {"a": 0.55, "b": 0.3, "c": 0.15}, 2, 500
    codes = []
    for index in range(n):
        g, left, code = index // classes, Fraction(1), len(splits) - 1
        for k, share in enumerate(list(splits.values())[:-1]):
            part = (Fraction(str(share)) / left).limit_denominator(10**6)
            a, b = part.numerator, part.denominator
            before, after = ((2 * a * x + b) // (2 * b) for x in (g, g + 1))
            if after > before:
                code = k
                break
            g, left = g - before, left - Fraction(str(share))
        codes.append(code)
    other = recipe().replace(splits=splits)
    np.testing.assert_array_equal(other.split_codes(0, n), codes)
    words = np.random.SeedSequence(2026, spawn_key=(1,)).generate_state(1024, np.uint64)
    np.testing.assert_array_equal(seeds(2026, 1024, 1030), words[:6])
