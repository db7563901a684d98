"""Archives in the form of the 2018 record: their content, their bytes, and broken-off runs."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.exact.mosaic import standardized, texture
from gpgen.golkar2018.archive import make_archive, read_plan
from gpgen.golkar2018.archive_plan import AUTHORS_CROSS, ArchivePlan
from gpgen.golkar2018.import_source import open_source
from gpgen.golkar2018.texture_sums import Cross
from gpgen.io import files
from gpgen.io.beside import working_folder
from gpgen.progress import Progress

SMALL = ArchivePlan(((9.5, 4), (10.0, 5), (80.0, 4), (140.0, 4)), size=128)

# Of SMALL, from an uninterrupted run with one thread.
SAMPLES_SHA256 = "1949d81719cf3c30d95776b73290527bd4504a668c9f7f65a14027a0f72db618"
DATASET_SHA256 = "40dacf0d8c9b485f0a9f4d0db7f46c86cdd6e4f48027682e019ba9722d337c01"

# The pixels and labels that the authors' own GP_cross makes of SMALL's samples.zip, as
# `python benchmarks/golkar2018_authors.py crosses CHECKOUT ARCHIVE` says; the second line is
# of the three lists of THREE with --weights 0.5 1 2. The same script found the default
# archive's 100 images of 1024 x 1024 equal in every pixel, and a deviation of 1.1e-14.
AUTHORS_PIXELS = "f91a9726918a9b09c23f7fd054ee42afe1c3f68420ac1ae677d91b4dbd613306"
AUTHORS_PIXELS_THREE = "028f319958eb0e5986886072da27c09b4f04f87faad6bcc1c1be25d9943cc126"

THREE = ArchivePlan(
    tuple((v, 9) for v in (9.5, 10.0, 60.0, 80.0, 140.0, 200.0)),
    (Cross.parse("9.5-10+60-80+140-200", (0.5, 1.0, 2.0)),),
    size=128,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "out"
    make_archive(SMALL, out)
    return out


def unpickled(path: Path) -> tuple[list[tuple[np.ndarray, int]], dict[int, str]]:
    with zipfile.ZipFile(path / "dataset.zip") as dataset:
        (name,) = dataset.namelist()
        images, names = pickle.loads(dataset.read(name))  # noqa: S301 - we have just made it
    return images, names


def digest(images: list[tuple[np.ndarray, int]]) -> str:
    sha256 = hashlib.sha256()
    for image, label in images:
        sha256.update(image.astype("<f4").tobytes() + bytes([label]))
    return sha256.hexdigest()


def test_the_files_are_named_and_made_as_the_authors_made_them(small: Path) -> None:
    with zipfile.ZipFile(small / "samples.zip") as samples:
        assert samples.testzip() is None
        names = samples.namelist()
        assert names[:5] == [
            *(f"gp-samples/final_size-128_corr-9.5_v{v}.npy" for v in (1, 2, 3, 4)),
            "gp-samples/final_size-128_corr-10_v1.npy",
        ]
        for name in names:
            sample = np.load(io.BytesIO(samples.read(name)))
            assert (sample.shape, sample.dtype) == ((128, 128), np.dtype(np.float64))
            assert abs(sample.mean()) < 1e-10
            assert abs(sample.std() - 1) < 1e-10
    with zipfile.ZipFile(small / "dataset.zip") as dataset:
        assert dataset.namelist() == ["gp-crosses/GP_9.5-10+80-140.gp"]
    images, names_of = unpickled(small)
    assert names_of == {0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"}
    assert [label for _, label in images] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert {(image.shape, image.dtype.str) for image, _ in images} == {((128, 128), "<f4")}


def test_the_authors_program_makes_the_same_pixels_of_our_samples(small: Path) -> None:
    assert digest(unpickled(small)[0]) == AUTHORS_PIXELS


def test_the_authors_program_agrees_with_crosses_of_three_lists(tmp_path: Path) -> None:
    make_archive(THREE, tmp_path / "out")
    assert digest(unpickled(tmp_path / "out")[0]) == AUTHORS_PIXELS_THREE


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads(
    small: Path, tmp_path: Path
) -> None:
    made = make_archive(SMALL, tmp_path / "out", workers=3)
    assert made.sha256 == {"samples.zip": SAMPLES_SHA256, "dataset.zip": DATASET_SHA256}
    assert made.nbytes == SMALL.nbytes
    for name, sha256 in made.sha256.items():
        assert (tmp_path / "out" / name).read_bytes() == (small / name).read_bytes()
        assert hashlib.sha256((small / name).read_bytes()).hexdigest() == sha256
        assert f"{sha256}  {name}\n" in (small / "SHA256SUMS").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_a_sample_depends_on_seed_length_scale_and_number_alone(small: Path) -> None:
    other = ArchivePlan(((80.0, 9), (9.5, 1)), (), size=128)
    with zipfile.ZipFile(small / "samples.zip") as samples:
        data = io.BytesIO(samples.read("gp-samples/final_size-128_corr-80_v3.npy"))
    assert np.array_equal(np.load(data), other.sample(80.0, 2))
    assert not np.array_equal(other.sample(80.0, 2), other.sample(80.0, 1))
    changed = ArchivePlan(((80.0, 9),), (), size=128, seed=1)
    assert not np.array_equal(other.sample(80.0, 2), changed.sample(80.0, 2))


def test_an_archive_says_what_it_was_made_from(small: Path, tmp_path: Path) -> None:
    assert read_plan(small) == SMALL
    sums = dict(line.split("  ")[::-1] for line in (small / "SHA256SUMS").read_text().splitlines())
    content = (small / "archive.json").read_bytes()
    assert sums["archive.json"] == hashlib.sha256(content).hexdigest()
    for damage in (b"", content[:50], b"[]", content.replace(b'"seed": 0', b'"seed": -1')):
        (tmp_path / "archive.json").write_bytes(damage)
        with pytest.raises(DatasetError, match=r"archive\.json can't be read"):
            read_plan(tmp_path)
    (tmp_path / "archive.json").write_bytes(
        content.replace(b'"archive_version": 1', b'"archive_version": 2')
    )
    with pytest.raises(DatasetError, match="version 2"):
        read_plan(tmp_path)


def test_no_two_samples_are_alike(small: Path) -> None:
    images = np.array([image.ravel() for image in open_source(small / "samples.zip").images()])
    correlations = np.corrcoef(images) - np.eye(len(images))
    assert correlations.max() < 0.999


def test_an_archive_without_crosses_has_samples_alone(tmp_path: Path) -> None:
    made = make_archive(ArchivePlan(((80.0, 2),), (), size=64), tmp_path / "out")
    assert list(made.sha256) == ["samples.zip"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "SHA256SUMS",
        "archive.json",
        "samples.zip",
    ]


def test_progress_ends_with_everything_done(tmp_path: Path) -> None:
    seen: list[Progress] = []
    make_archive(SMALL, tmp_path / "out", progress=seen.append)
    assert [p.done for p in seen] == list(range(1, 17 + 8 + 1))
    assert {p.total for p in seen} == {25}
    assert {p.unit for p in seen} == {"image"}


KILLED = """
import os, sys
from gpgen.golkar2018.archive import make_archive
from gpgen.progress import Progress
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.io import files

left = int(sys.argv[2])

def step(action, path):
    global left
    left -= 1
    if left == 0:
        os._exit(9)

files.watch(step)
plan = ArchivePlan(((9.5, 4), (10.0, 5), (80.0, 4), (140.0, 4)), size=128)
make_archive(plan, sys.argv[1], workers=1, overwrite=True)
"""


def run_killed(out: Path, step: int) -> int:
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(out), str(step)]
    return subprocess.run(command, check=False).returncode


@pytest.mark.parametrize("step", [1, 4, 25, 95, 150, -5, -4, -3, -2, -1])
def test_a_run_killed_at_any_step_leaves_all_or_nothing_and_can_be_repeated(
    tmp_path: Path, small: Path, steps: int, step: int
) -> None:
    out = tmp_path / "out"
    assert run_killed(out, step if step > 0 else steps + 1 + step) == 9
    if out.exists():
        assert (out / "SHA256SUMS").read_bytes() == (small / "SHA256SUMS").read_bytes()
    make_archive(SMALL, out, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    for name in ("SHA256SUMS", "archive.json", "samples.zip", "dataset.zip"):
        assert (out / name).read_bytes() == (small / name).read_bytes()


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many effects on the file system a run has."""
    count = [0]

    def step(action: str, path: str) -> None:
        count[0] += 1

    files.watch(step)
    try:
        make_archive(SMALL, tmp_path_factory.mktemp("count") / "out", workers=1)
    finally:
        files.watch(None)
    return count[0]


def test_what_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("precious")
    plan = ArchivePlan(((80.0, 1),), (), size=64)
    with pytest.raises(TargetError, match="exists"):
        make_archive(plan, out)
    assert (out / "mine").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    make_archive(plan, out, overwrite=True)
    assert sorted(p.name for p in out.iterdir()) == ["SHA256SUMS", "archive.json", "samples.zip"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    make_archive(ArchivePlan(((80.0, 1),), (), size=64), tmp_path)
    assert (tmp_path / "samples.zip").exists()


def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    in_use = pytest.raises(TargetError, match="another process")
    with working_folder(tmp_path / "out", "making"), in_use:
        make_archive(SMALL, tmp_path / "out")


def test_a_disk_too_small_is_noticed_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(TargetError, match=r"needs .* MB more"):
        make_archive(SMALL, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "fields",
    [
        {"samples": ()},
        {"samples": ((80.0, 1), (80.0, 2))},
        {"samples": ((80.0, 0),)},
        {"samples": ((80.0, 1025),)},
        {"samples": ((80.00000000001, 1),)},
        {"samples": ((float("inf"), 1),)},
        {"samples": ((10.0, 1),), "size": 60},
        {"samples": ((9.5, 4), (10.0, 4), (80.0, 4)), "crosses": (AUTHORS_CROSS,)},
        {"samples": tuple((v, 1) for v in (9.5, 10.0, 80.0, 140.0)), "crosses": (AUTHORS_CROSS,)},
        {"crosses": (AUTHORS_CROSS, AUTHORS_CROSS)},
        {"seed": -1},
        {"seed": 1 << 64},
    ],
    ids=str,
)
def test_what_cannot_be_made_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ArchivePlan(**{"crosses": (), **fields})  # type: ignore[arg-type]


def test_the_default_is_the_record_of_2018() -> None:
    plan = ArchivePlan()
    names = [member.name for member in plan.samples_zip.members]
    assert len(names) == 208
    assert names[0] == "gp-samples/final_size-1024_corr-9.5_v1.npy"
    assert names[-1] == "gp-samples/final_size-1024_corr-200_v4.npy"
    assert plan.images == 100
    assert plan.nbytes == 2_164_327_642
    assert ArchivePlan.from_dict(plan.to_dict()) == plan


def test_a_plan_draws_what_the_generator_draws() -> None:
    # The seed's derivation is part of the bytes: SeedSequence(root, (float's bits, number)).
    bits = int.from_bytes(np.float64(9.5).tobytes(), "little")
    seed = int(np.random.SeedSequence(3, spawn_key=(bits, 7)).generate_state(1, np.uint64)[0])
    expected = standardized(texture(9.5, 128).realization(seed))
    assert np.array_equal(ArchivePlan(((9.5, 8),), (), 128, 3).sample(9.5, 7), expected)
