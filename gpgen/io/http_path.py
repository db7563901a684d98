"""The address of a file on an HTTP server, with what `gpgen.io.paths.AnyPath` asks of one.

It can be read and nothing else. HTTP has no listing: what lies beside the files that a dataset's
manifest lists is not found.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Final, NoReturn
from urllib.parse import urlsplit

from gpgen.errors import UsageError
from gpgen.io import http_requests as requests
from gpgen.io.remote_path import RemotePath

__all__ = ["HttpPath"]

# What is left of http:// when someone made a Path of it has one slash.
_ADDRESS: Final = re.compile(r"(https?):/{1,2}([^/?#]+)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.DOTALL)
_FORM: Final = "write it like https://host/data.zarr"
_READ_ONLY: Final = "make it in a folder or a bucket, and let a server give it out"


@dataclasses.dataclass(frozen=True)
class HttpPath(RemotePath):
    """A file on a server, or what the names of several begin with.

    Parameters
    ----------
    origin
        Scheme, host and port, such as ``https://host``.
    key
        What follows, without a slash at either end.
    query
        What each request repeats, such as ``?token=...``; or "".
    """

    origin: str
    key: str
    query: str = ""

    @classmethod
    def parse(cls, address: str) -> HttpPath:
        """Return the path of an address like ``https://host/data.zarr``.

        Raises
        ------
        UsageError
            If it names no file.
        """
        match = _ADDRESS.fullmatch(address)
        path = (match[3] or "").strip("/") if match else ""
        if match is None or not path:
            raise UsageError(f"{address!r} does not name a file on a server", _FORM)
        if "@" in match[2]:
            host = match[2].rpartition("@")[2]
            raise UsageError(
                f"the address of {host} holds a name or a password",
                "leave it out: it would be shown in messages and kept in files",
            )
        if match[5] or not address.isascii() or re.search(r"[\s\\]|%(?![0-9A-Fa-f]{2})", address):
            raise UsageError(f"{address!r} is no address", "percent-encode it, without a fragment")
        try:
            _ = urlsplit(address).port
        except ValueError:
            raise UsageError(f"{address!r} has no port that there could be", _FORM) from None
        return cls(f"{match[1]}://{match[2]}", path, match[4] or "")

    def at(self, key: str) -> HttpPath:
        """Return the address of another file on the server."""
        return dataclasses.replace(self, key=key)

    def __str__(self) -> str:
        return f"{self.origin}/{self.key}"

    @property
    def _url(self) -> str:
        return f"{self}{self.query}"

    def exists(self) -> bool:
        """Return whether there is such a file."""
        try:
            requests.get(self._url, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def on_store(self) -> NoReturn:
        """Refuse to write."""
        raise UsageError(f"{str(self).removesuffix('.making')} can only be read", _READ_ONLY)

    def on_disk(self) -> NoReturn:
        """Refuse what is done only on a disk."""
        raise UsageError(
            f"this needs the dataset on a disk, and {self} is on a server",
            f"copy it first: gpgen convert {self} data.zarr",
        )

    def read_range(self, offset: int, nbytes: int) -> bytes:
        """Return a part of the file; less only where it ends."""
        return requests.get(self._url, offset, nbytes)

    def size(self) -> int:
        """Return the bytes of the file."""
        return requests.size(self._url)

    def names_under(self) -> Iterator[str]:
        """Yield nothing: HTTP has no listing."""
        return iter(())

    def how_to_replace(self) -> str:
        """Return what to do about something that is in the way."""
        return _READ_ONLY

    def how_to_start_again(self) -> str:
        """Return what to do about an unfinished dataset that nobody wants."""
        return _READ_ONLY
