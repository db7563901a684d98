"""Data of each format version, made when it was new, is read by every later gpgen."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import google_crc32c
import h5py
import numpy as np
import pytest
import zarr
from format_data import DATA, N, file_of, recipe

from gpgen import Recipe
from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError
from gpgen.format.manifest import FORMAT_VERSION, seal
from gpgen.io.zip_writing import ZipLayout
from gpgen.making.run import make
from gpgen.publish.regenerating import regenerate
from gpgen.sampling import Sampler, seeds
from gpgen.verification import verify

Arrays = dict[str, np.ndarray]
VERSIONS = sorted(DATA.glob("format-*"))
MENDED = 0
"""The one sample of format 1's data whose pixels are others today: the deviation of its second
component was 1 + 1.2e-5, and more than 1e-5 is wrong (docs/decisions.md)."""

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
        if isinstance(dataset.recipe, Recipe):
            assert (dataset.n, dataset.recipe) == (N, recipe())


@pytest.mark.parametrize(("version", "name"), DATASETS)
def test_it_is_verified_and_drawn_again(version: str, name: str) -> None:
    assert verify(DATA / version / name).ok
    if name.startswith("imported"):
        return
    report = verify(DATA / version / name, regenerate="all")
    assert report.samples_regenerated == N
    what = f"not the pixels that the recipe makes: sample {MENDED}"
    assert [(p.what, p.kind) for p in report.problems] == [(what, "pixels")]


def stored_images() -> np.ndarray:
    with open_dataset(DATA / "format-1" / "d.zarr") as dataset:
        return dataset.image[:]


def test_its_pixels_are_those_that_are_drawn_today() -> None:
    stored, drawn = stored_images(), Sampler(recipe()).images(0, N)
    assert np.flatnonzero((stored != drawn).any(axis=(1, 2))).tolist() == [MENDED]
    # What was wrong by 1.2e-5 of a component whose pixels lie up to 4 from 0.
    np.testing.assert_allclose(stored[MENDED], drawn[MENDED], rtol=0, atol=1.3e-5 * 4 * 1.25)


def test_its_deposit_is_made_again_but_for_the_shard_with_that_sample(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="was made, but shard 0 of it is not the deposit's"):
        regenerate(DATA / "format-1" / "deposit", tmp_path / "d.zarr", workers=1)
    with (
        open_dataset(DATA / "format-1" / "d.zarr") as old,
        open_dataset(tmp_path / "d.zarr") as new,
    ):
        assert old.manifest.shard_size == 4
        np.testing.assert_array_equal(old.image[4:], new.image[4:])


def test_libraries_that_never_heard_of_gpgen_read_it() -> None:
    images = stored_images()
    group = zarr.open(DATA / "format-1" / "d.zarr", mode="r")
    np.testing.assert_array_equal(group["image"][:], images)
    with h5py.File(DATA / "format-1" / "d.h5") as file:
        np.testing.assert_array_equal(file["image"][:], images)


NEWER = FORMAT_VERSION + 1


def root_of_newer_zarr(raw: bytes) -> bytes:
    root = json.loads(raw)
    root["attributes"] = seal({**root["attributes"], "format_version": NEWER})
    return (json.dumps(root, indent=2, ensure_ascii=False) + "\n").encode()


def make_newer_hdf5(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = NEWER
    with path.open("r+b") as file:
        block = file.read(4096)
        file.seek(0)
        file.write(re.sub(rb"^gpgen \d+", b"gpgen %d" % NEWER, block))


def newer(form: str, folder: Path) -> tuple[Path, Path]:
    """Make data of a newer version; return what is opened, and the file that says so."""
    folder = shutil.copytree(DATA / "format-1" / Path(form).parent, folder / "new")
    path = folder / Path(form).name
    if form == "d.zarr":
        root = path / "zarr.json"
        root.write_bytes(root_of_newer_zarr(root.read_bytes()))
        return path, root
    if form == "d.zarr.zip":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["zarr.json"] = root_of_newer_zarr(members["zarr.json"])
        layout = ZipLayout([(name, len(data)) for name, data in members.items()])
        crcs = [zlib.crc32(data) for data in members.values()]
        pieces = zip(layout.members, members.values(), crcs, strict=True)
        whole = b"".join(member.header(crc) + data for member, data, crc in pieces)
        path.write_bytes(whole + layout.directory(crcs))
        return path, path / "zarr.json"
    manifest = next(folder.glob("*manifest*"), path)
    make_newer_hdf5(manifest)
    return path, manifest


FORMS = ("d.zarr", "d.zarr.zip", "d.h5", "d-h5/d-{shard:03d}.h5", "d-tar/d-{shard:03d}.tar")


@pytest.mark.parametrize("form", FORMS)
def test_a_newer_version_is_refused_in_one_line_that_says_what_to_do(tmp_path, form: str) -> None:
    path, says_so = newer(form, tmp_path)
    what = f"has format version {NEWER}, this gpgen reads up to {FORMAT_VERSION}"
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    assert str(caught.value) == f"{says_so} {what}; install a newer gpgen"
    # Not called damaged: nobody shall throw it away.
    problems = [f"{problem.file} {problem.what}" for problem in verify(path).problems]
    assert problems
    assert all(what in text and "damaged" not in text for text in problems)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_deposit_of_a_newer_version_is_refused_and_not_called_damaged(tmp_path, hidden) -> None:
    shutil.copytree(DATA / "format-1" / "deposit", tmp_path / "deposit")
    path = tmp_path / "deposit" / "dataset.json"
    document = json.loads(path.read_text())
    if hidden:  # only the dataset in it is newer
        document["attributes"] = seal({**document["attributes"], "format_version": NEWER})
    else:
        document["format_version"] = NEWER
    path.write_text(json.dumps(document))
    what = f"has format version {NEWER}, this gpgen reads up to {FORMAT_VERSION}"
    with pytest.raises(DatasetError) as caught:
        regenerate(tmp_path / "deposit", tmp_path / "d.zarr")
    assert what in str(caught.value)
    assert str(caught.value).endswith("install a newer gpgen")
    assert not (tmp_path / "d.zarr").exists()


# The readers below are written after docs/format.md alone: they take nothing from gpgen.format.


def check_seal(root: dict[str, Any]) -> None:
    others = {key: value for key, value in root.items() if key != "manifest_sha256"}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == root["manifest_sha256"]
    assert (root["format"], root["format_version"]) == ("gpgen", 1)


def read_zarr(file: Callable[[str], bytes]) -> Arrays:
    """Read a dataset by a function that returns the bytes of a file, or raises KeyError."""
    root = json.loads(file("zarr.json"))["attributes"]
    check_seal(root)
    for name, sha256 in root["files"].items():
        assert hashlib.sha256(file(name)).hexdigest() == sha256
    n, shard_size, chunk_size = root["n"], root["shard_size"], root["chunk_size"]
    shape, scales = root["recipe"]["shape"], (len(root["recipe"]["components"]), 2)
    nbytes = 4 * shape[0] * shape[1]

    def small(name: str, dtype: str, rows: int, *others: int) -> np.ndarray:
        raw = file(f"{name}/c.0" + ".0" * len(others))
        assert google_crc32c.value(raw[:-4]) == int.from_bytes(raw[-4:], "little")
        return np.frombuffer(raw[:-4], dtype).reshape(-1, *others)[:rows]

    images = []
    for index in range(n):
        shard, j = divmod(index, shard_size)
        raw = file(f"image/c.{shard}.0.0")
        begin = j * nbytes + 4 * (j // chunk_size)
        images.append(np.frombuffer(raw[begin : begin + nbytes], "<f4").reshape(shape))
    shards = -(-n // shard_size)
    for shard, digest in enumerate(small("shard_sha256", "u1", shards, 32)):
        assert hashlib.sha256(file(f"image/c.{shard}.0.0")).digest() == digest.tobytes()
    return {
        "image": np.array(images),
        "label": small("label", "<i8", n),
        "length_scale": small("length_scale", "<f8", n, *scales),
        "seed": small("seed", "<u8", n),
        "split": small("split", "u1", n),
        "crc32c": small("crc32c", "<u4", n),
    }


def read_zarr_folder(folder: Path) -> Arrays:
    return read_zarr(lambda name: (folder / "d.zarr" / name).read_bytes())


def read_zarr_zip(folder: Path) -> Arrays:
    with zipfile.ZipFile(folder / "d.zarr.zip") as archive:
        infos = archive.infolist()
        assert {(i.compress_type, i.date_time) for i in infos} == {(0, (1980, 1, 1, 0, 0, 0))}
        documents = [i.filename for i in infos if i.filename.endswith("zarr.json")]
        assert documents == ["zarr.json", *sorted(documents[1:])]
        assert [i.filename for i in infos][: len(documents)] == documents
        # Each member is a range of the file: behind 30 bytes of its header, and its name.
        raw = (folder / "d.zarr.zip").read_bytes()
        begins = {i.filename: i.header_offset + 30 + len(i.filename) for i in infos}
        sizes = {i.filename: i.file_size for i in infos}
        return read_zarr(lambda name: raw[begins[name] : begins[name] + sizes[name]])


def read_hdf5_root(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Check a file's first block and seal; return its attributes and its datasets."""
    raw = path.read_bytes()
    line = raw[:4096].rstrip(b"\0").decode()
    match = re.fullmatch(r"gpgen 1 n=(\d+) image=(\d+)\+(\d+) sha256=([0-9a-f]{64})\n", line)
    assert match is not None
    n, offset, nbytes = map(int, match.groups()[:3])
    first = hashlib.sha256(raw[4096 : max(offset, 4096)]).hexdigest()
    second = hashlib.sha256(raw[max(offset + nbytes, 4096) :]).hexdigest()
    text = f"{len(raw)} {first} {second}"
    assert hashlib.sha256(text.encode()).hexdigest() == match.group(4)
    with h5py.File(path) as file:
        root = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in file.attrs.items()}
        arrays = {name: dataset[:] for name, dataset in file.items()}
    root["recipe"] = json.loads(root["recipe"])
    check_seal(root)
    assert root["n"] == n
    if nbytes:  # samples lie one after the other
        assert raw[offset : offset + nbytes] == arrays["image"].tobytes()
    return root, arrays


def read_hdf5(folder: Path) -> Arrays:
    root, arrays = read_hdf5_root(folder / "d.h5")
    for shard, digest in enumerate(arrays.pop("shard_sha256")):
        part = arrays["image"][shard * root["shard_size"] : (shard + 1) * root["shard_size"]]
        assert hashlib.sha256(part.tobytes()).digest() == digest.tobytes()
    return arrays


def shards_of(folder: Path, manifest: str) -> tuple[dict[str, Any], Arrays, list[Path]]:
    """Read a manifest; find its shards by the pattern, and check their SHA-256."""
    root, arrays = read_hdf5_root(folder / manifest)
    digests = arrays.pop("shard_sha256")
    paths = [folder / root["shard_pattern"].format(shard=shard) for shard in range(len(digests))]
    for path, digest in zip(paths, digests, strict=True):
        assert hashlib.sha256(path.read_bytes()).digest() == digest.tobytes()
    return root, arrays, paths


def read_hdf5_shards(folder: Path) -> Arrays:
    root, arrays, paths = shards_of(folder / "d-h5", "d-manifest.h5")
    parts: dict[str, list[np.ndarray]] = {}
    for shard, path in enumerate(paths):
        with h5py.File(path) as file:
            assert file.userblock_size == 0
            assert file.attrs["format"] == "gpgen-shard"
            assert file.attrs["recipe_sha256"] == root["recipe_sha256"]
            assert file.attrs["shard"] == shard
            assert file.attrs["first_sample"] == shard * root["shard_size"]
            for name, dataset in file.items():
                parts.setdefault(name, []).append(dataset[:])
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    joined["crc32c"] = arrays["crc32c"]  # the shards' own are zeros in these, as the page says
    for name, values in arrays.items():
        np.testing.assert_array_equal(joined[name], values)
    return joined


def read_tar_shards(folder: Path) -> Arrays:
    root, arrays, paths = shards_of(folder / "d-tar", "d-manifest.tar.h5")
    images, begins, lengths = [], [], set()
    for path in paths:
        with tarfile.open(path, "r:") as archive:
            members = archive.getmembers()
            contents = [archive.extractfile(member).read() for member in members]
        begins.append([member.offset for member in members if member.name.endswith(".npy")])
        for k in range(0, len(members), 3):
            index = len(images)
            names = [f"{index:08d}.{kind}" for kind in ("npy", "cls", "json")]
            assert [member.name for member in members[k : k + 3]] == names
            assert contents[k][:8] == b"\x93NUMPY\x01\x00"
            images.append(np.load(io.BytesIO(contents[k])))
            assert int(contents[k + 1]) == arrays["label"][index]
            sample = json.loads(contents[k + 2])
            lengths.add(len(contents[k + 2]))
            assert sample == {
                "index": index,
                "label": arrays["label"][index],
                "class": root["class_names"][arrays["label"][index]],
                "length_scale": sample["length_scale"],
                "seed": arrays["seed"][index],
                "split": root["split_names"][arrays["split"][index]],
                "recipe_sha256": root["recipe_sha256"],
            }
            for given, axes in zip(
                sample["length_scale"], arrays["length_scale"][index], strict=True
            ):
                np.testing.assert_array_equal(np.broadcast_to(given, axes.shape), axes)
    assert len(lengths) == 1
    assert len({stride for begin in begins for stride in np.diff(begin)}) == 1
    return {"image": np.array(images), **arrays}


READERS = [read_zarr_folder, read_zarr_zip, read_hdf5, read_hdf5_shards, read_tar_shards]


@pytest.mark.parametrize("read", READERS)
def test_the_page_on_the_format_is_enough_to_read_it_without_gpgen(read) -> None:
    arrays = read(DATA / "format-1")
    crcs = [google_crc32c.value(image.tobytes()) for image in arrays["image"]]
    np.testing.assert_array_equal(crcs, arrays.pop("crc32c"))
    np.testing.assert_array_equal(arrays["image"], stored_images())
    expected = json.loads((DATA / "format-1" / "reads-as.json").read_text())["d.zarr"]
    found = {name: hashlib.sha256(a.tobytes()).hexdigest() for name, a in arrays.items()}
    assert found == expected


def test_a_small_shard_of_today_holds_its_own_checksums(tmp_path: Path) -> None:
    make(recipe(), N, tmp_path / "d-{shard:03d}.h5", workers=1, shard_size=4).close()
    with h5py.File(tmp_path / "d-001.h5") as file:
        crcs = [google_crc32c.value(image.tobytes()) for image in file["image"]]
        np.testing.assert_array_equal(file["crc32c"], crcs)


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
