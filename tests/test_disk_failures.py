"""A disk that fills up or turns read-only in mid-run, really."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_making import Making, uninterrupted
from cli_support import unprivileged
from dask_cluster import DaskCluster
from store_tools import ENVIRONMENT, OUTS, hashes, only_long, tiny, tiny_make

from gpgen import plan, verify
from gpgen.errors import StorageError, TargetError
from gpgen.making.converting import convert

pytestmark = pytest.mark.slow

CASES = [("make", out) for out in OUTS] + [("convert", "d.h5"), ("convert", "d-{shard:03d}.tar")]
# Where one is like another.
SOME = [CASES[0], CASES[-1], *only_long(CASES[1:-1])]
SAMPLES = {"make": 100, "convert": 400}  # copying is fast


def mount(*options: str) -> None:
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The bytes of an uninterrupted run, by verb and target."""
    made = {verb: uninterrupted(tmp_path_factory.mktemp, n) for verb, n in SAMPLES.items()}
    return lambda verb, out: made[verb](out)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("source") / "source.zarr"
    tiny_make(out, SAMPLES["convert"], shard_size=50).close()
    return out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 9 MB, twice what the largest dataset takes."""
    mount("-t", "tmpfs", "-o", "size=9m", "tmpfs", str(tmp_path))
    (tmp_path / "data").mkdir()
    yield tmp_path / "data"
    subprocess.run(["umount", tmp_path], check=True)


def start(verb: str, out: Path, source: Path, *options: str, **more) -> Making:
    if verb == "convert":
        return Making(out, *options, source=source, **more)
    # The disk that fails must not take the recipe with it.
    more["recipe"] = source.with_name("tiny.toml")
    return Making(out, "--workers", "2", *options, n=SAMPLES[verb], **more)


def fill(folder: Path) -> Path:
    """Leave no byte free on a disk."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (2**14, 2**12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


@pytest.mark.parametrize(("verb", "out"), SOME)
def test_a_full_disk_is_told_and_what_is_done_is_kept(
    small_disk: Path, source: Path, expected, verb, out
) -> None:
    run = start(verb, small_disk / out, source)
    with run.paused(5):
        filler = fill(small_disk.parent)
    told = run.fail()
    assert "no space left on device; free some space" in told
    assert "--resume" in told
    # Still full, it is told again, and nothing is lost.
    assert "free some space" in start(verb, small_disk / out, source, "--resume").fail()
    filler.unlink()
    start(verb, small_disk / out, source, "--resume").succeed()
    assert hashes(small_disk) == expected(verb, out)


def test_a_disk_that_is_full_for_a_clusters_workers_is_told(
    small_disk: Path, tmp_path_factory, source: Path, expected
) -> None:
    with contextlib.closing(DaskCluster(tmp_path_factory.mktemp("cluster"), 1)) as cluster:
        options = {"n": SAMPLES["make"], "recipe": source.with_name("tiny.toml")}
        run = Making(small_disk / "d.zarr", "--scheduler", cluster.address, **options)
        with run.paused(5):
            filler = fill(small_disk.parent)
        assert "no space left on device; free some space" in run.fail()
        filler.unlink()
        words = ("--scheduler", cluster.address, "--resume")
        Making(small_disk / "d.zarr", *words, **options).succeed()
    assert hashes(small_disk) == expected("make", "d.zarr")


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder on an ext4 file system, and the file that makes it fail."""
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(2**25)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True)
    mount("-o", "loop,errors=remount-ro", str(image), str(place))
    try:
        device = Path(os.path.realpath(f"/sys/dev/block/{_numbers(place)}")).name
        trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
        if not os.access(trigger, os.W_OK):
            pytest.skip(f"this kernel makes no disk fail: {trigger} can't be written")
        (place / "data").mkdir()
        yield place, trigger
    finally:
        subprocess.run(["umount", place], check=True)


def _numbers(place: Path) -> str:
    device = place.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


@pytest.mark.parametrize(("verb", "out"), SOME)
def test_a_disk_that_turns_read_only_is_told_and_resumed_when_it_is_mended(
    failing_disk, source: Path, expected, verb, out
) -> None:
    """As ext4 does it when it meets an error: whatever is open, nothing is written any more."""
    place, trigger = failing_disk
    folder = place / "data"
    run = start(verb, folder / out, source)
    with run.paused(5):
        trigger.write_text("1")
    told = run.fail()
    # Some calls get the error itself.
    assert re.search("read-only file system; make|input/output error; look at the disk", told)
    assert "read-only" in start(verb, folder / out, source, "--resume").fail()
    subprocess.run(["umount", place], check=True)
    image = str(place.with_name("image"))
    mended = subprocess.run(["fsck.ext4", "-fp", image], capture_output=True, check=False)
    assert mended.returncode in (0, 1)  # 1: it mended something
    mount("-o", "loop,errors=remount-ro", image, str(place))
    start(verb, folder / out, source, "--resume").succeed()
    assert hashes(folder) == expected(verb, out)


@pytest.mark.parametrize(("verb", "out"), [case for case in CASES if case[1] != "d.h5"])
def test_a_forbidden_folder_is_told_and_resumed_when_it_is_allowed(
    tmp_path: Path, source: Path, expected, verb, out
) -> None:
    before = unprivileged()
    folder = tmp_path / "data"
    folder.mkdir()
    run = start(verb, folder / out, source, before=before)
    with run.paused(5):
        temporary = next(folder.glob("*.making/tmp"))
        temporary.chmod(0o555)
    told = run.fail()
    assert "permission denied; give yourself permission to write there" in told
    if temporary.exists():  # an export to tar that fails leaves nothing
        temporary.chmod(0o755)
    start(verb, folder / out, source, "--resume", before=before).succeed()
    assert hashes(folder) == expected(verb, out)


KILLED = """
import os, pathlib, signal, sys
from gpgen.io import files
from store_tools import tiny, tiny_make
def die(action, file):
    if action == "sync" and os.fstat(int(file)).st_blocks > 2000:
        os.kill(os.getpid(), signal.SIGKILL)
files.watch(die)
tiny_make(pathlib.Path(sys.argv[1]), 16, recipe=tiny(shape=[256, 256]), shard_size=8)
"""


@pytest.mark.parametrize("out", OUTS)
def test_what_a_killed_run_left_half_done_does_not_count_as_taken(
    tmp_path: Path, out, monkeypatch
) -> None:
    """On a disk that just holds the dataset, a killed run can be resumed."""
    recipe = tiny(shape=[256, 256])
    options = {"recipe": recipe, "shard_size": 8, "resume": True}
    needed = plan(recipe, 16, tmp_path / out, shard_size=8).nbytes
    command = [sys.executable, "-c", KILLED, tmp_path / out]
    killed = subprocess.run(command, env=ENVIRONMENT, check=False, stderr=subprocess.PIPE)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"]
    taken = sum(path.stat().st_blocks * 512 for path in left)
    assert taken > needed / 3
    monkeypatch.setattr(
        "gpgen.workspace.local.Disk.free_bytes", lambda disk, target: needed - taken - 1
    )
    with pytest.raises(TargetError, match="MB free"):
        tiny_make(tmp_path / out, 16, **options)
    monkeypatch.setattr(
        "gpgen.workspace.local.Disk.free_bytes", lambda disk, target: needed - taken
    )
    tiny_make(tmp_path / out, 16, **options).close()
    assert verify(tmp_path / out).ok


def test_a_source_that_can_not_be_read_is_not_taken_for_a_target_that_can_not_be_written(
    tmp_path: Path, source: Path, monkeypatch
) -> None:
    real = os.preadv

    def broken(file: int, *arguments) -> int:
        if "source.zarr/image" in str(Path(f"/proc/self/fd/{file}").readlink()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file, *arguments)

    # It opens, and then its images can't be read.
    monkeypatch.setattr(os, "preadv", broken)
    told = r"source.zarr/image/c\.0\.0\.0 can't be read: input/output error; look at the disk"
    with pytest.raises(StorageError, match=told):
        convert(source, tmp_path / "d.h5")
    assert list(tmp_path.iterdir()) == []
