"""Zip files that are the same bytes for the same content, and can be written in any order.

Python's own writer leaves traces of its version and of the clock, and writes one
member after the other. Here members are stored without compression (textures shrink
by 5 % at best, and a compressor's output changes with its version), every time is
the beginning of 1980, and the place of each is known before any is written, so that
several can be written at once and a broken-off file finished. Format: PKWARE,
APPNOTE.TXT, with ZIP64 where a number needs it.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Final

__all__ = ["ZipLayout", "ZipMember"]

_LIMIT: Final = 0xFFFFFFFF
_COUNT_LIMIT: Final = 0xFFFF
_EPOCH: Final = (0, 1 << 5 | 1)
"""DOS time and date: 1980-01-01 00:00."""

_UNIX_FILE: Final = 0o100644 << 16
_PLAIN: Final = 20
_ZIP64: Final = 45
"""Versions needed to extract."""


@dataclass(frozen=True)
class ZipMember:
    """A member of known length.

    Attributes
    ----------
    name
        With forward slashes, ASCII.
    size
        Bytes of its data.
    start
        Where its header lies in the zip.
    """

    name: str
    size: int
    start: int

    @property
    def offset(self) -> int:
        """Where its data lie in the zip."""
        return self.start + 30 + len(self.name) + (20 if self.size >= _LIMIT else 0)

    def header(self, crc: int) -> bytes:
        """Return what stands before the data, whose CRC-32 is `crc`."""
        big = self.size >= _LIMIT
        size = _LIMIT if big else self.size
        extra = struct.pack("<HHQQ", 1, 16, self.size, self.size) if big else b""
        fixed = struct.pack(
            "<4s5H3I2H", b"PK\3\4", _ZIP64 if big else _PLAIN, 0, 0, *_EPOCH,
            crc, size, size, len(self.name), len(extra),
        )  # fmt: skip
        return fixed + self.name.encode("ascii") + extra

    def directory_entry(self, crc: int) -> bytes:
        """Return the entry in the central directory."""
        big = [value for value in (self.size, self.size, self.start) if value >= _LIMIT]
        extra = struct.pack(f"<HH{len(big)}Q", 1, 8 * len(big), *big) if big else b""
        version = _ZIP64 if big else _PLAIN
        size = min(self.size, _LIMIT)
        fixed = struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 3 << 8 | version, version, 0, 0, *_EPOCH,
            crc, size, size, len(self.name), len(extra), 0, 0, 0,
            _UNIX_FILE, min(self.start, _LIMIT),
        )  # fmt: skip
        return fixed + self.name.encode("ascii") + extra


class ZipLayout:
    """Where everything lies in a zip of stored members.

    Parameters
    ----------
    members
        Names and lengths in bytes, in the order of the file.
    """

    def __init__(self, members: list[tuple[str, int]]) -> None:
        self.members: list[ZipMember] = []
        start = 0
        for name, size in members:
            member = ZipMember(name, size, start)
            self.members.append(member)
            start = member.offset + size
        self.directory_start = start

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.directory_start + len(self.directory([0] * len(self.members)))

    def directory(self, crcs: list[int]) -> bytes:
        """Return what stands after the last member: the central directory and its end.

        Parameters
        ----------
        crcs
            The CRC-32 of each member's data.
        """
        entries = b"".join(
            itertools.starmap(ZipMember.directory_entry, zip(self.members, crcs, strict=True))
        )
        count, start, length = len(self.members), self.directory_start, len(entries)
        end = b""
        if count >= _COUNT_LIMIT or max(start, length) >= _LIMIT:
            record = struct.pack(
                "<4sQ2H2I4Q", b"PK\6\6", 44, 3 << 8 | _ZIP64, _ZIP64, 0, 0,
                count, count, length, start,
            )  # fmt: skip
            end = record + struct.pack("<4sIQI", b"PK\6\7", 0, start + length, 1)
        count = min(count, _COUNT_LIMIT)
        end += struct.pack(
            "<4s4H2IH", b"PK\5\6", 0, 0, count, count,
            min(length, _LIMIT), min(start, _LIMIT), 0,
        )  # fmt: skip
        return entries + end
