"""What an archive in the making writes: members of its zips, and the journal of samples."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

from gpgen.io import files
from gpgen.io.zip_writing import ZipMember

__all__ = ["MemberWriter", "SampleJournal", "open_or_create"]


class SampleJournal:
    """The CRC-32 of every sample that is safely on the disk; a torn last line is dropped."""

    def __init__(self, path: Path, count: int) -> None:
        self.crcs: dict[int, int] = {}
        self._descriptor = open_or_create(path)
        good = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                number, crc = json.loads(line)
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n") or not 0 <= number < count:
                break
            self.crcs[number] = crc
            good += len(line)
        files.truncate(self._descriptor, good)
        os.lseek(self._descriptor, good, os.SEEK_SET)

    def add(self, number: int, crc: int) -> None:
        """Add a sample whose bytes are on the disk, by its number and their CRC-32."""
        files.append(self._descriptor, json.dumps([number, crc]).encode() + b"\n")
        self.crcs[number] = crc

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class MemberWriter:
    """Writes a member of a zip from its beginning to its end, then its header."""

    def __init__(self, descriptor: int, member: ZipMember) -> None:
        self._descriptor = descriptor
        self._member = member
        self._written = 0
        self._crc = 0

    def write(self, data: bytes | memoryview, /) -> None:
        """Append to the member's content."""
        files.write_at(self._descriptor, data, self._member.offset + self._written)
        self._crc = zlib.crc32(data, self._crc)
        self._written += len(data)

    def finish(self) -> int:
        """Write the header, once all content is there, and return the content's CRC-32."""
        assert self._written == self._member.size  # noqa: S101 - else the zip would be broken
        files.write_at(self._descriptor, self._member.header(self._crc), self._member.start)
        return self._crc


def open_or_create(path: Path) -> int:
    """Open a file for reading and writing, and create it if it isn't there."""
    return files.open_existing(path, write=True) if path.exists() else files.create(path)
