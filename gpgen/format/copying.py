"""A stored shard's bytes taken over, compared with its checksums before they count.

Where the file system lets two files share blocks, they do. A hard link would be one file under two
names, and its later damage that of both datasets. So a shard is linked only if its dataset is the
one that is replaced: it loses its first name when the new dataset gets its own, and until then
neither needs room for the other's bytes.

What is compared is what is kept, whatever becomes of the source meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from gpgen.format.base import Reader, Region
from gpgen.format.comparing import Parts, compare
from gpgen.format.image_writing import Check, new_pages
from gpgen.format.job import Job, ShardRecord
from gpgen.io import files
from gpgen.io.failures import reading
from gpgen.io.page_buffer import page_buffer
from gpgen.io.page_writing import PageWriter
from gpgen.io.reading_ahead import parts_of

__all__ = ["copy_shard_to", "stored_record", "take_shard_file"]

_READ_BYTES: Final = 2**22


def stored_record(source: Reader, shard: int) -> ShardRecord:
    """Return what a finished dataset's checksums say of a shard that is a file.

    Raises
    ------
    DatasetError
        If the checksums can't be read, or the file is missing.
    """
    region = source.region(shard)
    with reading(region.path):
        nbytes = region.path.size() if region.nbytes is None else region.nbytes
    sha256 = source.rows("shard_sha256", shard, shard + 1).tobytes()
    crcs = source.rows("crc32c", *source.manifest.layout.bounds(shard))
    return ShardRecord(shard, sha256, nbytes, crcs.tobytes())


def take_shard_file(
    job: Job, final: Path, source: Reader, shard: int, tail: bytes | None, check: Check
) -> ShardRecord:
    """Take a stored shard over as a file that appears as `final`, whole and on the disk.

    Parameters
    ----------
    job
        What is made; if it takes the source's place, the file is linked where that can be done.
    final
        The file.
    source, shard, tail, check
        As for `copy_shard_to`.

    Raises
    ------
    DatasetError, StorageError
        As `copy_shard_to`.
    """
    temporary = job.temporary.on_disk()
    if job.extends:
        record = _linked(temporary, final, source, shard, tail, check)
        if record is not None:
            return record
    with new_pages(temporary, final) as pages:
        return copy_shard_to(pages, 0, source, shard, tail, check)


def _linked(
    temporary: Path, final: Path, source: Reader, shard: int, tail: bytes | None, check: Check
) -> ShardRecord | None:
    """Link a shard's file; ``None`` if it is none of its own, or can't be linked."""
    region, record = source.region(shard), stored_record(source, shard)
    path = region.path.on_disk()
    if not region.whole_file or path.is_symlink():
        return None
    name = files.temporary_name(temporary, final.name)
    try:
        files.link(path, name)
    except OSError:  # not on this file system, or not another's file
        return None
    try:
        with reading(path):
            descriptor = files.open_existing(name)
        try:
            with reading(path):
                parts = parts_of(descriptor, 0, _most(region, record))
                compare(parts, source, record, tail, check)
            files.sync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        files.remove(name)
        raise
    files.rename(name, final)
    files.sync_folder(final.parent)
    return record


def _most(region: Region, record: ShardRecord) -> int:
    """Return how much to read: of a file one byte more than it should have, which tells."""
    return record.nbytes + region.whole_file


def copy_shard_to(
    pages: PageWriter, offset: int, source: Reader, shard: int, tail: bytes | None, check: Check
) -> ShardRecord:
    """Copy a stored shard to its place in a file, safely on the disk.

    Parameters
    ----------
    pages
        Writes the file, which is open for reading, too, and holds nothing else if the shard is a
        whole file.
    offset
        The place.
    source
        The dataset that has the shard.
    shard
        Its number.
    tail
        What stands behind its images; see `gpgen.format.comparing.compare`.
    check
        Called now and then; what it raises ends the copying.

    Returns
    -------
    ShardRecord
        The same as the source's.

    Raises
    ------
    DatasetError
        If the shard is missing, or its bytes aren't those that the source tells of.
    StorageError
        If the source can't be read.
    """
    region, record = source.region(shard), stored_record(source, shard)
    if _shared(region, pages.descriptor):
        parts = parts_of(pages.descriptor, 0, _most(region, record))
    else:
        parts = _written(_stored_parts(region, _most(region, record)), pages, offset)
    compare(parts, source, record, tail, check)
    pages.finish()
    return record


def _shared(region: Region, descriptor: int) -> bool:
    """Let an empty file share the blocks of one that is a shard; return whether it does."""
    if region.path.is_remote or not region.whole_file:
        return False
    with reading(region.path):
        source = files.open_existing(region.path.on_disk())
    try:
        return files.clone(source, descriptor)
    finally:
        os.close(source)


def _written(parts: Parts, pages: PageWriter, offset: int) -> Parts:
    """Write each part, then yield it: what is compared is what was written."""
    with contextlib.closing(parts):
        for part in parts:
            pages.write(part, offset)
            yield part
            offset += len(part)


def _stored_parts(region: Region, nbytes: int) -> Parts:
    """Yield what a region holds, each part overwritten by the next.

    Raises
    ------
    DatasetError, StorageError
        If it can't be read.
    """
    with reading(region.path):
        if region.path.is_remote:
            yield from _remote_parts(region, nbytes)
            return
        descriptor = files.open_existing(region.path.on_disk())
        try:
            yield from parts_of(descriptor, region.offset, nbytes)
        finally:
            os.close(descriptor)


def _remote_parts(region: Region, nbytes: int) -> Parts:
    buffer, done = memoryview(page_buffer(_READ_BYTES)), 0
    with contextlib.closing(region.path.opened()) as opened:
        while done < nbytes:
            part = buffer[: nbytes - done]
            got = opened.read_at(part, region.offset + done)
            done += got
            yield part[:got]
            if got < len(part):
                return
