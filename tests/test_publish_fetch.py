"""The way back, and the whole way round: package, publish, fetch."""

from __future__ import annotations

import dataclasses
import random
import shutil
import struct
import zipfile

import pytest
from invenio_server import TOKEN, File
from invenio_server import Service as StandIn
from publish_help import contents, make_small, publication, refusal

from gpgen import open_dataset
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.golkar2018.archive import make_archive, read_plan
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.publish.addresses import RecordAddress, parse_source
from gpgen.publish.client import Service, ServiceError
from gpgen.publish.describing import describe
from gpgen.publish.fetching import fetch
from gpgen.publish.packaging import package
from gpgen.publish.token import Token
from gpgen.publish.unpacking import unpack_zarr
from gpgen.publish.uploading import publish_draft, upload

FORMS = ["data.zarr", "data.h5", "data-{shard:05d}.h5", "data-{shard:05d}.tar"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    paths = {}
    for number, form in enumerate(FORMS):
        place = folder / str(number)
        place.mkdir()
        paths[form] = make_small(place / form)
    return paths


@pytest.fixture
def server():
    with StandIn() as running:
        yield running


def public(server):
    return Service(server.url, sleep=lambda _: None)


def published(server, dataset, folder, **options):
    """Take a dataset the whole way, and return its record's number."""
    deposit = package(dataset, publication(), folder / "deposit", **options).path
    with Service(server.url, Token(TOKEN), sleep=lambda _: None) as service:
        upload(deposit, service)
        return publish_draft(deposit, service).number


def same(fetched, original):
    if original.is_dir():
        return contents(fetched) == contents(original)
    return contents(fetched.parent) == contents(original.parent)


@pytest.mark.parametrize("recipe_only", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_goes_out_and_comes_back_the_same(server, made, tmp_path, form, recipe_only):
    number = published(server, made[form], tmp_path, recipe_only=recipe_only)
    here = tmp_path / "here"
    here.mkdir()
    seen = []
    with public(server) as service:
        fetched = fetch(number, here / form, service=service, workers=1, progress=seen.append)
    assert fetched.regenerated is recipe_only
    assert seen[-1].done == seen[-1].total
    with open_dataset(fetched.path) as dataset:
        assert same(dataset.path, made[form])
    assert {path.suffix for path in here.iterdir()} <= {".zarr", ".h5", ".tar"}


def test_parts_come_back_as_one(server, made, tmp_path):
    number = published(server, made["data.zarr"], tmp_path, most_bytes=50_000)
    with public(server) as service:
        fetched = fetch(number, tmp_path / "back.zarr", service=service)
    assert contents(fetched.path) == contents(made["data.zarr"])


def test_a_record_is_meant_by_its_doi_its_page_or_its_number(server, made, tmp_path):
    number = published(server, made["data.zarr"], tmp_path, recipe_only=True)
    with public(server) as service:
        for count, source in enumerate(
            [f"10.5072/zenodo.{number}", f"{server.url}/records/{number}"]
        ):
            fetch(source, tmp_path / f"{count}.zarr", service=service, workers=1)
    assert contents(tmp_path / "0.zarr") == contents(tmp_path / "1.zarr")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.5281/zenodo.42", ("https://zenodo.org", "42")),
        ("https://doi.org/10.5281/zenodo.42", ("https://zenodo.org", "42")),
        ("doi:10.5072/zenodo.42", ("https://sandbox.zenodo.org", "42")),
        ("42", ("https://zenodo.org", "42")),
        ("https://zenodo.org/records/42", ("https://zenodo.org", "42")),
        ("https://zenodo.org/record/42?x=1", ("https://zenodo.org", "42")),
        ("https://data.example.org/in/records/ab12c-3de45",
         ("https://data.example.org/in", "ab12c-3de45")),
    ],
)  # fmt: skip
def test_sources_are_understood(text, expected):
    assert parse_source(text) == RecordAddress(*expected)


@pytest.mark.parametrize(
    "text",
    ["", "deposti/", "10.1000/182", "https://zenodo.org", "http://zenodo.org/records/1", "../42"],
)
def test_what_means_no_record_is_said(text):
    refusal(UsageError, parse_source, text)


def test_a_deposits_folder_becomes_a_dataset_and_stays_as_it_is(made, tmp_path):
    deposit = package(made["data.zarr"], publication(), tmp_path / "deposit").path
    before = contents(deposit)
    fetched = fetch(deposit, tmp_path / "back.zarr")
    assert contents(fetched.path) == contents(made["data.zarr"])
    assert contents(deposit) == before


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, made, tmp_path):
    number = published(server, made["data.zarr"], tmp_path)
    zip_bytes = len(server.records[number].files["data.zarr.zip"].content)
    server.log.clear()
    server.drop_after = zip_bytes // 2
    with public(server) as service:
        fetched = fetch(number, tmp_path / "back.zarr", service=service)
    assert contents(fetched.path) == contents(made["data.zarr"])
    asked = [a.path for a in server.log if a.path.endswith("/data.zarr.zip/content")]
    assert len(asked) == 2


def test_what_a_failed_fetch_has_brought_is_not_brought_again(server, made, tmp_path):
    number = published(server, made["data.zarr"], tmp_path)
    victim = server.records[number].files["shards.csv"]
    right = victim.content
    target = tmp_path / "back.zarr"
    with public(server) as service:
        victim.content = right[:-1] + b"x"
        message = refusal(DatasetError, fetch, number, target, service=service)
        assert "shards.csv was changed" in message
        assert not target.exists()
        victim.content = right
        server.log.clear()
        fetch(number, target, service=service)
    downloads = [a.path.split("/")[-2] for a in server.log if a.path.endswith("/content")]
    assert downloads == ["shards.csv"]


def test_damage_behind_a_right_md5_is_found(server, made, tmp_path):
    """The server's own checksums agree with what it sends; the deposit's don't."""
    number = published(server, made["data.h5"], tmp_path)
    file = server.records[number].files["data.h5"]
    file.content = file.content[:-1] + bytes([file.content[-1] ^ 1])
    target = tmp_path / "back.h5"
    with public(server) as service:
        message = refusal(DatasetError, fetch, number, target, service=service)
    assert "data.h5 was changed" in message
    assert not target.exists()


@pytest.mark.slow
def test_a_fetch_that_breaks_off_while_drawing_goes_on(made, archive, tmp_path):
    deposit = package(made["data.zarr"], publication(), tmp_path / "small", recipe_only=True).path
    target = tmp_path / "back.zarr"

    def stop(progress):
        if progress.done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(deposit, target, workers=1, progress=stop)
    assert not target.exists()
    seen = []
    fetch(deposit, target, workers=1, progress=seen.append)
    assert seen[0].done >= 16
    assert contents(target) == contents(made["data.zarr"])
    # Of an archive a half-made one is left, as by `gpgen archive`.
    deposit = package(archive, publication(), tmp_path / "old", recipe_only=True).path
    with pytest.raises(KeyboardInterrupt):
        make_archive(read_plan(archive), tmp_path / "back", workers=1, progress=interrupt)
    fetch(deposit, tmp_path / "back", workers=1)
    assert contents(tmp_path / "back") == contents(archive)


def interrupt(_):
    raise KeyboardInterrupt


def test_records_of_others_and_missing_ones_are_said(server, made, tmp_path):
    number = published(server, made["data.zarr"], tmp_path, recipe_only=True)
    del server.records[number].files["SHA256SUMS"]
    with public(server) as service:
        message = refusal(DatasetError, fetch, number, tmp_path / "d.zarr", service=service)
        assert "was not packaged by gpgen" in message
        message = refusal(ServiceError, fetch, "4711", tmp_path / "d.zarr", service=service)
        assert "has no record 4711" in message
    assert {path.name for path in tmp_path.iterdir()} <= {
        "deposit",
        "deposit.draft.json",
        "record-4711.fetching",
    }


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "x\ny", "\\\\host\\x"])
def test_file_names_that_lead_elsewhere_are_refused(server, made, tmp_path, name):
    number = published(server, made["data.zarr"], tmp_path, recipe_only=True)
    server.records[number].files[name] = File(b"x", committed=True)
    with public(server) as service:
        message = refusal(DatasetError, fetch, number, tmp_path / "d.zarr", service=service)
    assert "has a file called" in message


def test_an_existing_target_or_a_wrong_format_is_refused_before_the_download(
    server, made, tmp_path
):
    number = published(server, made["data.zarr"], tmp_path)
    (tmp_path / "d.zarr").mkdir()
    server.log.clear()
    with public(server) as service:
        refusal(TargetError, fetch, number, tmp_path / "d.zarr", service=service)
        assert server.log == []
        message = refusal(UsageError, fetch, number, tmp_path / "d.h5", service=service)
    assert "use out data.zarr" in message
    assert not any(asked.path.endswith("data.zarr.zip/content") for asked in server.log)


def zip_of(path, *members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data, mode in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            member.compress_type = compression
            archive.writestr(member, data)
    return path


@pytest.mark.parametrize(
    ("members", "compression"),
    [
        ([("../evil", b"x", 0o100644)], zipfile.ZIP_STORED),
        ([("/etc/evil", b"x", 0o100644)], zipfile.ZIP_STORED),
        ([("a/../../evil", b"x", 0o100644)], zipfile.ZIP_STORED),
        ([("a\\evil", b"x", 0o100644)], zipfile.ZIP_STORED),
        ([("a/", b"", 0o040755)], zipfile.ZIP_STORED),
        ([("link", b"/etc/passwd", 0o120777)], zipfile.ZIP_STORED),
        ([("a/b/c/d", b"x", 0o100644)], zipfile.ZIP_STORED),
        ([("bomb", bytes(10**6), 0o100644)], zipfile.ZIP_DEFLATED),
        ([("zarr.json", b"x", 0o100644), ("zarr.json", b"y", 0o100644)], zipfile.ZIP_STORED),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_zips_are_refused_and_nothing_is_written(tmp_path, members, compression):
    path = zip_of(tmp_path / "x.zip", *members, compression=compression)
    refusal(DatasetError, unpack_zarr, path, tmp_path / "inner" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    path = zip_of(tmp_path / "x.zip", ("zarr.json", b"x" * 100, 0o100644))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2")
    struct.pack_into("<II", data, place + 20, 10**9, 10**9)
    path.write_bytes(data)
    refusal(DatasetError, unpack_zarr, path, tmp_path / "out")
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    path.write_bytes(bytes(random.Random(0).randbytes(1000)))
    refusal(DatasetError, unpack_zarr, path, tmp_path / "out")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The files of 2018, small: more of one length-scale than of the others, and their sums."""
    plan = ArchivePlan(((9.5, 2), (10.0, 3), (80.0, 2), (140.0, 2)), size=512, seed=7)
    path = tmp_path_factory.mktemp("archive") / "archive"
    make_archive(plan, path, workers=1)
    return path


@pytest.mark.parametrize("recipe_only", [False, True])
def test_an_archive_goes_out_and_comes_back_the_same(server, archive, tmp_path, recipe_only):
    number = published(server, archive, tmp_path, recipe_only=recipe_only)
    files = server.records[number].files
    with public(server) as service:
        fetched = fetch(number, tmp_path / "back", service=service, workers=1)
    assert fetched.regenerated is recipe_only
    assert contents(fetched.path) == contents(archive)
    assert "10.5281/zenodo.1252464" in files["CITATION.cff"].content.decode()
    assert "| 1 | 10 | 3 |" in files["README.md"].content.decode()
    pixels = {"samples.zip", "dataset.zip"}
    assert set(files) & pixels == (set() if recipe_only else pixels)


def test_a_deposited_archive_is_cited_as_the_archive_itself(archive, tmp_path):
    deposit = package(archive, publication(), tmp_path / "deposit", recipe_only=True).path
    subject, packaged = describe(deposit)
    itself, none = describe(archive)
    assert (packaged, none) == (publication(), None)
    assert subject == dataclasses.replace(itself, recipe_only=True)


def test_an_archive_without_its_plan_or_damaged_is_not_packaged(archive, tmp_path):
    copy = shutil.copytree(archive, tmp_path / "archive")
    out = tmp_path / "deposit"
    plan = (copy / "archive.json").read_bytes()
    (copy / "archive.json").unlink()
    assert "archive.json can't be read" in refusal(DatasetError, package, copy, publication(), out)
    (copy / "archive.json").write_bytes(plan)
    data = bytearray((copy / "samples.zip").read_bytes())
    data[5000] ^= 1
    (copy / "samples.zip").write_bytes(data)
    for recipe_only in (False, True):
        message = refusal(DatasetError, package, copy, publication(), out, recipe_only=recipe_only)
        assert "samples.zip is damaged" in message
    assert not out.exists()
