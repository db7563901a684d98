"""What is compared when a shard is taken over: every byte of it, and where it ends."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from store_tools import tiny, tiny_make

from gpgen.errors import DatasetError
from gpgen.format.comparing import compare
from gpgen.format.copying import stored_record
from gpgen.format.image_writing import never_stop
from gpgen.format.zarr_content import whole_shard_index


def in_parts(data: bytes, size: int) -> Generator[memoryview, None, None]:
    """Yield bytes as a file is read: each part in the place of the one before."""
    buffer = bytearray(size)
    for first in range(0, len(data), size):
        part = data[first : first + size]
        buffer[: len(part)] = part
        yield memoryview(buffer)[: len(part)]
    yield memoryview(buffer)[:0]


@pytest.mark.parametrize(
    ("out", "options"), [("d.zarr", {"chunk_size": 1}), ("d.zarr", {"chunk_size": 2}), ("d.h5", {})]
)
def test_every_byte_is_compared_and_that_there_is_no_other(tmp_path: Path, out, options) -> None:
    recipe = tiny(shape=[8, 6])
    with tiny_make(tmp_path / out, 9, recipe=recipe, **options) as dataset:
        reader = dataset.reader
        region, record = reader.region(1), stored_record(reader, 1)
        tail = whole_shard_index(recipe, dataset.manifest.layout) if options else b""
    data = bytearray(region.path.read_bytes()[region.offset :][: record.nbytes])
    assert len(data) == record.nbytes

    def compared(data: bytes, size: int = 2**12) -> None:
        compare(in_parts(data, size), reader, record, tail, never_stop)

    for size in (1, 7, recipe.image_nbytes, recipe.image_nbytes + 5, len(data)):
        compared(data, size)
    for position in range(len(data)):
        data[position] ^= 1
        with pytest.raises(DatasetError, match="shard 1 is damaged"):
            compared(data)
        data[position] ^= 1
    for length in range(len(data)):
        with pytest.raises(DatasetError, match="shard 1 is damaged"):
            compared(data[:length])
    with pytest.raises(DatasetError, match="shard 1 is damaged"):
        compared(data + b"\0")
