"""A record's files, downloaded and checked; a broken download goes on where it stopped."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from gpgen.errors import DatasetError, TargetError
from gpgen.publish.client import ServiceError, TransportError
from gpgen.publish.deposit import is_plain_name
from gpgen.publish.records import Records

__all__ = ["FetchProgress", "download_record"]

_ATTEMPTS: Final = 6


@dataclass(frozen=True)
class FetchProgress:
    """How far a download is: the file in hand, bytes done, and bytes in all."""

    file: str
    done: int
    nbytes: int


def download_record(
    records: Records,
    number: str,
    folder: Path,
    *,
    wanted: Callable[[str], bool] = lambda _: True,
    progress: Callable[[FetchProgress], None] | None = None,
) -> None:
    """Download a published record's files into a folder.

    Parameters
    ----------
    records, number
        The record.
    folder
        Where to; what an earlier download has left there is kept if it is right.
    wanted
        Which files.
    progress
        Called as bytes arrive.

    Raises
    ------
    ServiceError
        If the record isn't there, or doesn't arrive.
    DatasetError
        If its files' names are no plain ones.
    """
    public = records.published(number)
    if public is None:
        raise ServiceError(
            f"{records.service.address} has no record {number}",
            "see whether the number is right and the record published",
            404,
        )
    # The number of all versions leads to the latest one.
    number = str(public.get("id", number))
    entries = {name: entry for name, entry in records.files(number).items() if wanted(name)}
    for name in entries:
        if not is_plain_name(name):
            raise DatasetError(
                f"record {number} has a file called {name[:80]!r}", "don't use this record"
            )
    total = sum(int(entry.get("size") or 0) for entry in entries.values())
    free = shutil.disk_usage(folder).free
    if total > free + sum(path.stat().st_size for path in folder.iterdir()):
        raise TargetError(
            f"{folder.parent} has {free / 1e9:.1f} GB free, and the record {total / 1e9:.1f} GB",
            "free some space, or choose another --out",
        )
    done = 0

    def tell(name: str, there: int) -> None:
        if progress:
            progress(FetchProgress(name, done + there, total))

    for name, entry in entries.items():
        _Download(records, number, folder / name, entry).run(partial(tell, name))
        done += int(entry.get("size") or 0)


class _Download:
    """One file."""

    def __init__(self, records: Records, number: str, path: Path, entry: dict[str, Any]) -> None:
        self._service = records.service
        self._place = f"/api/records/{quote(number, safe='')}/files/{quote(path.name, safe='')}"
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._nbytes = int(entry.get("size") or 0)
        self._checksum = str(entry.get("checksum") or "")

    def run(self, tell: Callable[[int], None]) -> None:
        """Bring the whole file to its name."""
        if self._path.is_file() and self._is_right(self._path):
            tell(self._nbytes)
            return
        for attempt in range(_ATTEMPTS):
            start = self._part.stat().st_size if self._part.exists() else 0
            if start > self._nbytes:
                self._part.unlink()
                start = 0
            try:
                if start < self._nbytes or self._nbytes == 0:
                    self._service.stream(
                        f"{self._place}/content",
                        start,
                        lambda pieces, goes_on: self._receive(pieces, goes_on, tell),
                    )
            except TransportError:
                if attempt == _ATTEMPTS - 1:
                    break
                self._service.pause(2.0**attempt, f"the download of {self._path.name} broke off")
                continue
            if self._is_right(self._part):
                self._part.replace(self._path)
                return
            self._part.unlink()
        raise ServiceError(
            f"{self._path.name} did not arrive whole from {self._service.address}",
            "run the same command again; what has arrived is kept",
        )

    def _receive(self, pieces: Iterable[bytes], goes_on: bool, tell: Callable[[int], None]) -> None:
        with self._part.open("ab" if goes_on else "wb") as stream:
            there = stream.tell()
            for piece in pieces:
                there += len(piece)
                if there > self._nbytes:
                    break  # more than was announced is not what was announced
                stream.write(piece)
                tell(there)

    def _is_right(self, path: Path) -> bool:
        if path.stat().st_size != self._nbytes:
            return False
        kind, _, expected = self._checksum.partition(":")
        if kind != "md5":
            return True  # SHA256SUMS is compared later
        with path.open("rb") as stream:
            digest = hashlib.file_digest(
                stream, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        return digest == expected
