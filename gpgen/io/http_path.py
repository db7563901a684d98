"""The address of a file on an HTTP server, with what `gpgen.io.paths.AnyPath` asks of one.

It can be read and nothing else. HTTP has no listing: what lies beside the files that a dataset's
manifest lists is not found.
"""

from __future__ import annotations

import dataclasses
import errno
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar, Final, NoReturn
from urllib.parse import urlsplit

from gpgen.errors import UsageError
from gpgen.io import http_requests as requests
from gpgen.io.files import MOST_METADATA

__all__ = ["HttpPath"]

# What is left of http:// when someone made a Path of it has one slash.
_ADDRESS: Final = re.compile(r"(https?):/{1,2}([^/?#]+)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.DOTALL)
_FORM: Final = "write it like https://host/data.zarr"
_READ_ONLY: Final = "make it in a folder or a bucket, and let a server give it out"


@dataclasses.dataclass(frozen=True)
class HttpPath:
    """A file on a server, or what the names of several begin with.

    Parameters
    ----------
    origin
        Scheme, host and port, such as ``https://host``.
    path
        What follows, without a slash at either end.
    query
        What each request repeats, such as ``?token=...``; or "".
    """

    origin: str
    path: str
    query: str = ""

    is_remote: ClassVar[bool] = True

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

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.path)

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self._pure.name

    @property
    def suffix(self) -> str:
        """The name's last dot and what follows."""
        return self._pure.suffix

    @property
    def parents(self) -> tuple[HttpPath, ...]:
        """What the path begins with, up to each of its slashes, the longest first."""
        names = self.path.split("/")
        shorter = ("/".join(names[:count]) for count in range(len(names) - 1, 0, -1))
        return tuple(dataclasses.replace(self, path=path) for path in shorter)

    def with_name(self, name: str) -> HttpPath:
        """Return the path with another name after its last slash."""
        folder, slash, _ = self.path.rpartition("/")
        return dataclasses.replace(self, path=folder + slash + name)

    def relative_to(self, other: HttpPath) -> str:
        """Return what follows another path and a slash in this one."""
        return self.path.removeprefix(other.path + "/")

    def __truediv__(self, name: str) -> HttpPath:
        return dataclasses.replace(self, path=f"{self.path}/{name}")

    def __str__(self) -> str:
        return f"{self.origin}/{self.path}"

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

    def is_dir(self) -> bool:
        """Return ``False``: there are no folders."""
        return False

    def on_store(self) -> NoReturn:
        """Refuse to write."""
        raise UsageError(f"{str(self).removesuffix('.making')} can only be read", _READ_ONLY)

    def on_disk(self) -> NoReturn:
        """Refuse what is done only on a disk."""
        raise UsageError(
            f"this needs the dataset on a disk, and {self} is on a server",
            f"copy it first: gpgen convert {self} data.zarr",
        )

    def followed(self) -> HttpPath:
        """Return the path itself: redirections are followed by each request."""
        return self

    def opened(self) -> OpenUrl:
        """Return what reads the file at random, a request each time."""
        return OpenUrl(self)

    def read_whole(self) -> bytes:
        """Return what is in a file of metadata."""
        data = self.read_range(0, MOST_METADATA + 1)
        if len(data) > MOST_METADATA:
            raise OSError(errno.EFBIG, "it is too long to be metadata", str(self))
        return data

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return a file of metadata as text."""
        return self.read_whole().decode(encoding)

    def head(self, nbytes: int) -> bytes:
        """Return the first bytes of the file."""
        return self.read_range(0, nbytes)

    def read_range(self, offset: int, nbytes: int) -> bytes:
        """Return a part of the file; less only where it ends."""
        return requests.get(self._url, offset, nbytes)

    def size(self) -> int:
        """Return the bytes of the file."""
        return requests.size(self._url)

    def mark(self) -> None:
        """Return ``None``: only a request would tell."""

    def names_under(self) -> Iterator[str]:
        """Yield nothing: HTTP has no listing."""
        return iter(())

    def how_to_replace(self) -> str:
        """Return what to do about something that is in the way."""
        return _READ_ONLY

    def how_to_start_again(self) -> str:
        """Return what to do about an unfinished dataset that nobody wants."""
        return _READ_ONLY


class OpenUrl:
    """A file on a server that is read at random; see `gpgen.io.paths.OpenFile`."""

    def __init__(self, path: HttpPath) -> None:
        self._path = path

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; return the bytes read, fewer only at the end."""
        wanted = buffer.cast("B")
        data = self._path.read_range(offset, len(wanted))
        wanted[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """No-op: a connection belongs to the process, not to a file."""
