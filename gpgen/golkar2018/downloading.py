"""The authors' own files, from Zenodo record 1252464, checked against the record's checksums."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpgen.errors import DatasetError, MissingPackageError, TargetError, UsageError
from gpgen.paths import given, text_of

__all__ = ["RECORD", "DownloadProgress", "RecordFile", "download", "read_record"]

RECORD: Final = "https://zenodo.org/api/records/1252464"
DOI: Final = "https://doi.org/10.5281/zenodo.1252464"
FILES: Final = ("dataset.zip", "samples.zip")

_BY_HAND: Final = (
    f"check the network, or get the files with a browser from {DOI} and give them to `gpgen import`"
)
_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 30.0
_LARGEST_RECORD: Final = 1 << 22


@dataclass(frozen=True)
class RecordFile:
    """A file of the record.

    Attributes
    ----------
    name
        "samples.zip" or "dataset.zip".
    size
        Bytes.
    checksum
        As the record gives it: "md5:" and 32 hexadecimal digits.
    url
        Where it is.
    """

    name: str
    size: int
    checksum: str
    url: str


@dataclass(frozen=True)
class DownloadProgress:
    """How far a file is: its name, the bytes that have come, and all of them."""

    name: str
    bytes_done: int
    total: int


Report = Callable[[DownloadProgress], None]


def read_record(record: str = RECORD) -> dict[str, RecordFile]:
    """Ask the record what it holds.

    Parameters
    ----------
    record
        The address of the record's description in JSON, as Zenodo gives it.

    Raises
    ------
    DatasetError
        If it can't be reached, or answers something else.
    """
    host = urllib.parse.urlsplit(record)
    try:
        with urllib.request.urlopen(record, timeout=_CONNECT_SECONDS) as answer:  # noqa: S310 - http(s)
            described: Any = json.loads(answer.read(_LARGEST_RECORD))
        found = {}
        for file in described["files"]:
            url = urllib.parse.urlsplit(urllib.parse.urljoin(record, file["links"]["self"]))
            if (url.scheme, url.netloc) != (host.scheme, host.netloc):
                raise ValueError(f"{file['key']} lies on another host")
            name, checksum = str(file["key"]), str(file["checksum"])
            found[name] = RecordFile(name, int(file["size"]), checksum, url.geturl())
    except urllib.error.HTTPError as error:
        raise DatasetError(f"{host.netloc} answers {error.code} for {record}", _BY_HAND) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise DatasetError(f"{host.netloc} can't be reached: {reason}", _BY_HAND) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = type(error).__name__
        raise DatasetError(f"{record} isn't a record's description ({what})", _BY_HAND) from None
    return found


def download(
    out: str | Path,
    names: Sequence[str] = FILES,
    *,
    overwrite: bool = False,
    progress: Report | None = None,
    record: str | None = None,
    notify: Callable[[str], None] | None = None,
) -> tuple[Path, ...]:
    """Fetch files of the record; each gets its name once its checksum is right.

    Parameters
    ----------
    out
        The folder; made if it isn't there.
    names
        Which files.
    overwrite
        Whether to replace files that are there and differ. Those that are right stay.
    progress
        Called now and then.
    record
        See `read_record`; Zenodo's if ``None``.
    notify
        Told in a sentence which service is asked.

    Returns
    -------
    tuple of Path
        The files, in the order of `names`.

    Raises
    ------
    MissingPackageError
        Without pooch.
    UsageError
        If the record has no such file.
    TargetError
        If there isn't the room, or another file has the name.
    DatasetError
        If the record can't be reached, or sends something else than it has announced.
    """
    try:
        import pooch  # noqa: F401 - before anything is asked for
    except ImportError as error:
        raise MissingPackageError(
            "downloading needs the package pooch, which isn't installed",
            "install it with `pip install 'gpgen[download]'`",
        ) from error
    address = record or RECORD
    if notify:
        notify(f"asking {urllib.parse.urlsplit(address).netloc}")
    found = read_record(address)
    for name in names:
        if name not in found:
            known = ", ".join(sorted(found))
            raise UsageError(f"the record has no file {name!r}", f"use one of {known}")
    given(out)
    folder = Path(text_of(out)).expanduser()  # said as it was given
    missing = [name for name in names if not _is_there(folder / name, found[name], overwrite)]
    _check_disk(folder, sum(found[name].size for name in missing))
    for name in missing:
        (folder / name).unlink(missing_ok=True)
        _fetch(found[name], folder, progress)
    return tuple(folder / name for name in names)


def _fetch(file: RecordFile, folder: Path, progress: Report | None) -> None:
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=_Bar(file, progress), timeout=(_CONNECT_SECONDS, _READ_SECONDS)
    )
    host = urllib.parse.urlsplit(file.url).netloc
    algorithm, _, digest = file.checksum.partition(":")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=folder) as place:
            got = Path(place) / file.name
            downloader(file.url, str(got), None)
            if pooch.file_hash(str(got), alg=algorithm) != digest:
                raise DatasetError(
                    f"what came from {host} as {file.name} doesn't have the record's checksum",
                    "try again later",
                )
            got.replace(folder / file.name)
    except requests.exceptions.RequestException as error:
        what = type(error).__name__
        raise DatasetError(f"{file.name} didn't come from {host} ({what})", _BY_HAND) from None


def _is_there(path: Path, file: RecordFile, overwrite: bool) -> bool:
    import pooch

    if not path.exists():
        return False
    algorithm, _, digest = file.checksum.partition(":")
    if path.stat().st_size == file.size and pooch.file_hash(str(path), alg=algorithm) == digest:
        return True
    if not overwrite:
        raise TargetError(
            f"{path} exists and isn't the record's file", "use --overwrite, or another --out"
        )
    return False


def _check_disk(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"{folder} can't be made: {error.strerror}", "use another --out"
        ) from None
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TargetError(
            f"{folder} needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} are free",
            "free some space, or choose another --out",
        )


class _Bar:
    """What pooch tells of its progress, passed on."""

    def __init__(self, file: RecordFile, progress: Report | None) -> None:
        self.total = file.size
        self._file = file
        self._progress = progress
        self._done = 0

    def update(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            # pooch counts the last bytes twice, to be sure that a bar is full at the end.
            done = min(self._done, self.total)
            self._progress(DownloadProgress(self._file.name, done, self.total))

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass
