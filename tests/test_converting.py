from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_support import run

import gpgen
from gpgen import Recipe
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.format import tar
from gpgen.making.converting import convert

N, SHARD = 75, 20
TARGETS = {"zarr": "d.zarr", "hdf5": "d.h5", "shards": "d-{shard:02d}.h5", "tar": "d-{shard}.tar"}


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder, and its SHA-256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.load("two-scale-mini").replace(shape=[24, 32], standardize=False)


@pytest.fixture(scope="module")
def made(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The dataset in every format, as `make` writes it; each in a folder of its own."""
    paths = {}
    for name, target in TARGETS.items():
        paths[name] = tmp_path_factory.mktemp(name) / target
        gpgen.make(recipe, N, paths[name], shard_size=SHARD, workers=1).close()
    return paths


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", TARGETS)
def test_a_conversion_has_the_bytes_that_make_would_write(
    source: str, target: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """Pixels, checksums, manifest, recipe, provenance: all of it, whatever the way."""
    told = []
    out = tmp_path / TARGETS[target]
    with convert(made[source], out, shard_size=SHARD, progress=told.append) as dataset:
        assert len(dataset) == N
    assert hashes(tmp_path) == hashes(made[target].parent)
    assert [p.done for p in told] == [0, 20, 40, 60, 75]
    assert gpgen.verify(out).ok


# It leaves the files that it has read to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_tar_files_are_read_by_webdataset(made: dict[str, Path], recipe: Recipe) -> None:
    wds = pytest.importorskip("webdataset")
    shards = [str(made["tar"]).format(shard=k) for k in range(4)]
    dataset = gpgen.open_dataset(made["zarr"])
    samples = list(wds.WebDataset(shards, shardshuffle=False).decode())
    assert len(samples) == N
    for i, sample in enumerate(samples):
        assert sample["__key__"] == f"{i:08d}"
        assert (sample["npy"] == dataset.image[i]).all()
        assert sample["cls"] == i % 4
        assert sample["json"] == {
            "index": i,
            "label": i % 4,
            "class": recipe.classes[i % 4],
            "length_scale": list(recipe.length_scales_of(i % 4)),
            "seed": str(dataset.seed[i]),
            "split": list(recipe.splits)[dataset.split_code[i]],
            "recipe_sha256": recipe.sha256,
        }


@pytest.mark.slow
# It leaves files and sockets to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_tar_files_are_read_by_datasets(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    loaded = datasets.load_dataset(
        "webdataset",
        data_files=str(made["tar"]).format(shard="*"),
        split="train",
        cache_dir=str(tmp_path),
    )
    with gpgen.open_dataset(made["zarr"]) as dataset:
        rows = loaded["json"][:]
        assert [int(row["seed"]) for row in rows] == dataset.seed[:].tolist()
        assert [row["label"] for row in rows] == dataset.label[:].tolist()
        assert (loaded["npy"][N - 1] == dataset.image[N - 1]).all()


def test_tar_files_with_seeds_as_numbers_are_read(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gpgen wrote them before its first release; here they have a block less each."""
    lengths = (
        tar._Descriptions(named).longest % 512 for named in map(recipe_of(recipe), range(512))
    )
    letters = next(k for k, length in enumerate(lengths) if length == 1)
    named = recipe_of(recipe)(letters)
    written = tar._Descriptions.of

    def of(self: tar._Descriptions, *sample: object) -> bytes:
        content = json.loads(written(self, *sample))
        return json.dumps(content | {"seed": int(content["seed"])}).encode().ljust(self.nbytes)

    with monkeypatch.context() as patch:
        patch.setattr(tar._Descriptions, "of", of)
        tar._descriptions.cache_clear()
        gpgen.make(named, 8, tmp_path / "old-{shard}.tar", shard_size=8, workers=1).close()
    tar._descriptions.cache_clear()
    gpgen.make(named, 8, tmp_path / "new-{shard}.tar", workers=1).close()
    old, new = (tmp_path / f"{name}-0.tar" for name in ("old", "new"))
    assert new.stat().st_size - old.stat().st_size == 8 * 512
    assert gpgen.verify(tmp_path / "old-{shard}.tar").ok
    grown = tmp_path / "grown-{shard}.tar"
    gpgen.make(named, 9, grown, reuse=tmp_path / "old-{shard}.tar", workers=1).close()
    assert (tmp_path / "grown-0.tar").read_bytes() == new.read_bytes()
    with gpgen.open_dataset(tmp_path / "old-{shard}.tar") as dataset:
        assert (dataset.image[:] == gpgen.open_dataset(tmp_path / "new-{shard}.tar").image[:]).all()


def recipe_of(recipe: Recipe) -> Callable[[int], Recipe]:
    """Recipes whose split has a name of so many letters, and one, in JSON, where é is six."""
    return lambda k: recipe.replace(splits={"é" * (k // 6) + "a" * (k % 6 + 1): 1.0})


def test_tar_files_are_read_by_tar(made: dict[str, Path]) -> None:
    with tarfile.open(str(made["tar"]).format(shard=3)) as archive:
        members = archive.getmembers()
    assert [m.name for m in members[:3]] == ["00000060.npy", "00000060.cls", "00000060.json"]
    assert len(members) == 3 * (N - 60)
    assert {(m.mtime, m.uid, m.gid, m.mode) for m in members} == {(0, 0, 0, 0o644)}


def test_the_plan_knows_the_size_of_tar_files(made: dict[str, Path], recipe: Recipe) -> None:
    plan = gpgen.plan(recipe, N, made["tar"].with_name("e-{shard}.tar"), shard_size=SHARD)
    written = sum(path.stat().st_size for path in made["tar"].parent.glob("d-*"))
    # The manifest names the pattern, which has the same length.
    assert plan.nbytes == written


KILLED = """
import os, signal, sys
from gpgen.making.converting import convert
def follow(progress):
    if progress.done == 40: os.kill(os.getpid(), signal.SIGKILL)
convert(sys.argv[1], sys.argv[2], shard_size=int(sys.argv[3]), progress=follow)
"""


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "tar"])
def test_killed_and_resumed_it_has_the_same_bytes(
    target: str, made: dict[str, Path], tmp_path: Path
) -> None:
    source = made["hdf5" if target == "zarr" else "zarr"]
    out = tmp_path / TARGETS[target]
    command = [sys.executable, "-c", KILLED, str(source), str(out), str(SHARD)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(DatasetError, match="unfinished: 2 of 4 shards are done"):
        gpgen.open_dataset(out)
    with pytest.raises(TargetError, match="continue with resume=True"):
        convert(source, out, shard_size=SHARD)
    convert(source, out, shard_size=SHARD, resume=True).close()
    assert hashes(tmp_path) == hashes(made[target].parent)
    # Finished, it is left alone.
    convert(source, out, shard_size=SHARD, resume=True).close()


def test_damage_is_not_copied(made: dict[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "source.zarr"
    convert(made["hdf5"], source, shard_size=SHARD).close()
    shard = source / "image" / "c.2.0.0"
    raw = bytearray(shard.read_bytes())
    raw[77] ^= 8
    shard.write_bytes(raw)
    out = tmp_path / "out.h5"
    with pytest.raises(DatasetError, match=f"{shard}: sample 40 is damaged; run `gpgen verify`"):
        convert(source, out)
    assert not out.exists()


def test_what_can_not_be_converted(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no dataset"):
        convert(tmp_path / "none.zarr", tmp_path / "out.h5")
    with pytest.raises(UsageError, match="both source and target"):
        convert(made["zarr"], made["zarr"])
    with pytest.raises(UsageError, match="no format belongs"):
        convert(made["zarr"], tmp_path / "out.png")
    with pytest.raises(UsageError, match="exclude each other"):
        convert(made["zarr"], tmp_path / "out.h5", resume=True, overwrite=True)
    existing = tmp_path / "existing.h5"
    existing.write_bytes(b"dear")
    with pytest.raises(TargetError, match="exists"):
        convert(made["zarr"], existing)
    assert existing.read_bytes() == b"dear"


def test_an_existing_dataset_is_replaced_when_asked(
    made: dict[str, Path], tmp_path: Path, recipe: Recipe
) -> None:
    out = tmp_path / TARGETS["hdf5"]
    gpgen.make(recipe.replace(seed=1), 8, out, workers=1).close()
    convert(made["zarr"], out, shard_size=SHARD, overwrite=True).close()
    assert hashes(tmp_path) == hashes(made["hdf5"].parent)


def test_the_command_line(made: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "c-{shard:03d}.tar"
    words = ("convert", made["zarr"], out, "--json", "--shard-size", "30")
    told = run(*words, cwd=tmp_path)
    assert told.status == 0, told.err
    answer = json.loads(told.out)
    assert answer["n"] == N
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c-000.tar",
        "c-001.tar",
        "c-002.tar",
        "c-manifest.tar.h5",
    ]
    again = run("convert", made["zarr"], out, cwd=tmp_path)
    assert again.status == 1
    assert "--overwrite" in again.err
    assert run("convert", made["zarr"], "x.png", cwd=tmp_path).status == 2
