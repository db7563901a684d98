"""Importing archives: the same pixels come out, and it says what isn't there."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

import gpgen
from gpgen.errors import DatasetError, RecipeError, TargetError, UsageError
from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.golkar2018.gp_writing import write_gp
from gpgen.golkar2018.import_source import open_source
from gpgen.golkar2018.importing import content_sha256, import_dataset
from gpgen.imported import Imported
from gpgen.making.converting import convert

PLAN = ArchivePlan(((9.5, 6), (10.0, 7), (80.0, 6), (140.0, 6)), size=128)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "out"
    make_archive(PLAN, out)
    with zipfile.ZipFile(out / "samples.zip") as samples:
        samples.extractall(out)
    with zipfile.ZipFile(out / "dataset.zip") as dataset:
        dataset.extractall(out)
    return out


TARGETS = ["data.zarr", "data.h5", "data-{shard:05d}.h5"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", ["dataset.zip", "gp-crosses", "gp-crosses/GP_9.5-10+80-140.gp"])
def test_crosses_come_back_pixel_by_pixel(
    tmp_path: Path, archive: Path, source: str, target: str
) -> None:
    with import_dataset(archive / source, tmp_path / target, shard_size=4) as dataset:
        assert dataset.classes == ("9.5-80", "10-80", "9.5-140", "10-140")
        assert dataset.label[:].tolist() == [0, 1, 2, 3] * 3
        assert dataset.length_scales[:4].tolist() == [[9.5, 80], [10, 80], [9.5, 140], [10, 140]]
        assert dataset.image.dtype == np.float32
        images = dataset.read(range(len(dataset)))
    samples = {key: PLAN.sample(*key) for key in PLAN.members}
    (cross,) = PLAN.crosses
    for position, image in enumerate(images):
        dealt = cross.samples_of(position % 4, position // 4, 3)
        expected = 0.75 * samples[dealt[0]] + 1.25 * samples[dealt[1]]
        assert np.array_equal(image, expected.astype(np.float32))
    assert gpgen.verify(tmp_path / target).ok


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", ["samples.zip", "gp-samples"])
def test_samples_come_back_in_their_own_precision(
    tmp_path: Path, archive: Path, source: str, target: str
) -> None:
    with import_dataset(archive / source, tmp_path / target, shard_size=7) as dataset:
        assert dataset.classes == ("9.5", "10", "80", "140")
        assert dataset.image.dtype == np.float64
        labels, images = dataset.label[:], dataset.read(range(len(dataset)))
        scales = dataset.length_scales[:]
    # One of each in turn; the seventh of 10 px is left over at the end.
    assert labels.tolist() == [0, 1, 2, 3] * 6 + [1]
    for position, (label, image) in enumerate(zip(labels, images, strict=True)):
        scale = (9.5, 10.0, 80.0, 140.0)[label]
        assert scales[position] == [scale]
        assert np.array_equal(image, PLAN.sample(scale, position // 4))
    assert gpgen.verify(tmp_path / target).ok


def test_the_precision_can_be_chosen(tmp_path: Path, archive: Path) -> None:
    with import_dataset(archive / "samples.zip", tmp_path / "a.zarr", dtype="float32") as dataset:
        assert dataset.image.dtype == np.float32
        assert np.array_equal(dataset.read([2])[0], PLAN.sample(80.0, 0).astype(np.float32))


def test_other_programs_read_what_was_imported(tmp_path: Path, archive: Path) -> None:
    import_dataset(archive / "samples.zip", tmp_path / "a.zarr").close()
    import_dataset(archive / "dataset.zip", tmp_path / "a.h5").close()
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert np.array_equal(group["image"][1], PLAN.sample(10.0, 0))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["image"].shape == (12, 128, 128)
        assert file["label"][:4].tolist() == [0, 1, 2, 3]


def test_seeds_are_absent_and_said_to_be(tmp_path: Path, archive: Path) -> None:
    with import_dataset(archive / "dataset.zip", tmp_path / "a.zarr") as dataset:
        with pytest.raises(AttributeError, match="imported, so its samples have no seeds"):
            _ = dataset.seed
        recipe = dataset.recipe
    assert not (tmp_path / "a.zarr" / "seed").exists()
    assert isinstance(recipe, Imported)
    assert recipe.source_name == "dataset.zip/gp-crosses/GP_9.5-10+80-140.gp"
    assert recipe.source_sha256 == content_sha256(archive / "dataset.zip")
    stored = json.loads((tmp_path / "a.zarr" / "zarr.json").read_bytes())["attributes"]["recipe"]
    assert stored["algorithm"] == "imported"
    assert str(archive) not in json.dumps(stored)
    with pytest.raises(UsageError, match="imported"):
        gpgen.verify(tmp_path / "a.zarr", regenerate=1)


def test_tar_files_of_imported_images_claim_no_seeds(tmp_path: Path, archive: Path) -> None:
    import_dataset(archive / "dataset.zip", tmp_path / "a.zarr").close()
    convert(tmp_path / "a.zarr", tmp_path / "a-{shard:05d}.tar").close()
    shutil.unpack_archive(tmp_path / "a-00000.tar", tmp_path / "samples")
    about = json.loads((tmp_path / "samples" / "00000001.json").read_bytes())
    assert about.pop("recipe_sha256")
    assert about == {
        "index": 1,
        "label": 1,
        "class": "10-80",
        "length_scale": [10, 80],
        "split": "train",
    }
    assert gpgen.verify(tmp_path / "a-manifest.tar.h5").ok


def test_training_on_imported_images_is_refused(tmp_path: Path, archive: Path) -> None:
    pytest.importorskip("torch")
    from backdrop.training import Source

    import_dataset(archive / "dataset.zip", tmp_path / "a.zarr").close()
    with pytest.raises(UsageError, match="was imported, so the scale of its images is not known"):
        Source(str(tmp_path / "a.zarr"))


def test_splits_hold_the_same_share_of_every_class(tmp_path: Path, archive: Path) -> None:
    splits = {"train": 2 / 3, "test": 1 / 3}
    with import_dataset(archive / "dataset.zip", tmp_path / "a.zarr", splits=splits) as dataset:
        for split, per_class in (("train", 2), ("test", 1)):
            labels = dataset.label[:][dataset.split(split).indices]
            assert np.bincount(labels).tolist() == [per_class] * 4
    with pytest.raises(RecipeError):
        import_dataset(archive / "dataset.zip", tmp_path / "b.zarr", splits={"train": 0.5})


def test_damage_is_noticed(tmp_path: Path, archive: Path) -> None:
    import_dataset(archive / "dataset.zip", tmp_path / "a.zarr").close()
    shard = tmp_path / "a.zarr" / "image" / "c.0.0.0"
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    assert [p.file for p in gpgen.verify(tmp_path / "a.zarr").problems] == ["image/c.0.0.0"]


class Stop(Exception):
    pass


def stop_after(shards: int) -> Callable[[object], None]:
    def follow(progress: object) -> None:
        if progress.done >= 4 * shards:  # type: ignore[attr-defined]
            raise Stop

    return follow


@pytest.mark.parametrize("source", ["dataset.zip", "samples.zip"])
def test_a_broken_off_import_resumes_to_the_same_bytes(
    tmp_path: Path, archive: Path, source: str
) -> None:
    out, whole = tmp_path / "a.zarr", tmp_path / "whole.zarr"
    options = {"shard_size": 4, "chunk_size": 2}
    with pytest.raises(Stop):
        import_dataset(archive / source, out, progress=stop_after(1), **options)
    assert not out.exists()
    with pytest.raises(TargetError, match="resume"):
        import_dataset(archive / source, out, **options)
    import_dataset(archive / source, out, resume=True, **options).close()
    import_dataset(archive / source, whole, **options).close()
    assert contents(out) == contents(whole)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_source_that_changed_meanwhile_is_not_mixed_in(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "gp-samples"
    shutil.copytree(archive / "gp-samples", folder)
    with pytest.raises(Stop):
        import_dataset(folder, tmp_path / "a.zarr", progress=stop_after(1), shard_size=4)
    np.save(folder / "final_size-128_corr-80_v1.npy", np.zeros((128, 128)))
    with pytest.raises(TargetError, match="differs"):
        import_dataset(folder, tmp_path / "a.zarr", resume=True, shard_size=4)


def test_the_same_content_gives_the_same_bytes_wherever_it_lies(
    tmp_path: Path, archive: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(archive / "dataset.zip", tmp_path / "elsewhere")
    import_dataset(archive / "dataset.zip", tmp_path / "a.zarr").close()
    import_dataset(tmp_path / "elsewhere" / "dataset.zip", tmp_path / "b.zarr").close()
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


def test_labels_in_any_order_are_kept(tmp_path: Path) -> None:
    labels = [1, 0, 0, 2, 1, 1, 0, 2, 2]
    stream = io.BytesIO()
    images = [np.full((16, 16), i, dtype=np.float32) for i in range(len(labels))]
    write_gp(stream, zip(images, labels, strict=True), 9, {0: "5-1", 1: "6-1", 2: "7-1"})
    (tmp_path / "x.gp").write_bytes(stream.getvalue())
    splits = {"a": 2 / 3, "b": 1 / 3}
    with import_dataset(tmp_path / "x.gp", tmp_path / "a.h5", splits=splits) as dataset:
        assert dataset.label[:].tolist() == labels
        assert dataset.length_scales[3].tolist() == [7, 1]
        assert np.bincount(dataset.split("b").label[:]).tolist() == [1, 1, 1]
        assert np.array_equal(dataset.read(range(9)), images)
    assert gpgen.verify(tmp_path / "a.h5").ok
    pytest.importorskip("torch")
    torch_datasets = pytest.importorskip("gpgen.torch")
    textures = torch_datasets.TextureDataset(tmp_path / "a.h5", target="both")
    assert textures.targets.tolist() == labels
    for i, batched in enumerate(textures.__getitems__(range(9))):
        label, length_scales = textures[i][1]
        assert label == batched[1][0] == labels[i]
        assert length_scales.tolist() == [5 + labels[i], 1]
    assert textures.batch(np.arange(9))[1][0].tolist() == labels


@pytest.mark.parametrize(
    "name", ["nothing", "empty", "text.gp", "text.txt", "hostile.gp", "hostile.zip"]
)
def test_what_is_refused_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for file in ("text.gp", "text.txt"):
        (tmp_path / file).write_text("hello")
    (tmp_path / "hostile.gp").write_bytes(b"\x80\x03cos\nsystem\nX\x09\0\0\0touch ran\x85R.")
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as hostile:
        hostile.writestr("../final_size-4_corr-1_v1.npy", b"x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError):
        import_dataset(tmp_path / name, tmp_path / "out.zarr")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": []},
        {"class_names": ["1", "2-3"]},
        {"class_names": ["../x"]},
        {"image_labels": [7]},
        {"shape": [4]},
        {"shape": [0, 4]},
        {"source_sha256": "x"},
        {"dtype": "float16"},
        {"name": ""},
        {"path": "/etc/passwd"},
        {"components": [{"kernel": "rbf", "length_scales": [1.0]}]},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_stored_description_that_contradicts_itself_is_refused(change: dict) -> None:
    good = {
        "name": "imported",
        "algorithm": "imported",
        "shape": [4, 4],
        "class_names": ["1", "2"],
        "source_sha256": "0" * 64,
    }
    assert Imported.from_dict(good).classes == ("1", "2")
    with pytest.raises(RecipeError):
        Imported.from_dict({**good, **change})


def test_files_that_systems_leave_beside_are_ignored(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "gp-samples"
    shutil.copytree(archive / "gp-samples", folder)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "._final_size-128_corr-80_v1.npy").write_bytes(b"x")
    (folder / "._GP.gp").write_bytes(b"x")
    with open_source(folder) as source:
        assert len(source.labels) == 25


def test_an_imported_dataset_is_neither_extended_nor_cut(tmp_path: Path, archive: Path) -> None:
    """Nothing draws more of it, and its description is that of all its images."""
    path = tmp_path / "a.zarr"
    import_dataset(archive / "dataset.zip", path).close()
    for call in ({"out": path, "extend": True}, {"out": tmp_path / "b.zarr", "reuse": path}):
        with pytest.raises(UsageError, match="was imported, so nothing can draw more of it"):
            gpgen.make("two-scale-mini", 20, **call)
    with pytest.raises(UsageError, match="was imported, and its description is that of all 12"):
        convert(path, tmp_path / "b.zarr", n=5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
