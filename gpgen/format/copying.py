"""A stored shard's bytes taken over, their SHA-256 compared before they count.

The system copies them where it can, for then a file system may let both files share the blocks.
What is hashed is the copy: whatever becomes of the source meanwhile, what is kept is what was
compared. (A hard link would be one file under two names, and its damage both datasets'.)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

from gpgen.errors import DatasetError
from gpgen.format.base import Reader, Region
from gpgen.format.image_writing import Check, new_descriptor
from gpgen.format.job import ShardRecord
from gpgen.io import files
from gpgen.io.failures import VERIFY, reading

__all__ = ["copy_shard_to", "copy_shard_to_file", "damaged", "stored_record"]

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


def damaged(region: Region, shard: int) -> DatasetError:
    """Return the error that says of a shard that its SHA-256 is another."""
    return DatasetError(f"{region.path}: shard {shard} is damaged", VERIFY)


def copy_shard_to_file(
    temporary: Path, final: Path, source: Reader, shard: int, check: Check
) -> ShardRecord:
    """Copy a stored shard to a file that appears as ``final``, whole and on the disk.

    Raises
    ------
    DatasetError, StorageError
        As `copy_shard_to`.
    """
    with new_descriptor(temporary, final) as (descriptor, _):
        record = copy_shard_to(descriptor, source, shard, check)
        files.sync(descriptor)
    return record


def copy_shard_to(descriptor: int, source: Reader, shard: int, check: Check) -> ShardRecord:
    """Copy a stored shard into an empty file.

    Parameters
    ----------
    descriptor
        The file, open for reading and writing.
    source
        The dataset that has the shard.
    shard
        Its number.
    check
        Called now and then; what it raises ends the copying.

    Returns
    -------
    ShardRecord
        The same as the source's.

    Raises
    ------
    DatasetError
        If the shard is missing, or its SHA-256 isn't what the source says.
    StorageError
        If the source can't be read.
    """
    region, record = source.region(shard), stored_record(source, shard)
    _copy(region, record.nbytes, descriptor, check)
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_READ_BYTES))
    for offset in range(0, record.nbytes, _READ_BYTES):
        check()
        part = buffer[: min(_READ_BYTES, record.nbytes - offset)]
        digest.update(part[: files.read_at(descriptor, part, offset)])
    if digest.digest() != record.sha256:
        raise damaged(region, shard)
    return record


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
