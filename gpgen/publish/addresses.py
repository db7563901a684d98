"""Which service and which record are meant, and where the token of each service is kept."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import idutils

from gpgen.errors import Argument, UsageError

__all__ = ["SANDBOX", "ZENODO", "RecordAddress", "base_url", "named_service", "parse_source"]

ZENODO: Final = "https://zenodo.org"
SANDBOX: Final = "https://sandbox.zenodo.org"

_NUMBER: Final = re.compile(r"[0-9A-Za-z]{1,10}(?:-[0-9A-Za-z]{1,10})*")
_ZENODO_DOI: Final = re.compile(r"10\.(5281|5072)/zenodo\.(\d+)", re.IGNORECASE)


def named_service(name: str, *, sandbox: bool = False) -> tuple[str, str]:
    """Return a service's address and the environment variable that holds its token.

    Parameters
    ----------
    name
        "zenodo", or an address.
    sandbox
        Whether Zenodo's place for trying out is meant.

    Raises
    ------
    UsageError
        If `name` is neither.
    """
    if name == "zenodo":
        return (SANDBOX, "ZENODO_SANDBOX_TOKEN") if sandbox else (ZENODO, "ZENODO_TOKEN")
    address = base_url(name)
    if sandbox:
        raise UsageError("only Zenodo has a sandbox", f"leave out {Argument.SANDBOX}")
    known = {ZENODO: "ZENODO_TOKEN", SANDBOX: "ZENODO_SANDBOX_TOKEN"}
    return address, known.get(address, "INVENIO_TOKEN")


def base_url(text: str) -> str:
    """Return a service's address without a slash at the end.

    Raises
    ------
    UsageError
        If it is not https, which a token needs, unless it is this machine's own.
    """
    parts = urlsplit(text)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query:
        raise UsageError(f"{text!r} is not a service's address", "write it like https://zenodo.org")
    if parts.scheme == "http" and not _is_own(host):
        raise UsageError(
            f"{text!r} would send the token in the clear", "write the address with https"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    if idutils.is_doi(text):
        doi = idutils.normalize_doi(text)
        zenodo = _ZENODO_DOI.fullmatch(doi)
        if zenodo:
            place = service or (ZENODO if zenodo[1] == "5281" else SANDBOX)
            return RecordAddress(base_url(place), zenodo[2])
        # InvenioRDM's DOIs end with the record's number.
        number = re.split(r"[/.]", doi)[-1]
        if service and _NUMBER.fullmatch(number):
            return RecordAddress(base_url(service), number)
        raise UsageError(
            f"the DOI {doi} doesn't say at which service the record is",
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
