"""Zip files from strangers, read with Python's zipfile after a check of the whole directory.

Nothing is ever extracted to the disk; members are read as streams.
"""

from __future__ import annotations

import contextlib
import io
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpgen.errors import DatasetError, GpgenError
from gpgen.golkar2018.gp_unpickler import ByteStream
from gpgen.io.failures import reading

__all__ = ["GuardedZip"]

MAX_MEMBERS: Final = 20_000
MAX_MEMBER_BYTES: Final = 1 << 40
MAX_DIRECTORY_BYTES: Final = 8 << 20
MAX_RATIO: Final = 20
"""Noise doesn't compress: textures shrink to 80 or 90 %. A bomb shrinks a thousandfold."""

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_.+\-/ ()]{1,255}")
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1 | 0x40


class GuardedZip(contextlib.AbstractContextManager["GuardedZip"]):
    """A zip file whose directory has been checked.

    Parameters
    ----------
    path
        Where it lies.

    Attributes
    ----------
    members
        The length in bytes of each file, by name.

    Raises
    ------
    DatasetError
        If it isn't a zip, or has a member that is encrypted, compressed in an unusual way,
        more than twenty times as long as its compressed bytes, a link, or named as if it
        belonged elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with (
            contextlib.ExitStack() as opened,
            _refusals(path, "it"),
            reading(path, "check it"),
        ):
            file = opened.enter_context(_BoundedFile(path))
            self._zip = opened.enter_context(zipfile.ZipFile(file))
            file.longest_read = sys.maxsize
            _check_members(path, self._zip.infolist())
            self.close = opened.pop_all().close
        infos = self._zip.infolist()
        self.members = {info.filename: info.file_size for info in infos if not info.is_dir()}

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[ByteStream]:
        """Open a member for reading from its beginning to its end, with its CRC-32 checked.

        Raises
        ------
        DatasetError
            If it is damaged: on entry, or from the body of the ``with`` statement.
        """
        with _refusals(self.path, f"its member {name!r}"), self._zip.open(name) as stream:
            yield stream


class _BoundedFile(io.FileIO):
    """A file that doesn't let zipfile fill the memory with a directory."""

    longest_read = MAX_DIRECTORY_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.longest_read:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return super().read(size) or b""

    def __del__(self) -> None:
        self.close()  # without a warning, as zipfile does with a file that it has opened itself


@contextlib.contextmanager
def _refusals(path: Path, what: str) -> Iterator[None]:
    """Turn what zipfile raises for damage into one kind of error."""
    try:
        yield
    except GpgenError:
        raise
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError,
        RuntimeError, ValueError,
    ) as error:  # fmt: skip
        said = " ".join(str(error).split())[:100] or type(error).__name__
        raise _refused(path, f"{what} can't be read ({said})") from None


def _check_members(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > MAX_MEMBERS:
        raise _refused(path, f"it has {len(infos)} members")
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
            raise _refused(path, f"its member {info.filename[:60]!r} {why}")
        seen.add(info.filename.casefold())
        end = info.header_offset + 30 + len(info.filename) + info.compress_size


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


def _refused(path: Path, why: str) -> DatasetError:
    return DatasetError(f"{path} isn't read: {why}", "nothing was unpacked; get the file again")
