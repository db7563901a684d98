"""Places where what was made can't have its name, or nothing can be locked; links as targets."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from publish_help import publication
from store_tools import OUTS, hashes, tiny, tiny_make

from gpgen import open_dataset, verify
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.io import files
from gpgen.making.converting import convert
from gpgen.publish.packaging import package
from gpgen.report.page import write_report


@pytest.fixture
def mounted() -> Iterator:
    """Mount what a test asks for, and unmount it afterwards."""
    places = []

    def mount(place: Path, *options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        command = ["mount", *options, str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        places.append(place)

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", place], check=True)


def drawn_nothing(*_) -> None:
    raise AssertionError("something was drawn")


def test_a_target_that_is_a_mount_point_is_refused_before_anything_is_drawn(
    tmp_path: Path, mounted, monkeypatch
) -> None:
    mounted(tmp_path / "d.zarr", "-t", "tmpfs", "tmpfs")
    monkeypatch.setattr("gpgen.format.zarr.write_shard_to", drawn_nothing)
    with pytest.raises(TargetError, match=r"could not be given its name.*busy; move .* away"):
        tiny_make(tmp_path / "d.zarr", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["d.zarr"]
    assert list((tmp_path / "d.zarr").iterdir()) == []


def test_a_working_folder_on_another_disk_is_refused_before_anything_is_drawn(
    tmp_path: Path, mounted, monkeypatch
) -> None:
    mounted(tmp_path / "d.h5.making", "-t", "tmpfs", "tmpfs")
    monkeypatch.setattr("gpgen.format.hdf5.write_images", drawn_nothing)
    with pytest.raises(TargetError, match=r"could not be given its name.*cross-device"):
        tiny_make(tmp_path / "d.h5")
    assert not (tmp_path / "d.h5").exists()


def test_a_dataset_of_a_lower_layer_is_not_replaced_and_stays_whole(
    tmp_path: Path, mounted, monkeypatch
) -> None:
    """As in a container, whose image brings a dataset: an overlay doesn't move its folder."""
    (tmp_path / "lower").mkdir()
    tiny_make(tmp_path / "lower" / "d.zarr").close()
    mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs")
    for name in ("upper", "work"):
        (tmp_path / "disk" / name).mkdir()
    layers = (
        f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/disk/upper,workdir={tmp_path}/disk/work"
    )
    merged = tmp_path / "merged"
    mounted(merged, "-t", "overlay", "overlay", "-o", f"{layers},redirect_dir=off")
    tiny_make(merged / "new.zarr").close()
    monkeypatch.setattr("gpgen.format.zarr.write_shard_to", drawn_nothing)
    with pytest.raises(TargetError, match=r"cross-device link; move .* away first"):
        tiny_make(merged / "d.zarr", recipe=tiny(seed=6), overwrite=True)
    assert verify(merged / "d.zarr").ok
    assert sorted(path.name for path in merged.iterdir()) == ["d.zarr", "new.zarr"]


def refusing(monkeypatch, number: int, refuses) -> None:
    """Let `rename` fail as FUSE and some network file systems do, which can't be mounted here."""
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if refuses(self, Path(target)):
            raise OSError(number, os.strerror(number), str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EIO, errno.ENOSYS])
def test_a_disk_that_moves_no_folders_is_found_before_anything_is_drawn(
    tmp_path: Path, monkeypatch, number
) -> None:
    """Injected: `Path.replace` refuses folders, as FUSE file systems over object stores do."""
    tiny_make(tmp_path / "source.h5").close()
    before = hashes(tmp_path)
    refusing(monkeypatch, number, lambda source, _: source.is_dir())
    for write in ("gpgen.format.zarr.write_shard_to", "gpgen.golkar2018.archive._Maker._draw"):
        monkeypatch.setattr(write, drawn_nothing)
    told = "could not be given its name.*; choose another out"
    with pytest.raises(TargetError, match=told):
        tiny_make(tmp_path / "d.zarr")
    with pytest.raises(TargetError, match=told):
        convert(tmp_path / "source.h5", tmp_path / "d.zarr")
    with pytest.raises(TargetError, match=told):
        package(tmp_path / "source.h5", publication(), tmp_path / "deposit")
    with pytest.raises(TargetError, match=told):
        make_archive(ArchivePlan(samples=((2.0, 2),), crosses=(), size=64), tmp_path / "archive")
    assert hashes(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["source.h5"]


@pytest.mark.parametrize("out", OUTS[:2])
def test_a_rename_refused_at_the_end_is_told_with_a_way_out_that_works(
    tmp_path: Path, monkeypatch, out
) -> None:
    """Injected: only the last rename, to the target, is refused, so that no trial could tell."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    target = tmp_path / "a" / out
    with monkeypatch.context() as patch:
        refusing(patch, errno.EBUSY, lambda _, destination: destination == target)
        with pytest.raises(TargetError, match=r"is made, but can't be .* move (\S+) to a folder"):
            tiny_make(target)
    shutil.move(f"{target}.making", tmp_path / "b")
    monkeypatch.setattr("gpgen.making.dispatch.make_shards", drawn_nothing)
    tiny_make(tmp_path / "b" / out, resume=True).close()
    assert verify(tmp_path / "b" / out).ok
    assert list((tmp_path / "a").iterdir()) == []


def test_a_dataset_that_was_moved_aside_comes_back_when_the_new_one_can_not_take_its_place(
    tmp_path: Path, monkeypatch
) -> None:
    """Injected: the old dataset can be moved, and then the new one is refused its name."""
    target = tmp_path / "d.zarr"
    tiny_make(target).close()
    old = hashes(target)

    def refuses(source: Path, destination: Path) -> bool:
        return destination == target and source.name.startswith("data-")

    with monkeypatch.context() as patch:
        refusing(patch, errno.EPERM, refuses)
        with pytest.raises(TargetError, match="is made, but can't be given its name"):
            tiny_make(target, recipe=tiny(seed=6), overwrite=True)
    assert hashes(target) == old


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_disk_without_locks_is_told_with_path_and_way_out(
    tmp_path: Path, monkeypatch, number
) -> None:
    """Injected: `flock` fails as on Lustre without it, or NFS whose lock service is down."""
    tiny_make(tmp_path / "source.h5").close()

    def flock(*_) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for what, act in {
        "d.zarr.making/lock": lambda: tiny_make(tmp_path / "d.zarr"),
        "d.h5.making/lock": lambda: convert(tmp_path / "source.h5", tmp_path / "d.h5"),
        "deposit.packaging.lock": lambda: package(
            tmp_path / "source.h5", publication(), tmp_path / "deposit"
        ),
    }.items():
        with pytest.raises(TargetError, match=rf"{what} can't be locked: .*; choose a place on"):
            act()
        assert [path.name for path in tmp_path.iterdir()] == ["source.h5"]


@pytest.mark.parametrize("out", ["d.zarr", "d.h5"])
def test_a_link_as_target_is_followed_and_stays(tmp_path: Path, out) -> None:
    """It used to be replaced by the dataset, and what it led to was left on the other disk."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "here").mkdir()
    link, end = tmp_path / "here" / out, tmp_path / "scratch" / f"big-{out}"
    link.symlink_to(end)
    # A dangling one says where it shall be.
    with pytest.raises(DatasetError, match=rf"the link {link} leads to {end}, where nothing is"):
        open_dataset(link)
    tiny_make(link).close()
    assert verify(end).ok
    with pytest.raises(TargetError, match=f"{end} exists"):
        tiny_make(link)
    tiny_make(link, recipe=tiny(seed=6), overwrite=True).close()
    assert link.is_symlink()
    with open_dataset(link) as dataset:
        assert dataset.recipe.seed == 6
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == [end.name]
    assert [path.name for path in (tmp_path / "here").iterdir()] == [out]
    convert(end, tmp_path / "copy.zarr", shard_size=4).close()
    with pytest.raises(UsageError, match="is both source and target"):
        convert(end, link, overwrite=True)


def test_an_unfinished_dataset_is_found_by_the_link_that_leads_to_it(
    tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "d.zarr").symlink_to(tmp_path / "scratch" / "d.zarr")
    with monkeypatch.context() as patch:
        refusing(patch, errno.EBUSY, lambda _, destination: destination.name == "d.zarr")
        with pytest.raises(TargetError):
            tiny_make(tmp_path / "d.zarr")
    with pytest.raises(DatasetError, match="is unfinished: 4 of 4 shards are done"):
        open_dataset(tmp_path / "d.zarr")
    tiny_make(tmp_path / "d.zarr", resume=True).close()
    assert verify(tmp_path / "d.zarr").ok


def test_links_that_lead_in_a_circle_or_stand_for_one_file_of_many_are_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "d.zarr").symlink_to(tmp_path / "d.zarr")
    with pytest.raises(UsageError, match="leads in a circle"):
        tiny_make(tmp_path / "d.zarr")
    (tmp_path / "d.zarr").unlink()
    pattern = tmp_path / "s-{shard:03d}.h5"
    tiny_make(pattern).close()
    (tmp_path / "s-001.h5").rename(tmp_path / "elsewhere.h5")
    (tmp_path / "s-001.h5").symlink_to(tmp_path / "elsewhere.h5")
    before = hashes(tmp_path)
    with pytest.raises(TargetError, match=r"s-001\.h5 is a link"):
        tiny_make(pattern, recipe=tiny(seed=6), overwrite=True)
    assert hashes(tmp_path) == before


def test_what_else_is_made_follows_a_link_too(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.zarr").close()
    (tmp_path / "end").mkdir()
    for name in ("page.html", "deposit", "archive"):
        (tmp_path / name).symlink_to(tmp_path / "end" / name)
    plan = ArchivePlan(samples=((2.0, 2),), crosses=(), size=64)
    for again in (False, True):
        write_report(tmp_path / "d.zarr", tmp_path / "page.html", overwrite=again)
        package(tmp_path / "d.zarr", publication(), tmp_path / "deposit", overwrite=again)
        make_archive(plan, tmp_path / "archive", overwrite=again)
        for name in ("page.html", "deposit", "archive"):
            assert (tmp_path / name).is_symlink()
            assert (tmp_path / "end" / name).exists()
            assert not (tmp_path / "end" / name).is_symlink()
    assert len(list((tmp_path / "end").iterdir())) == 3


def test_the_trial_leaves_nothing_outside_the_working_folder_at_any_step(tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.zarr").close()
    before, seen = hashes(tmp_path / "d.zarr"), []

    def look(action: str, path: str) -> None:
        names = {entry.name for entry in tmp_path.iterdir()}
        assert names <= {"d.zarr", "d.zarr.making"}, (action, path)
        if ".making/try." in path:
            assert hashes(tmp_path / "d.zarr") == before
            seen.append(action)

    files.watch(look)
    try:
        tiny_make(tmp_path / "d.zarr", recipe=tiny(seed=6), overwrite=True).close()
    finally:
        files.watch(None)
    assert seen.count("rename") == 3


@pytest.mark.parametrize("place", ["", "image/"])
def test_nothing_is_written_into_a_dataset(tmp_path: Path, place: str) -> None:
    dataset = tmp_path / "data.zarr"
    tiny_make(dataset).close()
    inside = f"{dataset}/{place}"
    for out in ("more.zarr", "more.h5", "data-{shard:05d}.tar", "more.parquet", "pictures/"):
        with pytest.raises(TargetError, match="is part of the dataset"):
            convert(dataset, inside + out)
    with pytest.raises(TargetError, match="is part of the dataset"):
        tiny_make(Path(inside + "more.zarr"))
    with pytest.raises(TargetError, match="is part of the dataset"):
        write_report(dataset, inside + "report.html")
    assert verify(dataset).ok


def test_a_field_that_is_not_the_shard_is_refused(tmp_path: Path) -> None:
    for out in ("data-{shrad:05d}.h5", "{split}.zarr", "data-{n}.hdf5"):
        with pytest.raises(UsageError, match=r"has a field that isn't \{shard\}"):
            tiny_make(tmp_path / out)
