"""A stored shard's bytes taken over, compared with its checksums before they count.

The system copies them where it can, for then a file system may let both files share the blocks.
A hard link would be one file under two names, and its later damage that of both datasets. So a
shard is linked only if its dataset is the one that is replaced: it loses its first name when the
new dataset gets its own, and until then neither needs room for the other's bytes.

What is compared is what is kept, whatever becomes of the source meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

from gpgen.format.base import Reader, Region
from gpgen.format.comparing import compare
from gpgen.format.image_writing import Check, new_descriptor
from gpgen.format.job import Job, ShardRecord
from gpgen.io import files
from gpgen.io.failures import reading
from gpgen.io.reading_ahead import parts_of

__all__ = ["copy_shard_to", "stored_parts", "stored_record", "take_shard_file"]

_COPIED_TOGETHER: Final = 2**26
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
    with new_descriptor(temporary, final) as (descriptor, _):
        record = copy_shard_to(descriptor, source, shard, tail, check)
        files.sync(descriptor)
    return record


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
    descriptor: int, source: Reader, shard: int, tail: bytes | None, check: Check
) -> ShardRecord:
    """Copy a stored shard into an empty file.

    Parameters
    ----------
    descriptor
        The file, open for reading and writing.
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
    _copy(region, _most(region, record), descriptor, check)
    parts = parts_of(descriptor, 0, _most(region, record), cached=True)
    compare(parts, source, record, tail, check)
    return record


def stored_parts(region: Region, nbytes: int) -> Generator[memoryview, None, None]:
    """Yield what a region of a file on this machine holds, each part overwritten by the next.

    Raises
    ------
    DatasetError, StorageError
        If it can't be read.
    """
    with reading(region.path):
        descriptor = files.open_existing(region.path.on_disk())
        try:
            yield from parts_of(descriptor, region.offset, nbytes)
        finally:
            os.close(descriptor)


def _copy(region: Region, nbytes: int, descriptor: int, check: Check) -> None:
    """Copy a region to the front of a file, as far as there is anything."""
    done = 0 if region.path.is_remote else _copied_by_the_system(region, nbytes, descriptor, check)
    buffer = memoryview(bytearray(_READ_BYTES if done < nbytes else 0))
    with reading(region.path):
        opened = region.path.opened()
    with contextlib.closing(opened):
        while done < nbytes:
            check()
            part = buffer[: nbytes - done]
            with reading(region.path):
                got = opened.read_at(part, region.offset + done)
            files.write_at(descriptor, part[:got], done)
            done += got
            if got < len(part):
                return


def _copied_by_the_system(region: Region, nbytes: int, descriptor: int, check: Check) -> int:
    """Let the system copy as much as it will; return how much that was."""
    if not hasattr(os, "copy_file_range"):
        return 0
    done = 0
    # Some file systems can't: what else may be wrong, reading and writing it will tell.
    with contextlib.suppress(OSError):
        source = files.open_existing(region.path.on_disk())
        try:
            while done < nbytes:
                check()
                most = min(_COPIED_TOGETHER, nbytes - done)
                got = files.copy_range(source, region.offset + done, most, descriptor, done)
                if got == 0:
                    break
                done += got
        finally:
            os.close(source)
    return done
