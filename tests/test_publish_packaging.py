"""Deposits: what is in them, that they are always the same bytes, and making data again."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from publish_help import contents, make_small, publication, refusal, small_recipe
from zarr.storage import ZipStore

import gpgen
from gpgen import Recipe, open_dataset
from gpgen.contact_sheet.content import ContactSheet
from gpgen.contact_sheet.png import sheet_png
from gpgen.description.dataset_description import describe_drawn
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.io.beside import working_folder
from gpgen.publish.deposit import Deposit, hash_file
from gpgen.publish.packaging import package
from gpgen.publish.regenerating import regenerate
from gpgen.publish.tables import samples_table

FORMS = ["data.zarr", "data.h5", "data-{shard:05d}.h5", "data-{shard:05d}.tar"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One small dataset in each format."""
    folder = tmp_path_factory.mktemp("made")
    paths = {}
    for number, form in enumerate(FORMS):
        place = folder / str(number)
        place.mkdir()
        paths[form] = make_small(place / form)
    return paths


@pytest.fixture(scope="module")
def deposits(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deposits")
    return {
        (form, recipe_only): package(
            path, publication(), folder / f"{number}-{recipe_only}", recipe_only=recipe_only
        ).path
        for number, (form, path) in enumerate(made.items())
        for recipe_only in (False, True)
    }


def copy_of(path, folder):
    if path.is_dir():
        return shutil.copytree(path, folder / path.name)
    return shutil.copytree(path.parent, folder / "copy") / path.name


@pytest.mark.parametrize("recipe_only", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_packaging_twice_gives_the_same_bytes(made, deposits, tmp_path, form, recipe_only):
    other = copy_of(made[form], tmp_path)
    again = package(other, publication(), tmp_path / "again", recipe_only=recipe_only)
    assert contents(again.path) == contents(deposits[form, recipe_only])


@pytest.mark.parametrize("form", FORMS)
def test_coreutils_find_every_checksum_right(deposits, form):
    for tool, sums in (("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS")):
        folder = deposits[form, False]
        done = subprocess.run([tool, "--strict", "-c", sums], cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stdout
        names = {line.partition("  ")[2] for line in (folder / sums).read_text().splitlines()}
        assert names | {"SHA256SUMS", "MD5SUMS"} == set(contents(folder))


def test_the_zip_is_stored_in_a_fixed_order_and_opens_as_zarr(made, deposits):
    path = deposits["data.zarr", False] / "data.zarr.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        members = archive.infolist()
        assert members[0].filename == "zarr.json"
        assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
        assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
        there = contents(made["data.zarr"])
        assert {m.filename: archive.read(m) for m in members} == there
    with ZipStore(path, mode="r") as store, open_dataset(made["data.zarr"]) as dataset:
        group = zarr.open_group(store, mode="r")
        np.testing.assert_array_equal(group["image"][:], dataset.read(range(40)))


def test_files_longer_than_the_service_takes_are_split(made, deposits, tmp_path):
    whole = (deposits["data.zarr", False] / "data.zarr.zip").read_bytes()
    limit = len(whole) // 3 - 1
    done = package(made["data.zarr"], publication(), tmp_path / "parts", most_bytes=limit)
    parts = sorted(done.path.glob("data.zarr.zip.*"))
    assert len(parts) == 4
    assert max(part.stat().st_size for part in parts) == limit
    assert b"".join(part.read_bytes() for part in parts) == whole
    Deposit.open(done.path).check()


def test_the_contact_sheet_shows_the_classes_that_are_named(made, deposits, tmp_path):
    names = [small_recipe().classes[label] for label in (3, 0)]
    done = package(
        made["data.zarr"], publication(), tmp_path / "d", recipe_only=True, classes=names
    )
    card = (done.path / "README.md").read_text()
    assert f"from above: {names[0]} px, {names[1]} px; 2 more" in card
    with open_dataset(made["data.zarr"]) as dataset:
        recipe = dataset.recipe
        sheet = ContactSheet.read(recipe.classes, recipe.labels, 40, dataset.read, classes=names)
        assert len(sheet.rows) == 2
        np.testing.assert_array_equal(sheet.rows[0][1], dataset.image[7])
    assert (done.path / "figure.png").read_bytes() == sheet_png(sheet)
    message = refusal(
        UsageError, package, made["data.zarr"], publication(), tmp_path / "e", classes=["1-1"]
    )
    assert "there is no class '1-1'" in message
    assert not (tmp_path / "e").exists()


def test_more_parts_than_three_digits_number_are_refused(made, tmp_path):
    out = tmp_path / "deposit"
    message = refusal(UsageError, package, made["data.zarr"], publication(), out, most_bytes=100)
    assert "more than 1000 parts" in message
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_has_left_is_removed_by_the_next(made, tmp_path):
    left = tmp_path / ".deposit.packaging"
    left.mkdir()
    (left / "data.zarr.zip").write_bytes(b"half")
    out = tmp_path / "deposit"
    package(made["data.zarr"], publication(), out)
    assert list(tmp_path.iterdir()) == [out]
    with working_folder(tmp_path / "other", "packaging"):
        other = tmp_path / "other"
        message = refusal(TargetError, package, made["data.zarr"], publication(), other)
    assert "another process is packaging" in message


def test_another_checkout_makes_and_packages_the_same_bytes(deposits, tmp_path):
    """In another place, process, folder, locale, time zone and year, from make to package."""
    home = Path(gpgen.__file__).parent.parent
    for name in ("gpgen", "datasets"):
        shutil.copytree(home / name, tmp_path / "checkout" / name)
    program = (
        "import sys, gpgen\n"
        "from pathlib import Path\n"
        "from publish_help import make_small, publication\n"
        "from gpgen.publish.packaging import package\n"
        "assert Path(gpgen.__file__).is_relative_to(sys.argv[1]), gpgen.__file__\n"
        "path = make_small(Path('data.zarr').absolute())\n"
        "for name, recipe_only in (('whole', False), ('small', True)):\n"
        "    package(path, publication(), name, recipe_only=recipe_only)\n"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "checkout"), str(Path(__file__).parent)]),
        "PYTHONHASHSEED": "7",
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "SOURCE_DATE_EPOCH": "0",
        "OPENBLAS_CORETYPE": "Prescott",
    }
    command = [sys.executable, "-c", program, tmp_path / "checkout"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, umask=0o077)
    for name, recipe_only in (("whole", False), ("small", True)):
        assert contents(tmp_path / name) == contents(deposits["data.zarr", recipe_only])


@pytest.mark.parametrize("form", FORMS)
def test_a_recipe_only_deposit_makes_the_same_bytes_again(made, deposits, tmp_path, form):
    folder = deposits[form, True]
    assert sum(map(len, contents(folder).values())) < 200_000
    target = tmp_path / form
    with regenerate(folder, target, workers=1) as dataset:
        assert len(dataset) == 40
    if made[form].is_dir():
        assert contents(target) == contents(made[form])
    else:
        made_files = {k: v for k, v in contents(tmp_path).items() if k.endswith((".h5", ".tar"))}
        assert made_files == contents(made[form].parent)


def test_regenerating_notices_other_pixels(deposits, tmp_path):
    folder = shutil.copytree(deposits["data.zarr", True], tmp_path / "deposit")
    path = folder / "shards.csv"
    path.write_text(path.read_text().replace(",16,16,", ",16,16,00", 1))
    message = refusal(DatasetError, regenerate, folder, tmp_path / "d.zarr", workers=1)
    assert "shard 1 of it is not the deposit's" in message


def test_regenerating_refuses_other_formats_recipes_and_versions(deposits, tmp_path):
    folder = shutil.copytree(deposits["data.zarr", True], tmp_path / "deposit")
    assert "use out data.zarr" in refusal(UsageError, regenerate, folder, tmp_path / "d.h5")
    manifest = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(manifest | {"sampling_version": 0}))
    message = refusal(DatasetError, regenerate, folder, tmp_path / "d.zarr")
    assert "pip install gpgen==" in message
    (folder / "dataset.json").write_text(json.dumps(manifest))
    (folder / "recipe.toml").write_text(small_recipe().replace(seed=12).to_toml())
    message = refusal(DatasetError, regenerate, folder, tmp_path / "d.zarr")
    assert "is not the recipe" in message
    assert not (tmp_path / "d.zarr").exists()


@pytest.mark.parametrize("recipe_only", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_dataset_is_not_packaged(made, tmp_path, form, recipe_only):
    path = copy_of(made[form], tmp_path)
    damaged = next(path.glob("image/c.1.*")) if path.is_dir() else path
    if "{" in form:
        damaged = path.with_name(form.format(shard=1))
    with damaged.open("r+b") as stream:
        stream.seek(damaged.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 1]))
    out = tmp_path / "deposit"
    message = refusal(DatasetError, package, path, publication(), out, recipe_only=recipe_only)
    assert damaged.name in message
    assert not out.exists()
    assert not list(tmp_path.glob(".deposit*"))


def test_a_foreign_file_in_a_dataset_is_not_packaged(made, tmp_path):
    path = copy_of(made["data.zarr"], tmp_path)
    (path / "notes.txt").write_text("mine")
    assert "notes.txt" in refusal(DatasetError, package, path, publication(), tmp_path / "deposit")


def test_what_is_at_the_target_is_replaced_only_when_asked_and_only_a_deposit(made, tmp_path):
    out = tmp_path / "deposit"
    package(made["data.zarr"], publication(), out, recipe_only=True)
    before = contents(out)
    assert "overwrite=True" in refusal(TargetError, package, made["data.zarr"], publication(), out)
    other = publication('version = "2.0.0"\n')
    package(made["data.zarr"], other, out, recipe_only=True, overwrite=True)
    assert contents(out) != before
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("words")
    message = refusal(
        TargetError, package, made["data.zarr"], publication(), precious, overwrite=True
    )
    assert "is no deposit" in message
    assert (precious / "thesis.tex").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_said_before_anything_is_written(made, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    message = refusal(TargetError, package, made["data.zarr"], publication(), tmp_path / "d")
    assert "its disk has 1.0 kB free" in message
    assert not list(tmp_path.iterdir())


def test_samples_csv_says_what_the_dataset_holds(made, deposits):
    for form in FORMS:
        text = (deposits[form, False] / "samples.csv").read_text()
        rows = list(csv.DictReader(io.StringIO(text)))
        with open_dataset(made[form]) as dataset:
            assert [int(row["seed"]) for row in rows] == dataset.seed[:].tolist()
            assert [int(row["label"]) for row in rows] == dataset.label[:].tolist()
            assert [row["class"] for row in rows] == [
                dataset.classes[label] for label in dataset.label[:]
            ]
            assert [row["split"] for row in rows] == [
                dataset.splits[code] for code in dataset.split_code[:]
            ]
            scales = [[float(r["length_scale_1"]), float(r["length_scale_2"])] for r in rows]
            np.testing.assert_array_equal(scales, dataset.length_scales[:])
        if form == FORMS[2]:
            with h5py.File(deposits[form, False] / rows[39]["shard"]) as shard:
                assert shard["seed"][-1] == int(rows[39]["seed"])


def test_length_scales_that_differ_by_axis_have_a_column_each():
    recipe = Recipe.from_dict(
        {
            "name": "stripes",
            "shape": [16, 32],
            "components": [{"kernel": "rbf", "length_scales": [[2.0, 3.0], 2.0], "weight": 1.0}],
        }
    )
    subject = describe_drawn(recipe, 4, "zarr", layout={"shard_size": 4})
    text = b"".join(samples_table(recipe, 4, subject, 4, ["a,b"])).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [rows[k]["length_scale_1_x"] for k in range(2)] == ["3", "2"]
    assert rows[0]["shard"] == "a,b"


def test_a_deposit_notices_every_change(deposits, tmp_path):
    folder = shutil.copytree(deposits["data.zarr", True], tmp_path / "deposit")
    Deposit.open(folder).check()
    (folder / "more.txt").write_text("x")
    assert "does not belong" in refusal(DatasetError, Deposit.open(folder).check)
    (folder / "more.txt").unlink()
    (folder / "README.md").write_text((folder / "README.md").read_text() + " ")
    assert "README.md was changed" in refusal(DatasetError, Deposit.open(folder).check)
    (folder / "README.md").unlink()
    assert "README.md is missing" in refusal(DatasetError, Deposit.open(folder).check)
    (folder / "SHA256SUMS").write_text("0" * 64 + "  ../../etc/passwd\n")
    assert "no checksum" in refusal(DatasetError, Deposit.open, folder)
    assert "not a deposit" in refusal(DatasetError, Deposit.open, tmp_path)


def test_hashing_in_two_threads_gives_the_hashes(tmp_path):
    data = np.random.default_rng(0).bytes(9 * 2**20 + 17)
    (tmp_path / "file").write_bytes(data)
    assert hash_file(tmp_path / "file") == (
        len(data),
        hashlib.sha256(data).hexdigest(),
        hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("splits", [{"train": 0.5, "tune.1": 0.25, "test": 0.25}, {"a": 1.0}])
def test_the_datasets_package_loads_a_deposit_by_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splits
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    recipe = small_recipe().replace(splits=splits)
    gpgen.make(recipe, 40, tmp_path / "d.h5", workers=1).close()
    told = []
    done = package(
        tmp_path / "d.h5", publication(), tmp_path / "deposit", parquet=True, progress=told.append
    )
    assert told[-1].done == told[-1].total == 2 * 40 * recipe.image_nbytes
    assert {name for name in done.files if name.endswith(".parquet")} == {
        f"{name}-00000.parquet" for name in splits
    }
    Deposit.open(done.path).check()
    with gpgen.open_dataset(tmp_path / "d.h5") as dataset:
        loaded = datasets.load_dataset(str(done.path), cache_dir=str(tmp_path / "cache"))
        assert list(loaded) == list(splits)
        for name, part in loaded.items():
            mine = dataset.subset(split=name)
            assert type(part.features["image"]).__name__ == "Array2D"
            np.testing.assert_array_equal(part.with_format("numpy")["image"][:], mine.image[:])
            assert part["label"][:] == mine.label[:].tolist()


@pytest.mark.parametrize("name", ["my-split", "all", "a/b", "a:b"])
def test_parquet_that_the_hub_would_not_show_is_refused(tmp_path: Path, name, made) -> None:
    recipe = small_recipe().replace(splits={name: 1.0})
    gpgen.make(recipe, 4, tmp_path / "d.zarr", workers=1).close()
    out = tmp_path / "deposit"
    line = refusal(UsageError, package, tmp_path / "d.zarr", publication(), out, parquet=True)
    assert f"no split called {name!r}" in line
    options = {"parquet": True, "recipe_only": True}
    line = refusal(UsageError, package, made["data.zarr"], publication(), out, **options)
    assert "leaves the pixels out" in line
    assert not out.exists()
