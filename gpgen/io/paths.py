"""Where bytes are: on a disk or on an object store, behind one protocol."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol, Self, cast

from gpgen.errors import UsageError
from gpgen.io.http_path import HttpPath
from gpgen.io.local_path import LocalPath
from gpgen.io.object_path import ObjectPath
from gpgen.io.user_paths import AnyText, given, text_of

__all__ = ["AnyPath", "Given", "Mark", "OpenFile", "place_of"]

Mark = tuple[int, int, int]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/")
_STORES = (
    "use s3://, http://, https://, gs:// (public data) or a local path; Azure's public data "
    "by its address https://ACCOUNT.blob.core.windows.net/CONTAINER/data.zarr"
)
_FILE_FORMATS = (".h5", ".hdf5", ".tar")


class OpenFile(Protocol):
    """What is read at random."""

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset``; return the bytes read, fewer only at the end."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class AnyPath(Protocol):
    """A path on a disk (`LocalPath`), or an address on an object store (`ObjectPath`) or server.

    What is on a server (`HttpPath`) can only be read.

    Code that builds names and reads files takes either. All that reads raises an `OSError` if
    the file is missing or can't be read, a `StorageError` if a store doesn't answer.

    Attributes
    ----------
    is_remote
        Whether there are only whole objects, behind requests: nothing is renamed, locked, linked
        or kept open, there are no folders, and of gpgen's formats there is Zarr alone.
    """

    is_remote: ClassVar[bool]

    @property
    def name(self) -> str:
        """What follows the last slash."""
        ...

    @property
    def suffix(self) -> str:
        """The name's last dot and what follows."""
        ...

    @property
    def parents(self) -> Sequence[Self]:
        """The folders above, or what stands for them, the nearest first."""
        ...

    def with_name(self, name: str) -> Self:
        """Return the path with another name after its last slash."""
        ...

    def relative_to(self, other: Any, /) -> object:  # noqa: ANN401 - a path of the same kind
        """Return what follows another path in this one, as what `str` makes text."""
        ...

    def __truediv__(self, name: str) -> Self: ...

    def exists(self) -> bool:
        """Return whether there is such a file, folder or object."""
        ...

    def is_dir(self) -> bool:
        """Return whether it is a folder."""
        ...

    def on_disk(self) -> LocalPath:
        """Return the path for what can be done only on a disk.

        Raises
        ------
        UsageError
            If it is on an object store.
        """
        ...

    def on_store(self) -> ObjectPath:
        """Return the address for what is done only on an object store.

        Raises
        ------
        TypeError
            If it is on a disk: a fault of gpgen's.
        """
        ...

    def followed(self) -> Self:
        """Return where a link leads; the path itself if it is none.

        Raises
        ------
        UsageError
            If it leads in a circle.
        """
        ...

    def opened(self) -> OpenFile:
        """Open a file for reading at random; an object is only missed when it is read."""
        ...

    def read_whole(self) -> bytes:
        """Return what is in a file of metadata; an `OSError` if it is longer than any."""
        ...

    def head(self, nbytes: int) -> bytes:
        """Return the first bytes of a file, or all if it is shorter."""
        ...

    def size(self) -> int:
        """Return the bytes of a file."""
        ...

    def mark(self) -> Mark | None:
        """Return what changes when another file comes in this one's place.

        It may also change when none does: some network file systems number their files anew.
        ``None`` if nothing tells.
        """
        ...

    def names_under(self) -> Iterator[str]:
        """Yield the names of all files in a folder and below, relative to it."""
        ...

    def how_to_replace(self) -> str:
        """Return what to do about something that is in the way, as the end of a hint."""
        ...

    def how_to_start_again(self) -> str:
        """Return what to do about an unfinished dataset that nobody wants, as the end of a hint."""
        ...


Given = AnyText | AnyPath
"""What a user may give as a path."""


def place_of(path: Given) -> AnyPath:
    """Return the absolute path, or the object, that the user names.

    Raises
    ------
    UsageError
        If it is an address of a kind that gpgen can't read or write, or no path at all.
    """
    if getattr(path, "is_remote", False):
        return cast("AnyPath", path)
    text = text_of(path)
    if not _SCHEME.match(text):
        return given(text)
    scheme = text.partition(":")[0]
    if scheme == "gs":
        text, scheme = _public_address(text), "https"
    if scheme not in ("s3", "http", "https"):
        raise UsageError(f"{text!r} is on no store that gpgen knows", _STORES)
    place: AnyPath = ObjectPath.parse(text) if scheme == "s3" else HttpPath.parse(text)
    if place.suffix in _FILE_FORMATS:
        raise UsageError(
            f"{text!r} would be HDF5 or tar files, and on object stores there is only Zarr",
            "name it like s3://bucket/data.zarr",
        )
    return place


def _public_address(text: str) -> str:
    """Return the address at which Google's store gives out a public object."""
    server = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com")
    return f"{server.rstrip('/')}/{text.removeprefix('gs:').lstrip('/')}"
