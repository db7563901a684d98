"""What people give by mistake, in every verb that opens something: it is said what lies there."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import zarr
from cli_support import Caller
from publish_help import PUBLICATION
from store_tools import tiny_make

from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.golkar2018.texture_sums import Cross
from gpgen.making.converting import convert
from gpgen.publish.packaging import package

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)

# By name: what is said of it, and what shall be done with it.
GIVEN = {
    "a.npy": ("a NumPy array", "gpgen make"),
    "a.npz": (r"a zip of NumPy arrays \(.npz\)", "gpgen make"),
    "final_size-4_corr-2_v1.npy": ("a NumPy array in the form of 2018", "gpgen import"),
    "array.zarr": ("a Zarr array that gpgen didn't make", "gpgen make"),
    "group.zarr": ("a Zarr group that gpgen didn't make", "gpgen make"),
    "old.zarr": ("a Zarr group that gpgen didn't make, of version 2", "gpgen make"),
    "theirs.h5": ("an HDF5 file that gpgen didn't make", "gpgen make"),
    "some.tar": ("a tar file", "unpack"),
    "some.zip": ("a zip file", "unpack"),
    "some.tar.gz": ("a compressed file", "gpgen make"),
    "state.pt": ("a file saved by torch", "gpgen make"),
    "legacy.pt": ("a file saved by torch", "gpgen make"),
    "x.pickle": ("a pickle", "gpgen make"),
    "sheet.png": ("a picture", "gpgen make"),
    "table.parquet": ("a Parquet file", "gpgen make"),
    "page.html": ("an HTML page, such as `gpgen report` writes", "browser"),
    "recipe.toml": ("a recipe", "gpgen make --recipe"),
    "publication.toml": (r"a publication\.toml", "gpgen package"),
    "result.json": ("a JSON file", "gpgen make"),
    "note.txt": ("a text file", "gpgen make"),
    "nothing": ("an empty file", "gpgen make"),
    "pipe": ("a pipe, socket or device", "gpgen make"),
    "empty": ("an empty folder", "gpgen make"),
    "pictures": ("a folder of other things", "gpgen make"),
    "shards/d-000.h5": ("one shard of a dataset", "gpgen info .*/shards/d-manifest.h5"),
    "tars/d-000.tar": ("one tar file of a dataset", "gpgen info .*/tars/d-manifest.tar.h5"),
    "own.zarr/image": ("one array of a dataset", "gpgen info .*/own.zarr"),
    "own.zarr/zarr.json": ("one file of a Zarr group", "gpgen info .*/own.zarr"),
    "rootless.zarr": (r"a dataset without its zarr\.json", "get that file"),
    "deposit": ("a deposit", "gpgen fetch"),
    "archive": ("an archive in the form of 2018", "gpgen import .*/archive/dataset.zip"),
    "archive/samples.zip": ("a zip of samples in the form of 2018", "gpgen import"),
    "archive.making": ("the folder in which .* was being made", "--resume"),
    "runs": ("the folder of a training", "gpgen evaluate"),
    "several": (r"a folder that holds a\.zarr, b\.zarr", r"gpgen info .*/several/a\.zarr"),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    tiny_make(folder / "own.zarr").close()
    for out in ("shards/d-{shard:03d}.h5", "tars/d-{shard:03d}.tar"):
        (folder / out).parent.mkdir()
        convert(folder / "own.zarr", folder / out, shard_size=4).close()
    shutil.copytree(folder / "own.zarr", folder / "rootless.zarr")
    (folder / "rootless.zarr" / "zarr.json").unlink()
    for name in ("a", "b"):
        shutil.copytree(folder / "own.zarr", folder / "several" / f"{name}.zarr")
    (folder / "publication.toml").write_text(PUBLICATION)
    package(folder / "own.zarr", folder / "publication.toml", folder / "deposit")
    crosses = (Cross(((2.0,), (4.0,)), (1.0, 1.0)),)
    make_archive(ArchivePlan(((2.0, 2), (4.0, 2)), crosses, size=64), folder / "archive")
    for name in ("a.npy", "final_size-4_corr-2_v1.npy"):
        np.save(folder / name, np.zeros((4, 4)))
    np.savez(folder / "a.npz", x=np.zeros(3))
    zarr.save_array(folder / "array.zarr", np.zeros((4, 4)), zarr_format=3)
    zarr.open_group(folder / "group.zarr", mode="w").create_array("x", data=np.zeros(3))
    zarr.open_group(folder / "old.zarr", mode="w", zarr_format=2)
    with h5py.File(folder / "theirs.h5", "w") as file:
        file["x"] = np.zeros(3)
    for name, mode in (("some.tar", "w"), ("some.tar.gz", "w:gz")):
        with tarfile.open(folder / name, mode) as tar:
            tar.add(folder / "a.npy", "a.npy")
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        archive.write(folder / "a.npy", "a.bin")
    torch.save({"weight": torch.zeros(3)}, folder / "state.pt")
    torch.save({}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    (folder / "x.pickle").write_bytes(b"\x80\x04N.")
    (folder / "sheet.png").write_bytes(PNG)
    (folder / "table.parquet").write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    (folder / "page.html").write_text("<!doctype html>\n<html></html>\n")
    (folder / "recipe.toml").write_text('name = "x"\n[[components]]\nlength_scales = [2.0]\n')
    (folder / "result.json").write_text('{"a": 1}')
    (folder / "note.txt").write_text("hello\n")
    (folder / "nothing").touch()
    os.mkfifo(folder / "pipe")
    (folder / "empty").mkdir()
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").write_bytes(PNG)
    (folder / "archive.making").mkdir()
    (folder / "archive.making" / "lock").touch()
    (folder / "runs" / "none" / "seed-0").mkdir(parents=True)
    (folder / "runs" / "plan.json").write_text("{}")
    return folder


@pytest.fixture
def call(capfd, tmp_path: Path, monkeypatch) -> Caller:
    monkeypatch.chdir(tmp_path)
    return Caller(capfd, tmp_path)


def refused(call: Caller, *words: str | Path) -> str:
    result = call(*words)
    assert result.status in (1, 2), result
    (line,) = result.err.splitlines()
    for never in ("damage", "bug", "delete", "remake", "`gpgen verify`"):
        assert never not in line, line
    return line


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_no_dataset_is_named_with_the_verb_that_takes_it(
    given: Path, call: Caller, tmp_path: Path, name
) -> None:
    path, (what, use) = given / name, GIVEN[name]
    wanted = rf"^error: {path} is {what}[^;]*, not a gpgen dataset; .*{use}"
    verbs = {
        "info": [path],
        "verify": [path],
        "convert": [path, "out.h5"],
        "train": [path, "--out", "out"],
        "package": [path, "-p", given / "publication.toml", "--out", "out"],
        "report": [path, "-o", "out.html"],
        "show": [path, "-o", "out.png"],
    }
    if path.suffix == ".toml":  # what these take beside a dataset
        del verbs["train"], verbs["show"]
    if name == "archive":
        del verbs["package"], verbs["report"]
    for verb, words in verbs.items():
        assert re.search(wanted, refused(call, verb, *words)), verb
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - {"state.pt", "legacy.pt", "x.pickle"}))
def test_what_is_no_checkpoint_is_named(given: Path, call: Caller, name) -> None:
    line = refused(call, "evaluate", given / name, given / "own.zarr")
    assert re.match(rf"error: {given / name} is {GIVEN[name][0]}", line)
    assert "give a checkpoint.pt that `gpgen train` left" in line


def test_a_strangers_checkpoint_is_not_to_be_deleted(given: Path, call: Caller, tmp_path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "network.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    for path in (given / "state.pt", given / "legacy.pt", tmp_path / "network.pt",
                 tmp_path / "tensor.pt"):  # fmt: skip
        line = refused(call, "evaluate", path, given / "own.zarr")
        assert f"{path} was saved by torch, but is not a checkpoint of `gpgen train`" in line


def test_what_can_not_be_imported_fetched_or_made_from_is_named(
    given: Path, call: Caller, tmp_path: Path
) -> None:
    for name, (what, _) in GIVEN.items():
        path = given / name
        if not re.search("2018|empty|pictures|nothing|archive", what + name):
            assert re.search(f"is {what}", refused(call, "import", path, "--out", "o.zarr")), name
        if name != "deposit":
            for words in (["fetch", path], ["make", "--from", path, "--out", "o.zarr"],
                          ["publish", path]):  # fmt: skip
                assert re.search(f"is {what}.*, not a deposit", refused(call, *words)), words
        if name not in ("recipe.toml", "note.txt"):
            line = refused(call, "make", "--recipe", path, "--n", "4", "--out", "o.zarr")
            assert re.search(f"can't be read: it is {what}", line), name
    assert not list(tmp_path.iterdir())


def test_a_dataset_given_for_something_else_is_called_one(given: Path, call: Caller) -> None:
    own = given / "own.zarr"
    for words in (["import", own, "--out", "o.zarr"], ["fetch", own], ["evaluate", own, own],
                  ["make", "--from", own, "--out", "o.zarr"]):  # fmt: skip
        assert f"{own} is a gpgen dataset, not " in refused(call, *words)


LITTER = [
    ".DS_Store", "image/.DS_Store", "Thumbs.db", "._zarr.json", "image/._c.0.0.0", "desktop.ini",
    ".nfs000000000123", "label/.fuse_hidden0001", "@eaDir/x", ".zmetadata", "image_$folder$",
    ".ipynb_checkpoints/x.ipynb", "lost+found/x",
]  # fmt: skip


def test_what_systems_leave_in_a_folder_harms_nothing_and_verify_mentions_it(
    made, tmp_path: Path, call: Caller
) -> None:
    own = tmp_path / "d.zarr"
    shutil.copytree(made["d.zarr"], own)
    for name in LITTER:
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_bytes(b"x")
    result = call("verify", own)
    assert result.status == 0
    assert f"is whole: 4 shards checked; beside it {len(LITTER)} files" in result.out
    assert all(f"{name}: does not belong to the dataset" in result.out for name in LITTER)
    (tmp_path / "p.toml").write_text(PUBLICATION)
    deposit = package(own, tmp_path / "p.toml", tmp_path / "deposit")
    (deposit.path / ".DS_Store").write_bytes(b"x")
    assert call("fetch", deposit.path, "--out", tmp_path / "back.zarr").status == 0
    with zipfile.ZipFile(deposit.path / "data.zarr.zip") as archive:
        assert not [name for name in archive.namelist() if "DS_Store" in name]
    # What looks like a part of it, or like somebody's work, is told, and not called damage.
    for name in ("image/c.9.0.0", "notes.txt"):
        (own / name).write_bytes(b"x")
    result = call("verify", own)
    assert result.status == 1
    assert "has no damage that could be seen, but 2 problems" in result.out


def test_what_systems_leave_beside_shards_is_no_second_dataset(made, tmp_path: Path, call) -> None:
    shutil.copytree(made["d-{shard:03d}.h5"].parent, tmp_path / "own")
    for name in ("._d-manifest.h5", ".DS_Store", "._d-000.h5"):
        (tmp_path / "own" / name).write_bytes(b"x")
    assert call("verify", tmp_path / "own").status == 0


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_consolidated_metadata_written_anew_by_zarr_verifies(made, tmp_path: Path, call) -> None:
    own = tmp_path / "d.zarr"
    shutil.copytree(made["d.zarr"], own)
    before = (own / "zarr.json").read_bytes()
    zarr.consolidate_metadata(own)
    assert (own / "zarr.json").read_bytes() != before
    assert "is whole" in call("verify", own).out
    zarr.open_group(own, mode="r+").attrs["mine"] = 1
    assert "zarr.json: " in call("verify", own).out
