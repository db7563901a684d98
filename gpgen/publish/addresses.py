"""The addresses of services, and where the token of each is kept."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from gpgen.errors import UsageError

__all__ = ["SANDBOX", "ZENODO", "base_url", "named_service"]

ZENODO: Final = "https://zenodo.org"
SANDBOX: Final = "https://sandbox.zenodo.org"


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
        raise UsageError("only Zenodo has a sandbox", "leave out --sandbox")
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
