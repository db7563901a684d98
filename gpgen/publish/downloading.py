"""A record's files, downloaded and checked; a broken download goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gpgen.errors import DatasetError
from gpgen.io.download import Download
from gpgen.io.output_files import check_space, free_bytes
from gpgen.progress import Progress, Tell
from gpgen.publish.client import Service, ServiceError, TransportError
from gpgen.publish.deposit import is_plain_name
from gpgen.publish.records import Records

__all__ = ["download_record"]

_ATTEMPTS: Final = 6


def download_record(
    records: Records,
    number: str,
    folder: Path,
    *,
    wanted: Callable[[str], bool] = lambda _: True,
    tell: Tell = lambda _: None,
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
    tell
        Told as bytes arrive, of all files together.

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
    there = sum(path.stat().st_size for path in folder.iterdir())
    check_space(folder, total - there, free_bytes(folder))
    done = 0
    for name, entry in entries.items():

        def arrived(there: int, name: str = name, before: int = done) -> None:
            tell(Progress(before + there, total, "byte", name))

        nbytes = int(entry.get("size") or 0)
        kind, _, digest = str(entry.get("checksum") or "").partition(":")
        # Without an MD5 there is still SHA256SUMS, which is compared later.
        md5 = digest if kind == "md5" else None
        place = f"/api/records/{quote(number, safe='')}/files/{quote(name, safe='')}/content"
        _download(records.service, place, Download(folder / name, nbytes, md5, arrived))
        done += nbytes
        arrived(nbytes)


def _download(service: Service, place: str, download: Download) -> None:
    if download.is_finished():
        return
    for attempt in range(_ATTEMPTS):
        try:
            if download.received < download.nbytes or download.nbytes == 0:
                service.stream(place, download.received, download.receive)
        except TransportError:
            if attempt == _ATTEMPTS - 1:
                break
            name = download.path.name
            service.pause(2.0**attempt, f"the download of {name} broke off")
            continue
        if download.finish():
            return
    raise ServiceError(
        f"{download.path.name} did not arrive whole from {service.address}",
        "run the same command again; what has arrived is kept",
    )
