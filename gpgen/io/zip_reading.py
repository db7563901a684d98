"""Where the members of a zip lie whose members are stored, not compressed (PKWARE, APPNOTE.TXT)."""

from __future__ import annotations

import dataclasses
import errno
import os
import struct
import zipfile
from io import BufferedReader
from typing import Final

from gpgen.errors import DatasetError, printable
from gpgen.io import files
from gpgen.io.failures import UNPACK, is_damage, unreadable
from gpgen.io.litter import is_litter
from gpgen.io.local_path import LocalPath
from gpgen.io.zip_writing import ZipLayout

__all__ = ["Member", "folder_in", "read_members"]

_MOST_DIRECTORY: Final = 2**30
_HEADER: Final = struct.Struct("<4s5H3I2H")
_SIZES_FOLLOW: Final = 1 << 3
_ENCRYPTED: Final = 1
_UNKNOWN: Final = 0xFFFFFFFF
"""A size in a header that has its place in the header's extra field."""

_REPACK: Final = "pack its folder again, uncompressed: `zip -0 -r data.zarr.zip data.zarr`"


@dataclasses.dataclass(frozen=True)
class Member:
    """A stored member.

    Parameters
    ----------
    start
        Where its header lies in the zip.
    offset
        Where its data lie.
    size
        Bytes of its data.
    header
        What the header must be, byte for byte; ``None`` if not gpgen has written the zip.
    info
        What the directory says.
    """

    start: int
    offset: int
    size: int
    header: bytes | None
    info: zipfile.ZipInfo

    def agrees(self, stream: BufferedReader) -> bool:
        """Return whether the header is what it must be."""
        stream.seek(self.start)
        if self.header is not None:
            return stream.read(len(self.header)) == self.header
        found = stream.read(_HEADER.size)
        if len(found) < _HEADER.size:
            return False
        mark, _, flags, method, time, date, crc, packed, size, _, _ = _HEADER.unpack(found)
        info = self.info
        year, month, day, hour, minute, second = info.date_time
        sizes = (crc == info.CRC) and all(n in (info.file_size, _UNKNOWN) for n in (packed, size))
        return (
            (mark, flags, method) == (b"PK\3\4", info.flag_bits, info.compress_type)
            and date == (year - 1980) << 9 | month << 5 | day
            and time == hour << 11 | minute << 5 | second // 2
            and (sizes or bool(flags & _SIZES_FOLLOW))
        )


def folder_in(members: dict[str, Member]) -> str:
    """Return the folder that holds a Zarr group, with its slash; none if the zip itself does."""
    if "zarr.json" in members:
        return ""
    tops = {name.partition("/")[0] for name in members if not is_litter(name)}
    top = min(tops, default="") + "/"
    return top if len(tops) == 1 and f"{top}zarr.json" in members else ""


def read_members(path: LocalPath) -> dict[str, Member]:
    """Return the members of a zip by their names, but for folders.

    Raises
    ------
    DatasetError
        If it is no zip or damaged, or a member isn't stored as it is.
    StorageError
        If it can't be read.
    """
    try:
        with files.open_stream(path) as stream:
            nbytes = os.fstat(stream.fileno()).st_size
            with zipfile.ZipFile(stream) as archive:
                infos = archive.infolist()
            if all(info.filename.isascii() for info in infos):
                own = _own(path, stream, nbytes, archive, infos)
                if own is not None:
                    return own
            return _others(path, stream, archive, infos)
    except DatasetError:
        raise
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, struct.error) as error:
        # A place that is no place in the file comes as EINVAL.
        if isinstance(error, OSError) and not (is_damage(error) or error.errno == errno.EINVAL):
            raise unreadable(path, error) from error
        reason = " ".join(str(error).split())[:100]
        raise DatasetError(f"{path} can't be read as a zip: {reason}", UNPACK) from error


def _own(
    path: LocalPath,
    stream: BufferedReader,
    nbytes: int,
    archive: zipfile.ZipFile,
    infos: list[zipfile.ZipInfo],
) -> dict[str, Member] | None:
    """Return the members of a zip that gpgen has written; ``None`` if it is another's."""
    layout = ZipLayout([(info.filename, info.file_size) for info in infos])
    pairs = list(zip(layout.members, infos, strict=True))
    expected = layout.directory([info.CRC for info in infos])
    stream.seek(archive.start_dir)
    found = stream.read(min(len(expected) + 1, _MOST_DIRECTORY))
    members = {
        info.filename: Member(own.start, own.offset, own.size, own.header(info.CRC), info)
        for own, info in pairs
    }
    if found == expected and nbytes == layout.size and len(members) == len(infos):
        return members
    if any(own.directory_entry(info.CRC) in found for own, info in pairs):
        raise DatasetError(f"the directory of {path} is damaged", UNPACK)
    return None


def _others(
    path: LocalPath, stream: BufferedReader, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]
) -> dict[str, Member]:
    """Return the members of a zip that gpgen hasn't written; of two of one name, the last."""
    members = {}
    for info in infos:
        if not info.filename or info.is_dir():
            continue
        name = printable(info.filename)[:100]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            how = "encrypted" if info.flag_bits & _ENCRYPTED else "compressed"
            raise DatasetError(f"{name} is {how} in {path}", _REPACK)
        stream.seek(info.header_offset)
        header = _HEADER.unpack(stream.read(_HEADER.size))
        offset = info.header_offset + _HEADER.size + header[-2] + header[-1]
        same = header[0] == b"PK\3\4" and stream.read(header[-2]) == _raw_name(info)
        if not same or info.file_size != info.compress_size:
            raise DatasetError(f"the header of {name} in {path} is damaged", UNPACK)
        if offset + info.file_size > archive.start_dir:
            raise DatasetError(f"{name} doesn't lie within {path}", UNPACK)
        members[info.filename] = Member(info.header_offset, offset, info.file_size, None, info)
    return members


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    utf8 = info.flag_bits & 1 << 11
    return info.orig_filename.encode("utf-8" if utf8 else "cp437")
