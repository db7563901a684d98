"""Datasets that begin with the samples of a smaller one, and those that are a part of one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
from publish_help import publication
from store_tools import OUTS, hashes, only_long, tiny, tiny_make

import gpgen
from gpgen.errors import DatasetError, DatasetWarning, TargetError, UsageError
from gpgen.format.layout import Target
from gpgen.io import files
from gpgen.io.paths import place_of
from gpgen.making import taking
from gpgen.making.converting import convert
from gpgen.publish.packaging import package

ALL = (*OUTS, "d-{shard:03d}.tar")
# Two whole shards of 4 and a part of the third; then five and a part of the sixth.
SMALL, LARGE, SHARD = 10, 21, 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, dict[int, Path]]:
    """Datasets of both sizes as `make` draws them, by target; each in a folder of its own."""
    found = {}
    for out in ALL:
        found[out] = {}
        for n in (SMALL, LARGE):
            folder = tmp_path_factory.mktemp("whole")
            tiny_make(folder / out, n, workers=2).close()
            found[out][n] = folder
    return found


@pytest.fixture
def small(whole, tmp_path: Path):
    """Give a copy of the small dataset."""

    def copy(out: str) -> Path:
        folder = tmp_path / "small"
        shutil.copytree(whole[out][SMALL], folder)
        return folder / out

    return copy


def extend(out: Path, n: int = LARGE, **options):
    return gpgen.make(options.pop("recipe", tiny()), n, out, extend=True, workers=2, **options)


def interrupted(out: Path) -> KeyboardInterrupt:
    """Extend a dataset until Ctrl-C at the eighth shard that is synchronized."""
    seen = 0

    def hook(action: str, name: str) -> None:
        nonlocal seen
        seen += action == "sync" and name.isdecimal()
        if seen == 8:
            raise KeyboardInterrupt

    files.watch(hook)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            extend(out)
    finally:
        files.watch(None)
    return caught.value


def working_name(out: Path) -> str:
    """Return the name of the folder in which a dataset grows."""
    return Target.parse(place_of(out)).working.name


def counted(monkeypatch) -> list[int]:
    """Note each sample that is drawn."""
    drawn: list[int] = []
    images = gpgen.Sampler.images

    def noting(self, start, stop, out=None):
        drawn.extend(range(start, stop))
        return images(self, start, stop, out)

    monkeypatch.setattr(gpgen.Sampler, "images", noting)
    return drawn


@pytest.mark.parametrize("out", ALL)
def test_an_extended_dataset_has_the_bytes_of_one_made_at_once(
    whole, small, monkeypatch, out
) -> None:
    path = small(out)
    drawn = counted(monkeypatch)
    told = []
    with extend(path, progress=told.append) as dataset:
        assert dataset.n == LARGE
    assert hashes(path.parent) == hashes(whole[out][LARGE])
    # The last of the old ones only to see that this gpgen draws it so.
    assert sorted(drawn) == [SMALL - 1, *range(SMALL, LARGE)]
    assert (told[0].done, told[-1].done, told[-1].resumed) == (0, LARGE, 0)
    monkeypatch.undo()
    assert gpgen.verify(path, regenerate="all").ok


@pytest.mark.parametrize(("source", "out"), [
    *zip(ALL, (*ALL[1:], ALL[0]), strict=True), (ALL[0], ALL[0]), (ALL[3], ALL[3]),
])  # fmt: skip
def test_another_target_reuses_a_dataset_of_any_format(
    whole, tmp_path: Path, monkeypatch, source, out
) -> None:
    before = hashes(whole[source][SMALL])
    drawn = counted(monkeypatch)
    smaller = whole[source][SMALL] / source
    sizes = {} if source == out else {"shard_size": SHARD}
    gpgen.make(tiny(), LARGE, tmp_path / out, reuse=smaller, **sizes).close()
    assert hashes(tmp_path) == hashes(whole[out][LARGE])
    assert sorted(drawn) == [SMALL - 1, *range(SMALL, LARGE)]
    assert hashes(whole[source][SMALL]) == before


def test_a_zip_is_reused_and_not_extended(whole, tmp_path: Path) -> None:
    package(whole[OUTS[0]][SMALL] / OUTS[0], publication(), tmp_path / "deposit")
    (zipped,) = (tmp_path / "deposit").glob("*.zarr.zip")
    (tmp_path / "new").mkdir()
    gpgen.make(tiny(), LARGE, tmp_path / "new" / OUTS[0], reuse=zipped).close()
    assert hashes(tmp_path / "new") == hashes(whole[OUTS[0]][LARGE])
    with pytest.raises(UsageError, match="no format belongs to the target"):
        extend(zipped)


@pytest.mark.parametrize("sizes", [{"shard_size": 6}, {"shard_size": 4, "chunk_size": 2}])
def test_with_other_sizes_the_images_are_read(whole, tmp_path: Path, sizes) -> None:
    (tmp_path / "once").mkdir()
    (tmp_path / "grown").mkdir()
    tiny_make(tmp_path / "once" / OUTS[0], LARGE, **sizes).close()
    smaller = whole[OUTS[0]][SMALL] / OUTS[0]
    gpgen.make(tiny(), LARGE, tmp_path / "grown" / OUTS[0], reuse=smaller, **sizes).close()
    assert hashes(tmp_path / "grown") == hashes(tmp_path / "once")


@pytest.mark.slow
def test_worker_processes_draw_what_is_left(whole, small) -> None:
    path = small(OUTS[0])
    gpgen.make(tiny(), LARGE, path, extend=True, workers=1, processes=True).close()
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])


def test_the_default_sizes_are_the_smaller_datasets(tmp_path: Path) -> None:
    gpgen.make(tiny(), 10, tmp_path / "d.zarr").close()
    usual = gpgen.plan(tiny(), 25, tmp_path / "e.zarr")
    assert (usual.shard_size, usual.chunk_size, usual.reused) == (25, 25, 0)
    planned = gpgen.plan(tiny(), 25, tmp_path / "d.zarr", extend=True)
    assert (planned.shard_size, planned.chunk_size, planned.reused) == (10, 10, 10)
    with extend(tmp_path / "d.zarr", 25) as dataset:
        assert (dataset.manifest.shard_size, dataset.manifest.chunk_size) == (10, 10)


@pytest.mark.parametrize("out", ALL)
def test_a_damaged_shard_is_drawn_again_and_said(whole, small, monkeypatch, out) -> None:
    path = small(out)
    with gpgen.open_dataset(path) as dataset:
        place = dataset.reader.place(1)
        with place.path.open("r+b") as file:
            file.seek(place.of(2) + 7)
            file.write(b"\xff")
    drawn = counted(monkeypatch)
    with pytest.warns(DatasetWarning, match="is damaged in shard 1 .*drawn again") as warned:
        extend(path).close()
    assert [Path(each.filename).name for each in warned] == [Path(__file__).name]
    assert 6 in drawn
    assert hashes(path.parent) == hashes(whole[out][LARGE])


def test_a_missing_shard_is_drawn_again_and_said(whole, small) -> None:
    path = small(OUTS[0])
    (path / "image" / "c.1.0.0").unlink()
    with pytest.warns(DatasetWarning, match=r"shard 1 .*no such file"):
        extend(path).close()
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])


@pytest.mark.parametrize("name", ["crc32c/c.0", "shard_sha256/c.0.0"])
def test_damaged_checksums_are_not_relied_on(small, name) -> None:
    path = small(OUTS[0])
    before = hashes(path.parent)
    data = bytearray((path / name).read_bytes())
    data[1] ^= 1
    (path / name).write_bytes(data)
    changed = hashes(path.parent)
    with pytest.raises(DatasetError, match=f"{name} damaged.*verify"):
        extend(path)
    assert hashes(path.parent) == changed != before


def test_pixels_that_this_gpgen_would_not_draw_are_not_taken_over(small, monkeypatch) -> None:
    path = small(OUTS[0])
    before = hashes(path.parent)
    monkeypatch.setattr("gpgen.making.taking.crc32c", lambda image: 7)
    with pytest.raises(DatasetError, match="other pixels than this gpgen draws: sample 9"):
        extend(path)
    assert hashes(path.parent) == before


def test_a_foreign_file_is_not_lost(small) -> None:
    path = small(OUTS[0])
    (path / "notes.txt").write_text("mine")
    before = hashes(path.parent)
    with pytest.raises(TargetError, match=r"notes.txt .*would be lost; move it away"):
        extend(path)
    assert hashes(path.parent) == before


def test_a_source_that_is_replaced_meanwhile_is_not_taken_over(
    whole, tmp_path: Path, monkeypatch
) -> None:
    source = tmp_path / "source.zarr"
    shutil.copytree(whole[OUTS[0]][SMALL] / OUTS[0], source)
    looked = taking._check

    def replacing(dataset, job):
        looked(dataset, job)
        tiny_make(source, SMALL, recipe=tiny(seed=9), overwrite=True).close()

    monkeypatch.setattr("gpgen.making.taking._check", replacing)
    with pytest.raises(DatasetError, match=r"source\.zarr was replaced or removed"):
        gpgen.make(tiny(), LARGE, tmp_path / "d.zarr", reuse=source)
    monkeypatch.undo()
    assert not (tmp_path / "d.zarr").exists()
    with pytest.raises(UsageError, match="recipe seed 9 -> 5"):
        gpgen.make(tiny(), LARGE, tmp_path / "d.zarr", reuse=source, resume=True)


def test_a_target_that_another_run_extends_meanwhile_keeps_what_that_made(
    whole, small, monkeypatch
) -> None:
    path = small(OUTS[0])
    find = gpgen.making.growing.Reused.find.__func__

    def slow(cls, out, *, extend, reuse):
        found = find(cls, out, extend=extend, reuse=reuse)
        monkeypatch.undo()
        gpgen.make(tiny(), LARGE, path, extend=True).close()
        return found

    monkeypatch.setattr(gpgen.making.growing.Reused, "find", classmethod(slow))
    with pytest.raises(DatasetError, match="was replaced"):
        extend(path, 15)
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EOPNOTSUPP])
def test_what_the_system_will_not_link_is_read_and_written(
    whole, small, monkeypatch, number
) -> None:
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "link", refuse)
    path = small(OUTS[0])
    extend(path).close()
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])


@pytest.mark.parametrize("out", [OUTS[0], ALL[3]])
def test_datasets_share_no_file(whole, small, tmp_path: Path, out) -> None:
    """Else the damage of one would be the other's. What is extended has whole shards moved."""
    path = small(out)
    (tmp_path / "more").mkdir()
    gpgen.make(tiny(), LARGE, tmp_path / "more" / out, reuse=path).close()
    before = {entry.stat().st_ino for entry in path.parent.rglob("*") if entry.is_file()}
    extend(path).close()
    entries = [entry.stat() for entry in tmp_path.rglob("*") if entry.is_file()]
    assert {entry.st_nlink for entry in entries} == {1}
    assert len(before & {entry.st_ino for entry in entries}) >= SMALL // SHARD


def test_a_link_to_a_dataset_is_followed(whole, small, tmp_path: Path) -> None:
    path = small(OUTS[0])
    link = tmp_path / "other-name.zarr"
    link.symlink_to(path)
    extend(link).close()
    assert link.is_symlink()
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])


def test_a_shard_that_is_a_link_is_copied(whole, small, tmp_path: Path) -> None:
    path = small(OUTS[0])
    shard = path / "image" / "c.0.0.0"
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    extend(path).close()
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])
    assert not shard.is_symlink()


@pytest.mark.parametrize("damaged", [False, True])
def test_what_is_reused_shares_blocks_where_files_can(
    whole, tmp_path: Path, monkeypatch, damaged
) -> None:
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(2**29)
    commands = (["mkfs.xfs", "-q", str(image)], ["mount", "-o", "loop", str(image), str(mount)])
    if not shutil.which("mkfs.xfs") or any(
        subprocess.run(command, check=False, capture_output=True).returncode for command in commands
    ):
        pytest.skip("no XFS can be made and mounted here")
    try:
        path, shared, clone = mount / "old" / "d.zarr", [], files.clone
        shutil.copytree(whole[OUTS[0]][SMALL], path.parent)
        if damaged:
            shard = path / "image" / "c.1.0.0"
            shard.write_bytes(shard.read_bytes() + b"more")
        (mount / "new").mkdir()
        monkeypatch.setattr(
            files, "clone", lambda *where: shared.append(clone(*where)) or shared[-1]
        )
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            gpgen.make(tiny(), LARGE, mount / "new" / "d.zarr", reuse=path).close()
        assert [each.category for each in warned] == [DatasetWarning] * damaged
        assert shared == [True] * (SMALL // SHARD)
        assert hashes(mount / "new") == hashes(whole[OUTS[0]][LARGE])
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_one_line_and_the_old_dataset_stands(small, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        path = mount / "d.zarr"
        shutil.copytree(small(OUTS[0]), path)
        before = hashes(mount)
        with pytest.raises(TargetError, match=r"needs .* more and its disk has"):
            extend(path, 2000)
        # What is checked in advance may be used up meanwhile.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gpgen.making.targets.check_space", lambda *_: None)
            with pytest.raises(TargetError, match=r"no space left.*resume=True"):
                extend(path, 200)
        assert {name: h for name, h in hashes(mount).items() if ".making" not in name} == before
        with gpgen.open_dataset(path) as dataset:
            assert dataset.n == SMALL
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.parametrize(
    ("n", "options", "said"),
    [
        (SMALL, {}, "has 10 samples already; give a larger n"),
        (5, {}, "has 10 samples, more than 5; .*gpgen convert SRC DST --n 5"),
        (0, {}, "n is 0"),
        ("20", {}, "n is '20'"),
        (LARGE, {"recipe": tiny(seed=6)}, "recipe seed 5 -> 6"),
        (LARGE, {"recipe": tiny(dtype="float16")}, "recipe dtype 'float32' -> 'float16'"),
        (LARGE, {"recipe": tiny(splits={"train": 0.5, "test": 0.5})}, "recipe splits"),
        (LARGE, {"shard_size": 5}, "shard_size 4 -> 5"),
        (LARGE, {"overwrite": True}, "extend and overwrite exclude each other"),
        (LARGE, {"reuse": "other.zarr"}, "extend and reuse exclude each other"),
    ],
)
def test_what_does_not_continue_a_dataset_is_refused(small, n, options, said) -> None:
    path = small(OUTS[0])
    before = hashes(path.parent)
    with pytest.raises(UsageError, match=said):
        extend(path, n, **options)
    assert hashes(path.parent) == before


def test_other_refusals(whole, small, tmp_path: Path, monkeypatch) -> None:
    path, source = small(OUTS[0]), whole[OUTS[0]][SMALL] / OUTS[0]
    with pytest.raises(DatasetError, match="there is no dataset"):
        extend(tmp_path / "none.zarr")
    with pytest.raises(UsageError, match=r"both target and what is reused.*extend=True"):
        gpgen.make(tiny(), LARGE, path, reuse=path)
    with pytest.raises(UsageError, match="has 10 samples already"):
        gpgen.make(tiny(), SMALL, tmp_path / "n.zarr", reuse=source)
    with pytest.raises(TargetError, match="exists; choose another out"):
        gpgen.make(tiny(), LARGE, path, reuse=source)
    with pytest.raises(UsageError, match=r"can't be extended where it is.*give reuse s3://"):
        extend("s3://bucket/d.zarr")
    with pytest.raises(UsageError, match=r"http://host/d.zarr can only be read"):
        extend("http://host/d.zarr")
    monkeypatch.setattr("gpgen.making.growing.SAMPLING_VERSION", 99)
    with pytest.raises(DatasetError, match="whose textures are others; make it anew"):
        extend(path)


def test_shards_of_another_pattern_are_refused(small) -> None:
    path = small(OUTS[2])
    before = hashes(path.parent)
    with pytest.raises(UsageError, match=r"target 'd-\{shard:03d\}.h5' -> 'd-\{shard:05d\}.h5'"):
        extend(path.with_name("d-{shard:05d}.h5"))
    assert hashes(path.parent) == before


@pytest.mark.slow
@pytest.mark.parametrize("out", [OUTS[0], *only_long(OUTS[1:])])
def test_interrupted_it_goes_on_as_it_says(whole, small, out) -> None:
    path = small(out)
    (note,) = interrupted(path).__notes__
    assert "--extend --resume" in note
    path = path.parent.rename(path.parent.with_name("moved")) / out
    with gpgen.open_dataset(path) as dataset:
        assert dataset.n == SMALL
        assert dataset.read([0, SMALL - 1]).shape == (2, 16, 24)
    # --overwrite excludes --extend, and would draw the smaller dataset anew.
    instead = rf"--extend --resume`, or remove \S+{working_name(path)} to keep the smaller dataset$"
    with pytest.raises(TargetError, match=r"begun before.*" + instead):
        extend(path)
    with pytest.raises(TargetError, match="n 21 -> 30.*" + instead):
        extend(path, 30, resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DatasetWarning)
        extend(path, resume=True).close()
    assert hashes(path.parent) == hashes(whole[out][LARGE])
    extend(path, resume=True).close()  # it was finished already
    assert hashes(path.parent) == hashes(whole[out][LARGE])


def test_an_extension_is_given_up_by_removing_its_folder(whole, small) -> None:
    path = small(OUTS[0])
    before = hashes(path.parent)

    interrupted(path)
    with pytest.raises(TargetError, match=r"remove .* to keep the smaller dataset"):
        extend(path)
    shutil.rmtree(path.with_name(working_name(path)))
    assert hashes(path.parent) == before
    extend(path).close()
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])


def test_with_nothing_begun_resuming_begins(whole, small) -> None:
    path = small(OUTS[0])
    extend(path, resume=True).close()
    assert hashes(path.parent) == hashes(whole[OUTS[0]][LARGE])


@pytest.mark.parametrize("out", ALL)
def test_a_prefix_has_the_bytes_of_a_smaller_dataset(whole, tmp_path: Path, out) -> None:
    source = whole[out][LARGE] / out
    with convert(source, tmp_path / out, n=SMALL, shard_size=SHARD) as dataset:
        assert dataset.n == SMALL
    assert hashes(tmp_path) == hashes(whole[out][SMALL])
    with pytest.raises(UsageError, match=r"n is 22, and .* has 21 samples; draw more"):
        convert(source, tmp_path / "more.zarr", n=22)
    for n in (0, True, "5"):
        with pytest.raises(UsageError, match="n is"):
            convert(source, tmp_path / "more.zarr", n=n)
