"""A path on a disk, with what `gpgen.io.paths.AnyPath` asks of one."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import ClassVar, NoReturn

from gpgen.errors import Argument, UsageError
from gpgen.io import files
from gpgen.io.failures import NoFileError

__all__ = ["LocalPath", "OpenLocalFile"]


class LocalPath(PosixPath):
    """A `pathlib.Path` that is read like an object of a store; see `gpgen.io.paths.AnyPath`."""

    is_remote: ClassVar[bool] = False

    def on_disk(self) -> LocalPath:
        """Return the path itself."""
        return self

    def on_store(self) -> NoReturn:
        """Refuse what is done only on an object store."""
        raise TypeError(f"{self} is on a disk")

    def followed(self) -> LocalPath:
        """Return where a path leads that is a link: what is made or replaced is made there.

        Raises
        ------
        UsageError
            If it is a link that leads nowhere but to itself.
        """
        if not self.is_symlink():
            return self
        end = LocalPath(os.path.realpath(self))
        if end.is_symlink():
            raise UsageError(
                f"the link {self} leads in a circle", "remove it, or choose another place"
            )
        return end

    def opened(self) -> OpenLocalFile:
        """Open the file for reading at random."""
        return OpenLocalFile(self)

    def read_whole(self) -> bytes:
        """Return what is in a file of metadata."""
        return files.read_whole(self)

    def head(self, nbytes: int) -> bytes:
        """Return the first bytes of a file; what is no regular file isn't even opened."""
        if not stat.S_ISREG(self.stat().st_mode):
            raise NoFileError(errno.EINVAL, "it is no regular file", str(self))
        with files.open_stream(self) as stream:
            return stream.read(nbytes)

    def size(self) -> int:
        """Return the bytes of a file."""
        return self.stat().st_size

    def mark(self) -> tuple[int, int, int] | None:
        """Return inode, size and time of change."""
        try:
            found = self.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def names_under(self) -> Iterator[str]:
        """Yield the names of all files in a folder and below, relative to it."""
        for folder, _, names in os.walk(self):
            for name in sorted(names):
                yield str((Path(folder) / name).relative_to(self))

    def how_to_replace(self) -> str:
        """Return what to do about something that is in the way."""
        return f"replace it with {Argument.OVERWRITE}"

    def how_to_start_again(self) -> str:
        """Return what to do about an unfinished dataset that nobody wants."""
        return f"start again with {Argument.OVERWRITE}"


class OpenLocalFile:
    """A file that is open for reading at random; see `gpgen.io.paths.OpenFile`."""

    def __init__(self, path: Path) -> None:
        self._descriptor = files.open_existing(path)
        # Nobody closes the files of a dataset that is opened in passing.
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._close.atexit = False

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; return the bytes read, fewer only at the end."""
        return files.read_at(self._descriptor, buffer, offset)

    def close(self) -> None:
        """Close the file."""
        self._close()
