"""Where bytes are: on a disk or on an object store. The only place that tells them apart.

Formats build names and read through what is here, so that they need not know.
"""

from __future__ import annotations

import errno
import os
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from gpgen.errors import Argument, UsageError
from gpgen.io import files
from gpgen.io.object_path import ObjectPath
from gpgen.io.user_paths import AnyText, given, text_of

__all__ = [
    "AnyPath",
    "Given",
    "Mark",
    "OpenFile",
    "how_to_replace",
    "how_to_start_again",
    "local_path",
    "mark_of",
    "names_under",
    "object_path",
    "open_file",
    "place_of",
    "read_whole",
    "size_of",
]

AnyPath = Path | ObjectPath
Given = AnyText | ObjectPath
Mark = tuple[int, int, int]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/")
_FILE_FORMATS = (".h5", ".hdf5", ".tar")


def place_of(path: Given) -> AnyPath:
    """Return the absolute path, or the object, that the user names.

    Raises
    ------
    UsageError
        If it is an address of a kind that gpgen can't read or write, or no path at all.
    """
    if isinstance(path, ObjectPath):
        return path
    text = text_of(path)
    if not _SCHEME.match(text):
        return given(text)
    if not text.startswith("s3:"):
        raise UsageError(f"{text!r} is on no store that gpgen knows", "use s3:// or a local path")
    place = ObjectPath.parse(text)
    if place.suffix in _FILE_FORMATS:
        raise UsageError(
            f"{text!r} would be HDF5 or tar files, and on object stores there is only Zarr",
            "name it like s3://bucket/data.zarr",
        )
    return place


def local_path(path: AnyPath) -> Path:
    """Return a path on a disk, for what can't be done elsewhere.

    Raises
    ------
    UsageError
        If it is on an object store.
    """
    if isinstance(path, ObjectPath):
        raise UsageError(
            f"this needs the dataset on a disk, and {path} is on an object store",
            f"copy it first: gpgen convert {path} data.zarr",
        )
    return path


def object_path(path: AnyPath) -> ObjectPath:
    """Return a path on an object store, for what is done only there."""
    if isinstance(path, ObjectPath):
        return path
    raise TypeError(f"{path} is on a disk")


def _remove(path: ObjectPath) -> str:
    target = str(path).removesuffix(".making")
    return f"remove all objects under {target}/ and {target}.making/"


def how_to_replace(path: AnyPath) -> str:
    """Return what to do about something that is in the way, as the end of a hint."""
    if isinstance(path, ObjectPath):
        return _remove(path)
    return f"replace it with {Argument.OVERWRITE}"


def how_to_start_again(path: AnyPath) -> str:
    """Return what to do about an unfinished dataset that nobody wants, as the end of a hint."""
    if isinstance(path, ObjectPath):
        return f"{_remove(path)} and start again"
    return f"start again with {Argument.OVERWRITE}"


class OpenFile(Protocol):
    """What is read at random."""

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset``; return the bytes read, fewer only at the end."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class _OnDisk:
    def __init__(self, path: Path) -> None:
        self._descriptor = files.open_existing(path)
        # Nobody closes the files of a dataset that is opened in passing.
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._close.atexit = False

    def read_at(self, buffer: memoryview, offset: int) -> int:
        return files.read_at(self._descriptor, buffer, offset)

    def close(self) -> None:
        self._close()


class _OnObjectStore:
    def __init__(self, path: ObjectPath) -> None:
        self._path = path

    def read_at(self, buffer: memoryview, offset: int) -> int:
        wanted = buffer.cast("B")
        data = self._path.read_range(offset, len(wanted))
        wanted[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Hold nothing: each read is a request."""


def open_file(path: AnyPath) -> OpenFile:
    """Open what can be read at random.

    Raises
    ------
    OSError
        If it is missing (an object is only missed when it is read) or can't be read.
    """
    return _OnObjectStore(path) if isinstance(path, ObjectPath) else _OnDisk(path)


def read_whole(path: AnyPath) -> bytes:
    """Return what is in a file or object of metadata.

    Raises
    ------
    OSError
        If there is none, or one longer than any metadata.
    """
    if not isinstance(path, ObjectPath):
        return files.read_whole(path)
    data = path.read_range(0, files.MOST_METADATA + 1)
    if len(data) > files.MOST_METADATA:
        raise OSError(errno.EFBIG, "it is too long to be metadata", str(path))
    return data


def size_of(path: AnyPath) -> int:
    """Return the bytes of a file or object."""
    return path.size() if isinstance(path, ObjectPath) else path.stat().st_size


def mark_of(path: AnyPath) -> Mark | None:
    """Return what changes when another file comes in a file's place; ``None`` if nothing tells.

    It may also change when none does: some network file systems number their files anew.
    """
    if isinstance(path, ObjectPath):
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def names_under(path: AnyPath) -> Iterator[str]:
    """Yield the names of all files in a folder and below, relative to it."""
    if isinstance(path, ObjectPath):
        for member, _ in path.members():
            yield member.relative_to(path)
        return
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            yield str((Path(folder) / name).relative_to(path))
