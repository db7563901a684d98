"""A Zarr folder as one zip: stored, zarr.json first, the same bytes for the same dataset.

Zarr's own ZipStore opens it as it is. Each file is read once from the disk and checked
against the manifest, which gives its CRC-32 for the zip's header too; then it is copied, out
of the page cache, while the next one is being checked.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpgen.errors import DatasetError
from gpgen.format.base import Reader
from gpgen.io.failures import reading
from gpgen.io.zip_writing import ZipLayout, ZipMember
from gpgen.publish.part_writer import BLOCK, Part, PartWriter
from gpgen.publish.sources import VERIFY, copy_whole

__all__ = ["pack_zarr"]


def pack_zarr(
    reader: Reader, folder: Path, name: str, limit: int, progress: Callable[[int], None]
) -> list[Part]:
    """Write a Zarr dataset as a zip.

    Parameters
    ----------
    reader
        The dataset.
    folder, name
        Where to write.
    limit
        Bytes a part.
    progress
        Called with the bytes of each piece that is done.

    Raises
    ------
    DatasetError
        If a file is missing or isn't what the manifest says.
    """
    expected = dict(_files(reader))
    root = reader.path.on_disk()
    sizes = [(file, _size(root / file)) for file in expected]
    layout = ZipLayout(sizes)
    crcs: list[int] = []
    with (
        PartWriter(folder, name, layout.size, limit) as writer,
        ThreadPoolExecutor(1) as ahead,
    ):
        members = layout.members
        following = ahead.submit(_check, root, members[0], expected)
        for member, after in zip(members, [*members[1:], None], strict=True):
            crc = following.result()
            if after is not None:
                following = ahead.submit(_check, root, after, expected)
            crcs.append(crc)
            writer.write(member.header(crc))
            copy_whole(root / member.name, member.size, writer, progress)
        writer.write(layout.directory(crcs))
        return writer.finish()


def _files(reader: Reader) -> Iterator[tuple[str, str | None]]:
    """Yield each file and its SHA-256, the root's metadata first and the shards last."""
    # The root's metadata is what all hashes come from: it carries its own.
    yield "zarr.json", None
    listed = reader.manifest.files
    documents = sorted(file for file in listed if file.endswith("zarr.json"))
    yield from ((file, listed[file]) for file in documents)
    blocks = (file for file in listed if not file.endswith("zarr.json"))
    for file in sorted(blocks, key=_natural):
        yield file, listed[file]
    hashes = reader.rows("shard_sha256", 0, reader.manifest.layout.shards)
    for shard, digest in enumerate(hashes):
        path = reader.region(shard).path.on_disk()
        yield path.relative_to(reader.path.on_disk()).as_posix(), digest.tobytes().hex()


def _natural(file: str) -> tuple[str, list[int]]:
    array, _, key = file.partition("/c.")
    return array, [int(part) for part in key.split(".") if part.isdecimal()]


def _size(path: Path) -> int:
    with reading(path):
        return path.stat().st_size


def _check(folder: Path, member: ZipMember, expected: dict[str, str | None]) -> int:
    """Return a file's CRC-32 if its SHA-256 is the expected one."""
    path, sha256 = folder / member.name, expected[member.name]
    digest, crc, total = hashlib.sha256(), 0, 0
    with reading(path), path.open("rb", buffering=0) as stream:
        buffer = memoryview(bytearray(BLOCK))
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
            crc = zlib.crc32(buffer[:count], crc)
            total += count
    if total != member.size or (sha256 is not None and digest.hexdigest() != sha256):
        raise DatasetError(f"{path} is damaged: its SHA-256 is not the manifest's", VERIFY)
    return crc
