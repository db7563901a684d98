"""Which record is meant: by its DOI, its number or its address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gpgen.errors import UsageError
from gpgen.publish.addresses import SANDBOX, ZENODO, base_url
from gpgen.publish.publication import DOI

__all__ = ["RecordAddress", "parse_source"]

_NUMBER: Final = re.compile(r"[0-9A-Za-z]{1,10}(?:-[0-9A-Za-z]{1,10})*")
_ZENODO_DOI: Final = re.compile(r"10\.(5281|5072)/zenodo\.(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class RecordAddress:
    """A record: the service's address and its number there."""

    service: str
    number: str


def parse_source(text: str, service: str | None = None) -> RecordAddress:
    """Return which record a text means.

    Parameters
    ----------
    text
        A DOI, a record's number, or the address of its page.
    service
        Where a bare number is meant, and a DOI that isn't Zenodo's; by default Zenodo.

    Raises
    ------
    UsageError
        If it means none.
    """
    text = text.strip()
    doi = DOI.fullmatch(text)
    if doi:
        zenodo = _ZENODO_DOI.fullmatch(doi[1])
        if zenodo:
            place = service or (ZENODO if zenodo[1] == "5281" else SANDBOX)
            return RecordAddress(base_url(place), zenodo[2])
        # InvenioRDM's DOIs end with the record's number.
        number = re.split(r"[/.]", doi[1])[-1]
        if service and _NUMBER.fullmatch(number):
            return RecordAddress(base_url(service), number)
        raise UsageError(
            f"the DOI {doi[1]} doesn't say at which service the record is",
            "give the address of its page, https://.../records/NUMBER",
        )
    if "://" in text:
        parts = urlsplit(text)
        match = re.search(r"^(.*)/(?:records?|uploads)/([^/]+)", parts.path)
        if match and _NUMBER.fullmatch(match[2]):
            address = base_url(f"{parts.scheme}://{parts.netloc}{match[1]}")
            return RecordAddress(address, match[2])
        raise UsageError(
            f"{text!r} is not the page of a record", "write it like https://zenodo.org/records/123"
        )
    if _NUMBER.fullmatch(text) and any(character.isdigit() for character in text):
        return RecordAddress(base_url(service or ZENODO), text)
    raise UsageError(
        f"{text!r} is neither a DOI, a record's number or page, nor a folder that is there",
        "write it like 10.5281/zenodo.123, https://zenodo.org/records/123 or deposit/",
    )
