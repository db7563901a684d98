"""What addresses on object stores and on servers have in common (`gpgen.io.paths.AnyPath`).

There are no folders: a name with slashes is one name. Nothing is opened: each part that is read is
a request.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from pathlib import PurePosixPath
from typing import ClassVar, Self

from gpgen.io.files import MOST_METADATA

__all__ = ["OpenRemote", "RemotePath"]


class RemotePath(ABC):
    """An address whose last part is a name with slashes, its `key`."""

    is_remote: ClassVar[bool] = True

    key: str

    @abstractmethod
    def at(self, key: str) -> Self:
        """Return the address with another key."""

    @abstractmethod
    def read_range(self, offset: int, nbytes: int) -> bytes:
        """Return a part of what is there; less only where it ends."""

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return PurePosixPath(self.key).name

    @property
    def suffix(self) -> str:
        """The name's last dot and what follows."""
        return PurePosixPath(self.key).suffix

    @property
    def parents(self) -> tuple[Self, ...]:
        """What the key begins with, up to each of its slashes, the longest first."""
        names = self.key.split("/")
        return tuple(self.at("/".join(names[:count])) for count in range(len(names) - 1, 0, -1))

    def with_name(self, name: str) -> Self:
        """Return the address with another name after its last slash."""
        folder, slash, _ = self.key.rpartition("/")
        return self.at(folder + slash + name)

    def relative_to(self, other: Self) -> str:
        """Return what follows another key and a slash in this one."""
        return self.key.removeprefix(other.key + "/")

    def __truediv__(self, name: str) -> Self:
        return self.at(f"{self.key}/{name}")

    def is_dir(self) -> bool:
        """Return ``False``: there are no folders."""
        return False

    def followed(self) -> Self:
        """Return the address itself: there are no links."""
        return self

    def opened(self) -> OpenRemote:
        """Return what reads it at random, a request each time."""
        return OpenRemote(self)

    def mark(self) -> None:  # noqa: B027 - it does what it says
        """Return ``None``: only a request would tell."""

    def head(self, nbytes: int) -> bytes:
        """Return the first bytes."""
        return self.read_range(0, nbytes)

    def read_whole(self) -> bytes:
        """Return what is in a file of metadata; an `OSError` if it is longer than any."""
        data = self.read_range(0, MOST_METADATA + 1)
        if len(data) > MOST_METADATA:
            raise OSError(errno.EFBIG, "it is too long to be metadata", str(self))
        return data


class OpenRemote:
    """What is read at random by requests; see `gpgen.io.paths.OpenFile`."""

    def __init__(self, path: RemotePath) -> None:
        self._path = path

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; return the bytes read, fewer only at the end."""
        wanted = buffer.cast("B")
        data = self._path.read_range(offset, len(wanted))
        wanted[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """No-op: no connection is held between requests."""
