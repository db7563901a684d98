"""Deposits from strangers: nothing is written but the target, and no traceback is shown."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from publish_help import PUBLICATION, make_small, refusal

from benchmarks.fuzzing.deposits import hash_again
from benchmarks.fuzzing.outcome import writes_only_under
from gpgen.errors import DatasetError, GpgenError
from gpgen.publish.fetching import fetch
from gpgen.publish.packaging import package

FORMS = {"zarr": "data.zarr", "hdf5": "data.h5", "hdf5-shards": "data-{shard:05d}.h5"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """Deposits of each format, with pixels and without."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "p.toml").write_text(PUBLICATION)
    for form, out in FORMS.items():
        (folder / form).mkdir()
        data = make_small(folder / form / out)
        package(data, folder / "p.toml", folder / f"{form}-whole")
        package(data, folder / "p.toml", folder / f"{form}-recipe", recipe_only=True)
    return folder


def forge(packed: Path, name: str, tmp_path: Path, **changes: object) -> Path:
    deposit = tmp_path / "deposit"
    shutil.copytree(packed / name, deposit)
    manifest = json.loads((deposit / "dataset.json").read_bytes())
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(manifest.get(key), dict):
            manifest[key] |= value
        else:
            manifest[key] = value
    (deposit / "dataset.json").write_text(json.dumps(manifest))
    hash_again(deposit)
    return deposit


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.parametrize("name", ["zarr-recipe", "hdf5-shards-recipe", "hdf5-shards-whole"])
@pytest.mark.parametrize(
    "pattern",
    ["../out-{shard:05d}.h5", "{above}/out-{{shard:05d}}.h5", "a/../../o-{shard}.h5",
     "~/x-{shard}.h5", "../out.zarr", "..", "x.txt", ".hidden-{shard}.h5"],
)  # fmt: skip
def test_a_deposit_does_not_choose_where_it_goes(packed, tmp_path, place, name, pattern) -> None:
    """The pattern of a recipe-only deposit's shards was once taken for the path to make."""
    pattern = pattern.format(above=tmp_path) if "above" in pattern else pattern
    form = name.rpartition("-")[0]
    deposit = forge(
        packed, name, tmp_path, form="hdf5-shards", attributes={"shard_pattern": pattern}
    )
    before = sorted(tmp_path.rglob("*"))
    with writes_only_under(place):
        line = refusal(DatasetError, fetch, deposit)
    assert "shard_pattern" in line, form
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"n": "many"}, {"n": None}, {"n": []}, {"layout": []}, {"layout": {"shard_size": "x"}},
        {"attributes": "x"}, {"attributes": []}, {"form": "x"}, {"form": {}}, {"archive": []},
        {"recipe_only": "no"}, {"gpgen_version": "1; rm -rf ~"}, {"sampling_version": "1"},
    ],
)  # fmt: skip
def test_a_manifest_of_other_types_is_refused_in_one_line(packed, tmp_path, place, changes) -> None:
    deposit = forge(packed, "zarr-recipe", tmp_path, **changes)
    assert "dataset.json is damaged" in refusal(DatasetError, fetch, deposit)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "shard,sha256\nx,y\n", "shard\n0\n", "\0"])
def test_a_list_of_shards_that_is_none_is_refused(packed, tmp_path, place, text) -> None:
    deposit = forge(packed, "zarr-recipe", tmp_path)
    (deposit / "shards.csv").write_text(text)
    hash_again(deposit)
    assert refusal(DatasetError, fetch, deposit)


@pytest.mark.parametrize(
    "plan",
    ["[]", "{}", '{"seed": 1}', '{"seed": [], "crosses": 3}', "x", "[" * 10_000,
     '{"seed": 0, "size": 64, "crosses": [], "samples": [[1]]}',
     '{"seed": 0, "size": 1e9, "crosses": [], "samples": [[9.5, 1]]}',
     '{"seed": 0, "size": 1000000000, "crosses": [], "samples": [[9.5, 1]]}',
     '{"seed": 0, "size": -5, "crosses": [], "samples": [[NaN, 1]]}'],
)  # fmt: skip
def test_an_archive_plan_that_is_none_is_refused(packed, tmp_path, place, plan) -> None:
    deposit = forge(packed, "zarr-recipe", tmp_path, form="archive")
    (deposit / "archive.json").write_text(plan)
    hash_again(deposit)
    with pytest.raises(GpgenError) as caught:
        fetch(deposit)
    assert str(caught.value).isprintable()
    assert not (place / "archive").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_foreign_file_among_the_data_is_refused_before_anything_is_written(
    packed, tmp_path, place, form
) -> None:
    """It once was put beside the target, or in its place."""
    deposit = forge(packed, f"{form}-whole", tmp_path)
    shutil.copy(next(deposit.glob("data*")), deposit / "other.h5")
    hash_again(deposit)
    assert "not those of one" in refusal(DatasetError, fetch, deposit)
    assert list(place.iterdir()) == []


def zip_of(members: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for info, data in members:
            archive.writestr(info, data)
    return stream.getvalue()


def entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.external_attr = mode << 16
    return info


ZIPS = {
    "upwards": zip_of([(entry("../out"), b"x")]),
    "through a folder": zip_of([(entry("image/../../out"), b"x")]),
    "absolute": zip_of([(entry("/tmp/out"), b"x")]),
    "a link": zip_of([(entry("image", 0o120777), b"../.."), (entry("image/out"), b"x")]),
    "a pipe": zip_of([(entry("image", 0o010644), b"")]),
    "backslashes": zip_of([(entry("..\\out"), b"x")]),
    "a file as a folder": zip_of([(entry("a"), b"x"), (entry("a/b"), b"x")]),
    "no zip": b"PK",
    "nothing": b"",
    "a name in no encoding": zip_of([(entry("x"), b"x")]).replace(b"x", b"\xff", 1),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_writes_nothing_outside_and_ends_in_one_line(packed, tmp_path, place, name) -> None:
    deposit = forge(packed, "zarr-whole", tmp_path)
    (deposit / "data.zarr.zip").write_bytes(ZIPS[name])
    hash_again(deposit)
    with writes_only_under(place):
        assert refusal(DatasetError, fetch, deposit)
    assert list(place.iterdir()) == []


def test_a_zip_whose_members_share_their_bytes_is_refused(packed, tmp_path, place) -> None:
    """Python before 3.11.8 and 3.12.2 reads such a bomb: a megabyte that unpacks to terabytes."""
    raw = bytearray(zip_of([(entry("image/c.0.0.0"), bytes(90_000)), (entry("b"), b"")]))
    directory = raw.index(b"PK\1\2")
    second = raw.index(b"PK\1\2", directory + 4)
    # The second name leads to the first one's bytes, all 90,000 of them.
    raw[second + 16 : second + 28] = raw[directory + 16 : directory + 28]
    raw[second + 42 : second + 46] = raw[directory + 42 : directory + 46]
    deposit = forge(packed, "zarr-whole", tmp_path)
    (deposit / "data.zarr.zip").write_bytes(raw)
    hash_again(deposit)
    assert refusal(DatasetError, fetch, deposit)
    assert list(place.iterdir()) == []


def test_a_pipe_in_a_deposit_is_not_waited_for(packed, tmp_path, place) -> None:
    for name in sorted(path.name for path in (packed / "zarr-recipe").iterdir()):
        deposit = forge(packed, "zarr-recipe", tmp_path)
        (deposit / name).unlink()
        os.mkfifo(deposit / name)
        assert refusal(DatasetError, fetch, deposit)
        shutil.rmtree(deposit)
