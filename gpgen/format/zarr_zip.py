"""A Zarr dataset in one zip, read where it lies: as `gpgen package` writes it, or by others' tools.

The members are stored without compression, so that each is a range of the file. In a zip of
gpgen's, their order, their headers and the directory follow from names, sizes and CRC-32s alone,
and every byte that is no member's is compared with what it must be. Other tools write times and
attributes of their own, and may put all into one folder: there the headers are compared with the
directory.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpgen.errors import DatasetError
from gpgen.format.base import Problem
from gpgen.format.manifest import VERIFY
from gpgen.format.pixels import file_sha256
from gpgen.format.zarr_content import shard_name, shard_nbytes
from gpgen.format.zarr_reader import ZarrReader
from gpgen.io import files
from gpgen.io.local_path import LocalPath
from gpgen.io.zip_reading import Member, folder_in, read_members

__all__ = ["ZippedZarrReader"]


class ZippedZarrReader(ZarrReader):
    """A finished Zarr group in a zip."""

    def __init__(self, path: LocalPath) -> None:
        self._file = path
        self._members = read_members(path)
        self.folder = folder_in(self._members)
        """The folder within the zip that holds the dataset, with its slash; mostly none."""
        super().__init__(path)

    def document(self, name: str) -> bytes:
        """Return what is in a member."""
        member = self._member(name)
        with files.open_stream(self._file) as stream:
            stream.seek(member.offset)
            return stream.read(min(member.size, files.MOST_METADATA))

    def span(self, name: str) -> tuple[LocalPath, int]:
        """Return the file in which a member lies, and where it begins."""
        return self._file, self._member(name).offset

    def _member(self, name: str) -> Member:
        member = self._members.get(self.folder + name)
        if member is None:
            raise DatasetError(f"{self.path} holds no {name}", VERIFY)
        return member

    def named(self, name: str) -> LocalPath:  # noqa: ARG002 - the same file for all
        """Return the file to be named when a member is wrong: the zip."""
        return self._file

    def names(self) -> Iterator[str]:
        """Return the members' names."""
        return (name.removeprefix(self.folder) for name in self._members)

    def check(self, name: str, sha256: str) -> Iterator[Problem]:
        """Check a member's SHA-256."""
        member = self._members.get(self.folder + name)
        if member is None:
            yield Problem(self.path.name, f"{name} is missing")
        elif file_sha256(self.path, member.offset, member.size)[0] != sha256:
            yield Problem(self.path.name, f"{name} is damaged: its SHA-256 is not the manifest's")

    def problems(self) -> Iterator[Problem]:
        """Check the members' headers, too, and that each shard has its length."""
        with files.open_stream(self._file) as stream:
            for name, member in self._members.items():
                if not member.agrees(stream):
                    yield Problem(self.path.name, f"the header of {name} is damaged")
        for shard in range(self.manifest.layout.shards):
            name = shard_name(self.recipe, shard)
            nbytes = shard_nbytes(self.recipe, self.manifest.layout, shard)
            found = self._members.get(self.folder + name)
            if found is None or found.size != nbytes:
                yield Problem(self.path.name, f"{name} is missing or has another length")
        yield from super().problems()
