"""The keys with what `gpgen.io.paths.AnyPath` asks of a path, for what reads stored datasets."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar, NoReturn

from gpgen.errors import UsageError
from gpgen.virtual_store.drawing import DRAWING
from gpgen.virtual_store.keys import VirtualKeys

__all__ = ["VirtualPath"]


@dataclasses.dataclass(frozen=True)
class VirtualPath:
    """A key of a virtual dataset, or what the names of several begin with.

    Parameters
    ----------
    keys
        The dataset.
    key
        The name in it, empty for the dataset itself.
    """

    keys: VirtualKeys
    key: str = ""

    is_remote: ClassVar[bool] = True

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(f"{self.keys.recipe.name}.zarr") / self.key

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self._pure.name

    @property
    def suffix(self) -> str:
        """The name's last dot and what follows."""
        return self._pure.suffix

    @property
    def parents(self) -> tuple[VirtualPath, ...]:
        """What the key begins with, up to each of its slashes, the longest first."""
        names = self.key.split("/") if self.key else []
        return tuple(
            VirtualPath(self.keys, "/".join(names[:k])) for k in range(len(names) - 1, -1, -1)
        )

    def with_name(self, name: str) -> VirtualPath:
        """Return the path with another name after its last slash; beside the dataset is nothing."""
        folder, slash, _ = self.key.rpartition("/")
        return VirtualPath(self.keys, folder + slash + name)

    def relative_to(self, other: VirtualPath) -> str:
        """Return what follows another path and a slash in this one."""
        return self.key.removeprefix(other.key + "/" if other.key else "")

    def __truediv__(self, name: str) -> VirtualPath:
        return VirtualPath(self.keys, f"{self.key}/{name}" if self.key else name)

    def __repr__(self) -> str:
        return f"<VirtualPath {self}>"

    def __str__(self) -> str:
        return f"virtual:{self._pure}"

    def exists(self) -> bool:
        """Return whether there is such a key."""
        return self.keys.nbytes(self.key) is not None

    def is_dir(self) -> bool:
        """Return ``False``: there are no folders."""
        return False

    def on_disk(self) -> NoReturn:
        """Refuse what is done only on a disk."""
        raise UsageError(
            f"this needs the dataset on a disk, and {self} is drawn when it is read",
            "make it with `gpgen make`",
        )

    def on_store(self) -> NoReturn:
        """Refuse what is done only on an object store: nothing is written here."""
        raise UsageError(
            f"nothing can be written to {self}, which is drawn when it is read",
            "choose a place on a disk, like data.zarr",
        )

    def followed(self) -> VirtualPath:
        """Return the path itself: there are no links."""
        return self

    def opened(self) -> _OpenKey:
        """Return what reads the key at random, drawing what is asked for."""
        return _OpenKey(self)

    def read_whole(self) -> bytes:
        """Return what is in a key of metadata."""
        return self.head(self.size())

    def head(self, nbytes: int) -> bytes:
        """Return the first bytes of the key."""
        data = bytearray(min(nbytes, self.size()))
        self.opened().read_at(memoryview(data), 0)
        return bytes(data)

    def size(self) -> int:
        """Return the bytes of the key."""
        nbytes = self.keys.nbytes(self.key)
        if nbytes is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return nbytes

    def mark(self) -> tuple[int, int, int]:
        """Return a constant: what follows from a recipe isn't replaced."""
        return 0, 0, 0

    def names_under(self) -> Iterator[str]:
        """Yield the names of all keys below, relative to it."""
        if self.key:
            return self.keys.folder(self.key)
        return self.keys.keys()

    def how_to_replace(self) -> str:
        """Return what to do about something that is in the way: nothing is written there."""
        return "choose a place on a disk"

    def how_to_start_again(self) -> str:
        """Return what to do about an unfinished dataset, of which there are none here."""
        return self.how_to_replace()


class _OpenKey:
    """A key that is read at random; see `gpgen.io.paths.OpenFile`."""

    def __init__(self, path: VirtualPath) -> None:
        self._keys, self._key, self._nbytes = path.keys, path.key, path.size()

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; return the bytes read, fewer only at the end."""
        wanted = buffer.cast("B")
        start = min(offset, self._nbytes)
        stop, done = min(offset + len(wanted), self._nbytes), 0
        for piece in self._keys.pieces(self._key, start, stop):
            data = piece if isinstance(piece, memoryview) else DRAWING.submit(piece).result()
            wanted[done : done + len(data)] = data
            done += len(data)
        return done

    def close(self) -> None:
        """No-op: nothing is open."""
