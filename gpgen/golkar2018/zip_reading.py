"""Reading zip files from strangers: checked as a whole before a member is opened.

Nothing is ever extracted to the disk; members are read as streams.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from gpgen.errors import DatasetError
from gpgen.store.failures import unreadable

__all__ = ["GuardedZip", "MemberStream"]

MAX_MEMBERS: Final = 20_000
MAX_MEMBER_BYTES: Final = 1 << 40
MAX_DIRECTORY_BYTES: Final = 8 << 20
MAX_RATIO: Final = 20
"""Noise doesn't compress: textures shrink to 80 or 90 %. A bomb shrinks a thousandfold."""

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_.+\-/ ()]{1,255}")
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1 | 0x40


@dataclass(frozen=True)
class Member:
    """A file in a zip: its name and its length in bytes."""

    name: str
    size: int


class GuardedZip:
    """A zip file whose directory has been checked.

    Parameters
    ----------
    path
        Where it lies.

    Raises
    ------
    DatasetError
        If it isn't a zip, or has a member that is encrypted, compressed in an unusual
        way or beyond belief, a link, or named as if it belonged elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _check_directory_size(path)
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise DatasetError(f"{path} doesn't exist", "give the path of a zip file") from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            raise _refused(path, f"it can't be read as a zip ({_one_line(error)})") from None
        except OSError as error:
            raise unreadable(path, error, "check it") from None
        try:
            self.members = self._checked_members()
        except DatasetError:
            self._zip.close()
            raise

    def __enter__(self) -> GuardedZip:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def open(self, name: str) -> MemberStream:
        """Open a member for reading from its beginning to its end."""
        return MemberStream(self._zip, name, self.path)

    def _checked_members(self) -> tuple[Member, ...]:
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            raise _refused(self.path, f"it has {len(infos)} members")
        seen: set[str] = set()
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            why = _complaint(info)
            if why is None and info.filename.casefold() in seen:
                why = "is there twice"
            # A bomb may use the same compressed bytes for many members.
            if why is None and info.header_offset < end:
                why = "overlaps another"
            if why is not None:
                raise _refused(self.path, f"its member {info.filename[:60]!r} {why}")
            seen.add(info.filename.casefold())
            end = info.header_offset + 30 + len(info.filename) + info.compress_size
        files = [info for info in infos if not info.is_dir()]
        return tuple(Member(info.filename, info.file_size) for info in files)


class MemberStream:
    """A member of a zip, whose reading ends at its announced length and checks its CRC-32."""

    def __init__(self, archive: zipfile.ZipFile, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        with self._errors():
            self._stream = archive.open(name)
            self._left = archive.getinfo(name).file_size

    def __enter__(self) -> MemberStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes, fewer only at the end.

        Raises
        ------
        DatasetError
            If the member is damaged, or longer or shorter than announced.
        """
        with self._errors():
            data = self._stream.read(size) if size else b""
        self._left -= len(data)
        if self._left < 0 or (self._left and len(data) < size):
            raise _refused(self._path, f"its member {self._name!r} isn't as long as announced")
        return data

    def _errors(self) -> _MemberErrors:
        return _MemberErrors(self._path, self._name)


class _MemberErrors:
    """Turns what reading a damaged member raises into one kind of error."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        damage = (
            zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError,
            ValueError, OSError, struct.error,
        )  # fmt: skip
        if isinstance(error, damage) and not isinstance(error, DatasetError):
            why = f"its member {self._name!r} can't be read ({_one_line(error)})"
            raise _refused(self._path, why) from None


def _complaint(info: zipfile.ZipInfo) -> str | None:
    name = info.filename
    mode = info.external_attr >> 16
    # zipfile cuts a name at a zero byte and turns backslashes on some systems: the original counts.
    if info.orig_filename != name or not _SAFE_NAME.fullmatch(name):
        return "has a name with characters that aren't allowed"
    if name.startswith("/") or ".." in name.split("/"):
        return "is named as if it belonged elsewhere"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed in an unusual way"
    stored = info.compress_type == zipfile.ZIP_STORED
    if stored and info.compress_size != info.file_size:
        return "is stored in another length than its own"
    if info.file_size > MAX_MEMBER_BYTES or info.file_size > MAX_RATIO * (info.compress_size + 64):
        return f"would grow from {info.compress_size} to {info.file_size} bytes"
    return None


def _check_directory_size(path: Path) -> None:
    """Refuse a directory that would fill the memory before it can be looked at."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - (1 << 16) - 22))
        tail = file.read()
        place = tail.rfind(b"PK\5\6")
        if place < 0 or len(tail) < place + 22:
            raise zipfile.BadZipFile("no end of the central directory")
        (size,) = struct.unpack_from("<I", tail, place + 12)
        if size == 0xFFFFFFFF and place >= 20 and tail[place - 20 : place - 16] == b"PK\6\7":
            file.seek(max(0, length - len(tail) + place - 20 - 56))
            record = file.read(56)
            if record.startswith(b"PK\6\6"):
                (size,) = struct.unpack_from("<Q", record, 40)
    if size > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(f"a directory of {size} bytes")


def _refused(path: Path, why: str) -> DatasetError:
    return DatasetError(f"{path} isn't read: {why}", "nothing was unpacked; get the file again")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
