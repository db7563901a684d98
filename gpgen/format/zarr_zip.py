"""A Zarr dataset in one zip, as `gpgen package` writes it, read where it lies.

The members are stored without compression, and their order, their headers and the directory
follow from names, sizes and CRC-32s alone. So a member is a range of the file, and every byte
that is no member's can be compared with what it must be.
"""

from __future__ import annotations

import errno
import os
import struct
import zipfile
from collections.abc import Iterator

from gpgen.errors import DatasetError
from gpgen.format.base import Problem
from gpgen.format.manifest import VERIFY
from gpgen.format.pixels import file_sha256
from gpgen.format.zarr_content import shard_name, shard_nbytes
from gpgen.format.zarr_reader import ZarrReader
from gpgen.io import files
from gpgen.io.failures import UNPACK, is_damage, unreadable
from gpgen.io.local_path import LocalPath
from gpgen.io.zip_writing import ZipLayout, ZipMember

__all__ = ["ZippedZarrReader"]

_MOST_DIRECTORY = 2**30


class ZippedZarrReader(ZarrReader):
    """A finished Zarr group in a zip."""

    def __init__(self, path: LocalPath) -> None:
        self._file = path
        self._crcs: dict[str, int] = {}
        self._members: dict[str, ZipMember] = {}
        layout, infos = _read_directory(path)
        for member, info in zip(layout.members, infos, strict=True):
            self._members[member.name] = member
            self._crcs[member.name] = info.CRC
        super().__init__(path)

    def document(self, name: str) -> bytes:
        """Return what is in a member."""
        member = self._member(name)
        with files.open_stream(self._file) as stream:
            stream.seek(member.offset)
            return stream.read(member.size)

    def span(self, name: str) -> tuple[LocalPath, int]:
        """Return the file in which a member lies, and where it begins."""
        return self._file, self._member(name).offset

    def _member(self, name: str) -> ZipMember:
        member = self._members.get(name)
        if member is None:
            raise DatasetError(f"{self.path} holds no {name}", VERIFY)
        return member

    def named(self, name: str) -> LocalPath:  # noqa: ARG002 - the same file for all
        """Return the file to be named when a member is wrong: the zip."""
        return self._file

    def names(self) -> Iterator[str]:
        """Return the members' names."""
        return iter(self._members)

    def check(self, name: str, sha256: str) -> Iterator[Problem]:
        """Check a member's SHA-256."""
        member = self._members.get(name)
        if member is None:
            yield Problem(self.path.name, f"{name} is missing")
        elif file_sha256(self.path, member.offset, member.size)[0] != sha256:
            yield Problem(self.path.name, f"{name} is damaged: its SHA-256 is not the manifest's")

    def problems(self) -> Iterator[Problem]:
        """Check the members' headers, too, and that each shard has its length."""
        with files.open_stream(self._file) as stream:
            for member in self._members.values():
                expected = member.header(self._crcs[member.name])
                stream.seek(member.start)
                if stream.read(len(expected)) != expected:
                    yield Problem(self.path.name, f"the header of {member.name} is damaged")
        for shard in range(self.manifest.layout.shards):
            name = shard_name(self.recipe, shard)
            nbytes = shard_nbytes(self.recipe, self.manifest.layout, shard)
            found = self._members.get(name)
            if found is None or found.size != nbytes:
                yield Problem(self.path.name, f"{name} is missing or has another length")
        yield from super().problems()


def _read_directory(path: LocalPath) -> tuple[ZipLayout, list[zipfile.ZipInfo]]:
    """Read the central directory, and compare its every byte with what it must be."""
    try:
        with files.open_stream(path) as stream:
            nbytes = os.fstat(stream.fileno()).st_size
            with zipfile.ZipFile(stream) as archive:
                infos = archive.infolist()
            layout = ZipLayout([(info.filename, info.file_size) for info in infos])
            expected = layout.directory([info.CRC for info in infos])
            stream.seek(layout.directory_start)
            found = stream.read(min(len(expected) + 1, _MOST_DIRECTORY))
    except DatasetError:
        raise
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, struct.error) as error:
        # A place that is no place in the file comes as EINVAL.
        if isinstance(error, OSError) and not (is_damage(error) or error.errno == errno.EINVAL):
            raise unreadable(path, error) from error
        reason = " ".join(str(error).split())[:100]
        raise DatasetError(f"{path} can't be read as a zip: {reason}", UNPACK) from error
    if found != expected or nbytes != layout.size or len(set(archive.namelist())) < len(infos):
        raise DatasetError(f"{path} is not a zip as `gpgen package` writes it", UNPACK)
    return layout, infos
