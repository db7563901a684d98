"""Datasets from strangers: what once hung, filled the memory, or ended in a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from store_tools import ENVIRONMENT, OUTS, tiny

from gpgen import Recipe
from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError, GpgenError, RecipeError, StorageError, UsageError
from gpgen.format.hdf5_file import read_hdf5
from gpgen.format.layout import Target
from gpgen.format.manifest import seal
from gpgen.verification import verify

N = 13
MANY = [0.25 + k / 1024 for k in range(4096)]


def one_line(error: GpgenError) -> str:
    line = str(error)
    assert line.isprintable()
    assert len(line) < 1000
    return line


def forge(path: Path, **changes: object) -> None:
    """Change a manifest and seal it again, as a forger would."""
    root = json.loads((path / "zarr.json").read_bytes())
    root["attributes"] = seal({**root["attributes"], **changes})
    (path / "zarr.json").write_text(json.dumps(root, indent=2) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["pipe", "folder", "/dev/zero", "loop"])
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(own: Path, what) -> None:
    """A pipe in a file's place used to hang `verify` and reading; /dev/zero filled the memory."""
    root = own if own.suffix == ".zarr" else own.parent
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        path.unlink()
        if what == "pipe":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
        else:
            path.symlink_to(path if what == "loop" else what)
        try:
            report = verify(own)
        except (DatasetError, StorageError, UsageError) as error:
            one_line(error)
        else:
            assert str(path.relative_to(root)) in {problem.file for problem in report.problems}
        try:
            with open_dataset(own) as dataset:
                for index in range(N):
                    try:
                        assert dataset.image[index].tobytes() == expected()[index].tobytes()
                    except (DatasetError, StorageError, UsageError) as error:
                        one_line(error)
        except (DatasetError, StorageError, UsageError) as error:
            one_line(error)
        path.rmdir() if what == "folder" else path.unlink()
        path.write_bytes(whole)
    assert verify(own).ok


@pytest.mark.slow
@pytest.mark.parametrize("out", [o for o in OUTS if ".h5" in o])
@pytest.mark.parametrize("what", ["zeros", "no size", "too large"])
def test_a_damaged_heap_in_an_hdf5_file_is_not_read_for_ever(made, tmp_path, out, what) -> None:
    """HDF5 2.0 itself never comes back from an object of no size, where a disk left zeros."""
    shutil.copytree(made[out].parent, tmp_path / "own")
    for path in sorted((tmp_path / "own").iterdir()):
        whole = path.read_bytes()
        heaps = [match.start() for match in re.finditer(rb"GCOL\x01", whole)]
        assert heaps
        for start in heaps:
            raw = bytearray(whole)
            first = start + 16
            if what == "zeros":
                raw[first : start + 4096] = bytes(4096 - 16)
            elif what == "no size":
                raw[first : first + 16] = bytes(16)
            else:
                raw[first + 8 : first + 16] = b"\xff" * 8
            path.write_bytes(raw)
            # In a process of its own: what hangs in C can't be interrupted.
            done = subprocess.run(
                [sys.executable, "-c", READ_ALL, str(tmp_path / "own" / out), str(N)],
                env=ENVIRONMENT, timeout=100, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert path.name in done.stdout
        path.write_bytes(whole)


READ_ALL = """
import sys
from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError
try:
    with open_dataset(sys.argv[1]) as dataset:
        for index in range(int(sys.argv[2])):
            dataset.image[index]
except DatasetError as error:
    print(error)
"""


def expected() -> np.ndarray:
    from store_tools import drawn

    return drawn(tiny(), N)


@pytest.mark.parametrize("n", [2**40, 2**62, 2**63, 10**30])
def test_a_forged_number_of_samples_is_refused_at_once(made, tmp_path: Path, n) -> None:
    """It used to make a list of as many files as there would have been."""
    shutil.copytree(made["d.zarr"], tmp_path / "d.zarr")
    forge(tmp_path / "d.zarr", n=n)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path / "d.zarr")
    one_line(caught.value)
    assert not verify(tmp_path / "d.zarr").ok


def test_what_a_foreign_shard_says_is_not_repeated_at_length(made, tmp_path: Path) -> None:
    shutil.copytree(made[OUTS[2]].parent, tmp_path / "own")
    with h5py.File(tmp_path / "own" / "d-001.h5", "r+") as file:
        file.attrs["shard"] = "x" * 5000
    with open_dataset(tmp_path / "own") as dataset, pytest.raises(DatasetError) as caught:
        dataset.image[5]
    assert "does not belong" in one_line(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"gpgen_version": "1; rm -rf ~"}, {"gpgen_version": "1\n"}, {"citation": "\x1b[2J"}],
)
def test_texts_that_are_printed_hold_nothing_but_text(made, tmp_path: Path, changes) -> None:
    """A hint says `pip install gpgen==VERSION`, to be copied into a shell."""
    shutil.copytree(made["d.zarr"], tmp_path / "d.zarr")
    forge(tmp_path / "d.zarr", **changes)
    with pytest.raises(DatasetError, match="gpgen never writes"):
        open_dataset(tmp_path / "d.zarr")


def test_a_pattern_that_would_make_a_name_of_a_gigabyte_is_refused() -> None:
    with pytest.raises(UsageError):
        Target.parse("d-{shard:0999999999d}.h5")


@pytest.mark.parametrize("pattern", ["d.h5", "d-000.h5", "d-{shard:03d}.tar", "{shard}{shard}.h5"])
def test_a_pattern_that_names_no_shards_is_refused(made, tmp_path: Path, pattern) -> None:
    """`verify` once ended in an unpacking error."""
    shutil.copytree(made[OUTS[2]].parent, tmp_path / "own")
    manifest = tmp_path / "own" / "d-manifest.h5"
    with h5py.File(manifest, "r+") as file:
        file.attrs["shard_pattern"] = pattern
        file.flush()
        attributes, _ = read_hdf5(manifest)
        file.attrs["manifest_sha256"] = seal(attributes)["manifest_sha256"]
    with pytest.raises(DatasetError) as caught:
        open_dataset(manifest)
    one_line(caught.value)
    assert not verify(manifest).ok


def test_links_in_an_hdf5_file_are_not_followed(made, tmp_path: Path) -> None:
    """An external link opens any file that its author names: a pipe used to be waited for."""
    shutil.copy(made["d.h5"], tmp_path / "d.h5")
    shutil.copy(made["d.h5"], tmp_path / "other.h5")
    os.mkfifo(tmp_path / "pipe")
    for target in ("pipe", "other.h5", "nowhere.h5"):
        with h5py.File(tmp_path / "d.h5", "r+") as file:
            del file["label"]
            file["label"] = h5py.ExternalLink(target, "/label")
        _, found = read_hdf5(tmp_path / "d.h5")
        assert "label" not in found
        with pytest.raises(DatasetError, match="label is missing"):
            open_dataset(tmp_path / "d.h5")
        assert not verify(tmp_path / "d.h5").ok


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [65536, 4096], "standardize": False,
         "components": [{"kernel": "rbf", "length_scales": [1e9, 1e7]}]},
        {"shape": [65536, 4096],
         "components": [{"kernel": "rbf", "length_scales": MANY}]},
    ],
    ids=["a proof of hours", "factors of 200 GB"],
)  # fmt: skip
def test_a_recipe_that_would_take_hours_to_load_is_refused(changes) -> None:
    """So that a manifest of a few hundred bytes can't keep whoever opens it busy for hours."""
    with pytest.raises(RecipeError, match="its length-scales and axes are so many") as caught:
        tiny(**changes)
    one_line(caught.value)


def test_a_recipe_of_the_largest_effort_that_is_reasonable_is_taken() -> None:
    recipe = Recipe.from_dict(
        {
            "name": "long", "shape": [16384], "standardize": False,
            "components": [{"kernel": "rbf", "length_scales": [10.0, 1000.0, 5000.0]}],
        }
    )  # fmt: skip
    assert recipe.accuracy.covariance_error < 1e-6


def test_components_are_counted() -> None:
    one = {"kernel": "rbf", "length_scales": [2.0]}
    with pytest.raises(RecipeError, match="65 components"):
        tiny(components=[one] * 65)
