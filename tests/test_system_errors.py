"""Errors of the operating system while reading: told as such, and nothing is called damaged."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_support import unprivileged
from publish_help import publication
from store_tools import ENVIRONMENT, OUTS, drawn, tiny, tiny_make

from gpgen import open_dataset, verify
from gpgen.errors import DatasetError, GpgenError, StorageError
from gpgen.making.converting import convert
from gpgen.publish.packaging import package
from gpgen.report.page import write_report
from gpgen.torch import TextureDataset

FORMS = (*OUTS, "d-{shard:03d}.tar")
N, SHARD = 48, 1


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> dict[str, Path]:
    """A dataset of 48 shards in each format."""
    folder = tmp_path_factory.mktemp("many")
    tiny_make(folder / "d.zarr", N, shard_size=SHARD).close()
    for out in FORMS[1:]:
        (folder / out).parent.mkdir(exist_ok=True)
        convert(folder / "d.zarr", folder / out, shard_size=SHARD).close()
    return {out: folder / out for out in FORMS}


IN_A_SMALL_PROCESS = """
import json, resource, sys, threading
import numpy as np
import gpgen
from gpgen.errors import GpgenError
import gpgen.verification, h5py
limit, threads, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
expected = np.load(sys.argv[4])
dataset = gpgen.open_dataset(path)
dataset.image[0]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
wrong, told = [], []
def read(seed):
    order = np.random.default_rng(seed).permutation(len(dataset))
    try:
        for index in [*order, *order]:
            if not np.array_equal(dataset.image[index], expected[index]):
                wrong.append(int(index))
    except GpgenError as error:
        told.append([type(error).__name__, str(error)])
workers = [threading.Thread(target=read, args=(k,)) for k in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
try:
    whole = gpgen.verify(path).ok
    again = gpgen.open_dataset(path).image[7].tobytes() == expected[7].tobytes()
except GpgenError as error:
    whole, again = str(error), None
print(json.dumps([wrong, told, whole, again]))
"""


def in_a_small_process(tmp_path: Path, limit: int, threads: int, path: Path) -> list:
    np.save(tmp_path / "expected.npy", drawn(tiny(), N))
    words = [str(limit), str(threads), str(path), str(tmp_path / "expected.npy")]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_SMALL_PROCESS, *words],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("out", FORMS)
def test_few_descriptors_are_enough_for_many_threads(tmp_path: Path, many, out) -> None:
    """Eight threads would keep 64 files each: they give them back where the process has 32."""
    assert in_a_small_process(tmp_path, 32, 8, many[out]) == [[], [], True, True]


@pytest.mark.parametrize("out", FORMS)
def test_where_there_is_no_descriptor_at_all_the_limit_is_named(tmp_path: Path, many, out) -> None:
    """A limit of 3 is below what is open already."""
    wrong, told, whole, _ = in_a_small_process(tmp_path, 3, 2, many[out])
    assert wrong == []
    assert [kind for kind, _ in told] == ["StorageError"] * 2
    for text in [*(text for _, text in told), whole]:
        assert "too many open files" in text
        assert "limit of 3 open files (ulimit -n " in text
        assert "verify" not in text.partition(";")[2]
        assert "damage" not in text


NUMBERS = [
    errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT,
    errno.ENOSPC, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTCONN, errno.EREMOTEIO, errno.ENFILE,
]  # fmt: skip


def failing(monkeypatch, number: int, call: str) -> None:
    """Let a call of the system fail for every file of a dataset."""
    real = getattr(os, call)

    def fail(file, *arguments, **options):
        name = (
            Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else os.fspath(file)
        )
        if "/own/d" in str(name):
            raise OSError(number, os.strerror(number), str(name))
        return real(file, *arguments, **options)

    monkeypatch.setattr(os, call, fail)


def acts(own: Path, out: Path) -> dict:
    """Everything that reads a dataset."""
    return {
        "open": lambda: open_dataset(own),
        "verify": lambda: verify(own),
        "train": lambda: TextureDataset(own)[3],
        "convert": lambda: convert(own, out / "copy.h5"),
        "package": lambda: package(own, publication(), out / "deposit"),
        "report": lambda: write_report(own, out / "page.html"),
    }


def check(error: GpgenError, number: int) -> None:
    assert isinstance(error, StorageError), error
    assert os.strerror(number).lower() in error.message
    assert "/own/d" in error.message
    assert "damage" not in str(error)
    assert error.hint is not None
    assert error.hint.endswith("try again")
    assert "remake" not in error.hint


@pytest.mark.parametrize("number", NUMBERS, ids=[errno.errorcode[n] for n in NUMBERS])
@pytest.mark.parametrize("call", ["open", "preadv"])
def test_no_error_of_the_system_is_taken_for_damage(
    own: Path, tmp_path: Path, monkeypatch, call, number
) -> None:
    """Injected into `os.open` and `os.preadv`: no disk here fails in so many ways."""
    (tmp_path / "out").mkdir()
    dataset = open_dataset(own)
    failing(monkeypatch, number, call)
    for array in (dataset.image, dataset.label):
        with pytest.raises(GpgenError) as caught:
            array[3]
        check(caught.value, number)
    for name, act in acts(own, tmp_path / "out").items():
        try:
            report = act()
        except GpgenError as error:
            check(error, number)
        else:
            # A file of HDF5 that can't even be looked at is one finding of `verify`.
            assert name == "verify", name
            assert not report.ok
            assert not report.is_damaged
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("own", [OUTS[0], OUTS[2]], indirect=True)
def test_files_that_can_not_be_read_are_named_and_the_others_checked(
    own: Path, monkeypatch
) -> None:
    """Injected: one shard's reads fail, as at a bad block, and one of another is damaged."""
    bad, damaged = (own.parent / f"d-00{k}.h5" for k in (0, 2))
    if own.suffix == ".zarr":
        bad, damaged = own / "image" / "c.0.0.0", own / "image" / "c.2.0.0"
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)
    real = os.preadv

    def fail(file: int, *arguments):
        if Path(f"/proc/self/fd/{file}").readlink() == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file, *arguments)

    monkeypatch.setattr(os, "preadv", fail)
    report = verify(own)
    kinds = {Path(problem.file).name: problem.kind for problem in report.problems}
    assert kinds == {bad.name: "unclear", damaged.name: "damage"}
    assert report.is_damaged


@pytest.mark.slow
@pytest.mark.parametrize("hidden", ["file", "folder"])
def test_a_forbidden_file_or_folder_is_told_at_the_prompt(
    own: Path, tmp_path: Path, hidden
) -> None:
    before = unprivileged()
    root = own if own.suffix == ".zarr" else own.parent
    (own.parent if hidden == "folder" else next(p for p in root.rglob("*") if p.is_file())).chmod(0)
    try:
        for verb in (["info"], ["verify"], ["convert", "--", str(own), str(tmp_path / "c.zarr")]):
            words = verb if len(verb) > 1 else [*verb, str(own)]
            command = [*before, sys.executable, "-m", "gpgen_cli", *words]
            done = subprocess.run(
                command, env=ENVIRONMENT, capture_output=True, text=True, check=False
            )
            told = done.stdout + done.stderr
            assert "bug" not in told
            assert "is damaged" not in told
            assert "remake" not in told
            if done.returncode:
                assert "permission denied" in told or "is not readable" in told
            else:
                assert verb == ["info"]  # which opens no shard
    finally:
        for path in (own.parent, *root.rglob("*")):
            if path.exists() and not path.stat().st_mode & 0o400:
                path.chmod(0o755)


@pytest.mark.parametrize("own", [OUTS[0], OUTS[2]], indirect=True)
def test_a_file_that_is_missing_is_still_damage(own: Path) -> None:
    shard = own / "image" / "c.1.0.0" if own.suffix == ".zarr" else own.parent / "d-001.h5"
    shard.unlink()
    with pytest.raises(DatasetError, match=r"no such file.*`gpgen verify`"):
        open_dataset(own).image[5]
    assert verify(own).is_damaged
