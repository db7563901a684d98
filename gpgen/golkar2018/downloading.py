"""The authors' own files, from Zenodo record 1252464, checked against the record's checksums."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from gpgen.errors import Argument, DatasetError, MissingPackageError, TargetError, UsageError
from gpgen.io.download import Download
from gpgen.io.output_files import check_space, free_bytes
from gpgen.io.user_paths import AnyText, given, text_of

if TYPE_CHECKING:
    import httpx
from gpgen.progress import Follow, Progress, Tell, following

__all__ = ["RECORD", "RECORD_FILES", "RecordFile", "download", "read_record"]

RECORD: Final = "https://zenodo.org/api/records/1252464"
DOI: Final = "https://doi.org/10.5281/zenodo.1252464"
RECORD_FILES: Final = ("dataset.zip", "samples.zip")

_BY_HAND: Final = (
    f"check the network, or get the files with a browser from {DOI} and give them to `gpgen import`"
)
_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 30.0
_LARGEST_RECORD: Final = 1 << 22
_MD5: Final = re.compile(r"md5:([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True)
class RecordFile:
    """A file of the record.

    Attributes
    ----------
    name
        "samples.zip" or "dataset.zip".
    size
        Bytes.
    md5
        In hexadecimal digits.
    url
        Where it is.
    """

    name: str
    size: int
    md5: str
    url: str


def read_record(record: str = RECORD) -> dict[str, RecordFile]:
    """Ask the record what it holds.

    Parameters
    ----------
    record
        The address of the record's description in JSON, as Zenodo gives it.

    Raises
    ------
    MissingPackageError
        Without httpx.
    DatasetError
        If it can't be reached, or answers something else.
    """
    host = urlsplit(record)
    with _answer(record, host.netloc) as answer:
        described = next(answer.iter_bytes(_LARGEST_RECORD), b"")
    try:
        found = {}
        for file in json.loads(described)["files"]:
            url = urlsplit(urljoin(record, file["links"]["self"]))
            if (url.scheme, url.netloc) != (host.scheme, host.netloc):
                raise ValueError(f"{file['key']} lies on another host")
            checksum = _MD5.fullmatch(file["checksum"])
            if checksum is None:
                raise ValueError(f"{file['key']} has no MD5")
            name = str(file["key"])
            found[name] = RecordFile(name, int(file["size"]), checksum[1], url.geturl())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = type(error).__name__
        raise DatasetError(f"{record} isn't a record's description ({what})", _BY_HAND) from None
    return found


def download(
    out: AnyText,
    names: Sequence[str] = RECORD_FILES,
    *,
    overwrite: bool = False,
    progress: Follow = None,
    record: str | None = None,
    notify: Callable[[str], None] | None = None,
) -> tuple[Path, ...]:
    """Fetch files of the record; each gets its name once its checksum is right.

    What a broken download has brought is kept, and the next one goes on from there.

    Parameters
    ----------
    out
        The folder; made if it isn't there.
    names
        Which files.
    overwrite
        Whether to replace files that are there and differ. Those that are right stay.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress` of the files' bytes.
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
        Without httpx.
    UsageError
        If the record has no such file.
    TargetError
        If there isn't the room, or another file has the name.
    DatasetError
        If the record can't be reached, or sends something else than it has announced.
    """
    address = record or RECORD
    _httpx()  # before anything is asked for
    if notify:
        notify(f"asking {urlsplit(address).netloc}")
    found = read_record(address)
    for name in names:
        if name not in found:
            known = ", ".join(sorted(found))
            raise UsageError(f"the record has no file {name!r}", f"use one of {known}")
    given(out)
    folder = Path(text_of(out)).expanduser()  # said as it was given
    with following(progress) as tell:
        for url, wanted in _missing(folder, [found[name] for name in names], overwrite, tell):
            _fetch(url, wanted)
    return tuple(folder / name for name in names)


def _missing(
    folder: Path, files: Sequence[RecordFile], overwrite: bool, tell: Tell
) -> list[tuple[str, Download]]:
    """Return the files that aren't there yet, and their addresses."""
    missing, before, total = [], 0, sum(file.size for file in files)
    for file in files:

        def arrived(there: int, name: str = file.name, before: int = before) -> None:
            tell(Progress(before + there, total, "byte", name))

        wanted = Download(folder / file.name, file.size, file.md5, arrived)
        before += file.size
        if not wanted.is_finished():
            if wanted.path.exists() and not overwrite:
                raise TargetError(
                    f"{wanted.path} exists and isn't the record's file",
                    f"use {Argument.OVERWRITE}, or another {Argument.OUT}",
                )
            missing.append((file.url, wanted))
    _check_disk(folder, sum(wanted.nbytes - wanted.received for _, wanted in missing))
    return missing


def _fetch(url: str, download: Download) -> None:
    name, host = download.path.name, urlsplit(url).netloc
    if download.received < download.nbytes:
        with _answer(url, f"{name} didn't come: {host}", download.received) as answer:
            download.receive(answer.iter_bytes(1 << 20), answer.status_code == 206)
    if not download.finish():
        raise DatasetError(
            f"what came from {host} as {name} doesn't have the record's checksum",
            "try again later",
        )


@contextmanager
def _answer(url: str, who: str, start: int = 0) -> Iterator[httpx.Response]:
    """Ask for what is at a URL, from byte `start` on; `who` begins the error if it fails."""
    httpx = _httpx()
    headers = {"Range": f"bytes={start}-"} if start else {}
    timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    try:
        with httpx.stream(
            "GET", url, headers=headers, timeout=timeout, follow_redirects=True
        ) as answer:
            answer.raise_for_status()
            yield answer
    except httpx.HTTPStatusError as error:
        raise DatasetError(f"{who} answers {error.response.status_code}", _BY_HAND) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise DatasetError(f"{who} can't be reached: {reason}", _BY_HAND) from None


def _httpx() -> Any:  # noqa: ANN401 - a module
    try:
        import httpx
    except ImportError as error:
        raise MissingPackageError(
            "downloading needs the package httpx, which isn't installed",
            "install it with `pip install 'gpgen[download]'`",
        ) from error
    return httpx


def _check_disk(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"{folder} can't be made: {error.strerror}", f"use another {Argument.OUT}"
        ) from None
    check_space(folder, needed, free_bytes(folder))
