"""A download keeps what has come, takes no more than was announced, and is checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gpgen.io.download import Download

DATA = bytes(range(256)) * 8
MD5 = hashlib.md5(DATA).hexdigest()  # noqa: S324 - what repositories give


def test_a_file_gets_its_name_when_it_is_whole_and_right(tmp_path: Path) -> None:
    seen: list[int] = []
    download = Download(tmp_path / "x", len(DATA), MD5, seen.append)
    assert (download.is_finished(), download.received) == (False, 0)
    download.receive([DATA[:100], DATA[100:]], resumed=False)
    assert not (tmp_path / "x").exists()
    assert download.finish()
    assert download.is_finished()
    assert (tmp_path / "x").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert seen == [100, len(DATA)]


@pytest.mark.parametrize("resumed", [True, False])
def test_what_has_come_is_kept_unless_the_server_sends_the_whole(
    tmp_path: Path, resumed: bool
) -> None:
    Download(tmp_path / "x", len(DATA), MD5).receive([DATA[:100]], resumed=False)
    again = Download(tmp_path / "x", len(DATA), MD5)
    assert again.received == 100
    again.receive([DATA[100:] if resumed else DATA], resumed)
    assert again.finish()


@pytest.mark.parametrize(
    "data", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x"], ids=["shorter", "longer", "other"]
)
def test_what_is_not_the_file_is_removed(tmp_path: Path, data: bytes) -> None:
    download = Download(tmp_path / "x", len(DATA), MD5)
    download.receive([data[:100], data[100:]], resumed=False)
    assert not download.finish()
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_not_filled_with_more_than_was_announced(tmp_path: Path) -> None:
    download = Download(tmp_path / "x", 10, None)
    download.receive([b"0123456789"] * 1000, resumed=False)
    assert download.received == 10
    (tmp_path / ".x.part").write_bytes(bytes(11))
    assert download.received == 0


def test_a_file_in_the_way_stays_until_the_right_one_is_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    download = Download(tmp_path / "x", len(DATA), MD5)
    assert not download.is_finished()
    download.receive([DATA], resumed=False)
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert download.finish()
    assert (tmp_path / "x").read_bytes() == DATA
