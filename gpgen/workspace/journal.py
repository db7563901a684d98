"""The journal: one line for each finished shard, safely on disk before it counts.

A line may be torn by a crash, and carries a checksum of its own; reading stops
at the first line that is not whole, and what came after is made again. In
memory a shard costs nine bytes, whatever its line holds, so that a million
shards are no burden.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import os
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpgen.format.job import Job, ShardRecord
from gpgen.format.layout import Layout
from gpgen.format.manifest import SmallArray, checksum_arrays
from gpgen.format.stream import crc32c
from gpgen.io import files

__all__ = ["Journal", "count_finished", "line_of"]


def line_of(record: ShardRecord) -> bytes:
    """Return the line of a finished shard."""
    content = {
        "shard": record.shard,
        "sha256": record.sha256.hex(),
        "nbytes": record.nbytes,
        "crc32c": base64.b64encode(record.crc32c).decode(),
    }
    content["check"] = f"{crc32c(json.dumps(content).encode()):08x}"
    return json.dumps(content).encode() + b"\n"


def _parse(line: bytes, layout: Layout) -> ShardRecord | None:
    """Return the record of a line, or ``None`` if it is not one of this layout's."""
    try:
        content: Any = json.loads(line)
        shard, nbytes = content["shard"], content["nbytes"]
        sha256 = bytes.fromhex(content["sha256"])
        crcs = base64.b64decode(content["crc32c"], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        return None
    if type(shard) is not int or type(nbytes) is not int or not 0 <= shard < layout.shards:
        return None
    start, stop = layout.bounds(shard)
    if len(sha256) != 32 or len(crcs) != 4 * (stop - start):
        return None
    record = ShardRecord(shard, sha256, nbytes, crcs)
    return record if line_of(record) == line.rstrip(b"\n") + b"\n" else None


class Journal:
    """The journal of a job, open for adding; its owner holds the target's lock.

    Parameters
    ----------
    job
        The job whose shards it lists.
    path
        Its file, if it isn't the one in the job's working folder.
    """

    def __init__(self, job: Job, path: Path | None = None) -> None:
        path = path or job.working.on_disk() / "journal.jsonl"
        self._layout = job.layout
        self._positions = array("q", bytes(8 * job.layout.shards))
        self._done = bytearray(job.layout.shards)
        self._count = 0
        self._descriptor = files.open_or_create(path)
        self._end = 0
        with open(os.dup(self._descriptor), "rb") as lines:  # noqa: PTH123 - a descriptor
            for line in lines:
                record = _parse(line, self._layout) if line.endswith(b"\n") else None
                if record is None:
                    break
                self._note(record.shard, line)
        files.truncate(self._descriptor, self._end)

    def _note(self, shard: int, line: bytes) -> None:
        self._positions[shard] = self._end
        self._count += not self._done[shard]
        self._done[shard] = 1
        self._end += len(line)

    @property
    def finished(self) -> int:
        """Number of finished shards."""
        return self._count

    def is_finished(self, shard: int) -> bool:
        """Return whether the journal lists a shard."""
        return bool(self._done[shard])

    def lists(self, number: int) -> bool:
        """Return whether a number, perhaps no shard's, is that of a finished shard."""
        return number < len(self._done) and self.is_finished(number)

    def forget(self, shard: int) -> None:
        """Take a shard for unfinished, because its data is gone."""
        self._count -= self._done[shard]
        self._done[shard] = 0

    def add(self, records: Iterable[ShardRecord]) -> None:
        """Add finished shards and wait until they are on the disk."""
        lines = [(record.shard, line_of(record)) for record in records]
        files.write_at(self._descriptor, b"".join(line for _, line in lines), self._end)
        files.sync(self._descriptor)
        for shard, line in lines:
            self._note(shard, line)

    def record(self, shard: int) -> ShardRecord:
        """Return what is known of a finished shard, read from the file."""
        position, parts = self._positions[shard], []
        while True:
            part = os.pread(self._descriptor, 2**16, position)
            head, newline, _ = part.partition(b"\n")
            parts.append(head)
            position += len(part)
            if newline or not part:
                break
        record = _parse(b"".join(parts), self._layout)
        if record is None or record.shard != shard:
            raise OSError(f"the journal's line of shard {shard} changed while it was in use")
        return record

    def crc32c(self, start: int, stop: int) -> NDArray[np.uint32]:
        """Return the CRC-32C of the samples from ``start`` to ``stop``."""
        size = self._layout.shard_size
        parts = []
        for shard in range(start // size, -(-stop // size)):
            first, _ = self._layout.bounds(shard)
            values = np.frombuffer(self.record(shard).crc32c, "<u4")
            parts.append(values[max(start - first, 0) : stop - first])
        return np.concatenate(parts)

    def sha256(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the SHA-256 of the shards from ``start`` to ``stop``, one a row."""
        digests = b"".join(self.record(shard).sha256 for shard in range(start, stop))
        return np.frombuffer(digests, np.uint8).reshape(-1, 32)

    def arrays(self) -> tuple[SmallArray, SmallArray]:
        """Return the dataset's arrays crc32c and shard_sha256."""
        crc, sha = checksum_arrays(self._layout)
        return (
            dataclasses.replace(crc, rows=self.crc32c),
            dataclasses.replace(sha, rows=self.sha256),
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def count_finished(lines: Iterable[bytes], layout: Layout) -> int:
    """Return how many shards the lines of a journal list."""
    shards = set()
    for line in lines:
        record = _parse(line, layout) if line.endswith(b"\n") else None
        if record is None:
            break
        shards.add(record.shard)
    return len(shards)
