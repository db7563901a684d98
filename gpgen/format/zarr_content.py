"""What the files of a Zarr dataset hold, wherever they go; written directly.

A shard file is, by the sharding codec's specification
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/): the
inner chunks, each its little-endian bytes and their CRC-32C, then an index of
(offset, length) for every chunk and the index's own CRC-32C. Without
compression that is a few lines, streams in one batch of memory, and depends on
no other library's version.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpgen.format.image_writing import Stream, batches, crc32c
from gpgen.format.job import FinishedShards, Job, ShardRecord
from gpgen.format.layout import Layout
from gpgen.format.manifest import (
    SmallArray,
    checksum_arrays,
    derived_arrays,
    root_attributes,
    seal,
)
from gpgen.format.zarr_metadata import (
    block_names,
    image_document,
    number_after,
    render,
    root_document,
    rows_a_block,
    small_document,
)
from gpgen.labelled_images import LabelledImages

__all__ = [
    "CRC_BYTES",
    "ROOT",
    "array_documents",
    "chunk_nbytes",
    "dataset_nbytes",
    "members",
    "root_file",
    "shard_index",
    "shard_name",
    "shard_nbytes",
    "shard_number",
    "small_block",
    "whole_shard_index",
    "write_chunks",
    "write_shard_to",
]

CRC_BYTES = 4
ROOT = "zarr.json"


def dataset_nbytes(job: Job) -> int:
    """Return the exact bytes that the finished dataset takes."""
    layout, chunk = job.layout, job.layout.chunk_size or 1
    per_shard = layout.shard_size // chunk
    chunks = -(-layout.n // chunk)
    total = chunks * chunk_nbytes(job.recipe, layout)
    total += layout.shards * (16 * per_shard + CRC_BYTES)
    arrays = (*derived_arrays(job.recipe, layout.n), *checksum_arrays(layout))
    documents = array_documents(job.recipe, layout, arrays)
    total += sum(len(render(document)) for document in documents.values())
    names = [f"{name}/{ROOT}" for name in documents]
    root = _root_nbytes(job, documents, names)
    entry = _root_nbytes(job, documents, ["", *names]) - root
    for array in arrays:
        rows = rows_a_block(array)
        blocks = -(-array.shape[0] // rows)
        total += blocks * (rows * array.row_nbytes + CRC_BYTES)
        (first,) = block_names(dataclasses.replace(array, shape=(rows, *array.shape[1:])))
        root += blocks * (entry + len(first) - 1) + _digits_below(blocks)
    return total + root


def _root_nbytes(job: Job, documents: dict[str, Any], names: list[str]) -> int:
    """Return the length of the root's metadata when it lists these files."""
    attributes = root_attributes(job.recipe, job.layout, job.gpgen_version, job.roots)
    attributes["files"] = dict.fromkeys(names, "0" * 64)
    return len(render(root_document(seal(attributes), documents)))


def _digits_below(count: int) -> int:
    """Return how many digits the numbers from 0 to ``count - 1`` have together.

    A trillion samples have millions of blocks, too many to list each time somebody asks.
    """
    digits, least = count, 10
    while least < count:
        digits += count - least
        least *= 10
    return digits


def chunk_nbytes(recipe: LabelledImages, layout: Layout) -> int:
    """Return the length of a chunk in a shard's file."""
    nbytes: int = (layout.chunk_size or 1) * recipe.image_nbytes + CRC_BYTES
    return nbytes


def shard_nbytes(recipe: LabelledImages, layout: Layout, shard: int) -> int:
    """Return the length of a shard's file."""
    start, stop = layout.bounds(shard)
    chunk = layout.chunk_size or 1
    chunks = -(-(stop - start) // chunk)
    return chunks * chunk_nbytes(recipe, layout) + layout.shard_size // chunk * 16 + CRC_BYTES


def shard_name(recipe: LabelledImages, shard: int) -> str:
    """Return a shard's file, relative to the dataset."""
    return f"image/c.{shard}{'.0' * len(recipe.shape)}"


def shard_number(recipe: LabelledImages, name: str) -> int | None:
    """Return which shard's file is called that, relative to the dataset; ``None`` if none's."""
    number = number_after("image/c.", name)
    return number if number is not None and shard_name(recipe, number) == name else None


class Sink(Protocol):
    """What the bytes of a shard go into."""

    @property
    def offset(self) -> int:
        """Where the next byte goes."""
        ...

    def write(self, buffers: Sequence[Any]) -> None:
        """Take the bytes of arrays, which are overwritten afterwards."""
        ...


def write_shard_to(stream: Stream, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
    """Draw a shard, write it to a stream and finish that."""
    start, stop = job.layout.bounds(shard)
    crcs = np.empty(stop - start, "<u4")
    ends = write_chunks(stream, job, start, stop, crcs, check)
    stream.write([shard_index(job.layout, ends)])
    return ShardRecord(shard, stream.finish(), stream.nbytes, crcs.tobytes())


def shard_index(layout: Layout, ends: Sequence[int]) -> bytes:
    """Return what stands at a shard's end: the place of each chunk, and a checksum.

    Parameters
    ----------
    layout
        Says how many chunks a whole shard has.
    ends
        Where each chunk that there is ends.
    """
    index = np.full((layout.shard_size // (layout.chunk_size or 1), 2), 2**64 - 1, "<u8")
    index[: len(ends), 0] = [0, *ends[:-1]]
    index[: len(ends), 1] = np.diff([0, *ends])
    raw = index.tobytes()
    return raw + crc32c(raw).to_bytes(CRC_BYTES, "little")


def whole_shard_index(recipe: LabelledImages, layout: Layout) -> bytes:
    """Return what stands at the end of a shard that has all its chunks."""
    nbytes = chunk_nbytes(recipe, layout)
    chunks = layout.shard_size // (layout.chunk_size or 1)
    return shard_index(layout, range(nbytes, chunks * nbytes + 1, nbytes))


def members(job: Job, finished: FinishedShards) -> Iterator[tuple[str, bytes]]:
    """Yield each file beside the shards, by name: the small arrays, their metadata, the root's.

    The root's metadata, which makes it a dataset, comes last.
    """
    arrays = (*derived_arrays(job.recipe, job.layout.n), *finished.arrays())
    documents = array_documents(job.recipe, job.layout, arrays)
    hashes: dict[str, str] = {}
    for array in arrays:
        for block, name in enumerate(block_names(array)):
            data = small_block(array, block)
            hashes[name] = hashlib.sha256(data).hexdigest()
            yield name, data
    for name, document in documents.items():
        data = render(document)
        hashes[f"{name}/{ROOT}"] = hashlib.sha256(data).hexdigest()
        yield f"{name}/{ROOT}", data
    yield ROOT, root_file(job, documents, hashes)


def array_documents(
    recipe: LabelledImages, layout: Layout, arrays: Sequence[SmallArray]
) -> dict[str, Any]:
    """Return the metadata of the images and of small arrays, by name."""
    documents: dict[str, Any] = {"image": image_document(recipe, layout)}
    return documents | {array.name: small_document(array) for array in arrays}


def root_file(job: Job, documents: dict[str, Any], hashes: Mapping[str, str]) -> bytes:
    """Return the root's metadata, sealed.

    Parameters
    ----------
    job
        What is made.
    documents
        The arrays' metadata.
    hashes
        The SHA-256 of each file beside the shards, in the order in which `members` yields them.
    """
    attributes = root_attributes(job.recipe, job.layout, job.gpgen_version, job.roots)
    attributes["files"] = dict(hashes)
    return render(root_document(seal(attributes), documents))


def write_chunks(
    stream: Sink,
    job: Job,
    start: int,
    stop: int,
    crcs: NDArray[np.uint32],
    check: Callable[[], None],
    buffer: NDArray[Any] | None = None,
) -> list[int]:
    """Write the images from ``start`` to ``stop`` as chunks; return where each chunk ends.

    Parameters
    ----------
    stream
        What they are written to.
    job, start, stop, check, buffer
        As for `batches`.
    crcs
        Where the CRC-32C of each image is put.
    """
    chunk = job.layout.chunk_size or 1
    ends: list[int] = []
    running = 0
    for first, images in batches(job, start, stop, check, buffer):
        parts: list[Any] = []
        begun, size = 0, 0
        for k, image in enumerate(images):
            position = first + k - start
            crcs[position] = crc32c(image)
            running = crc32c(image, running) if chunk > 1 else int(crcs[position])
            if (position + 1) % chunk == 0:
                tail = running.to_bytes(4, "little")
                parts += [images[begun : k + 1], tail]
                size = sum(memoryview(part).nbytes for part in parts)
                ends.append(stream.offset + size)
                begun, running = k + 1, 0
        if begun < len(images):
            parts.append(images[begun:])
        stream.write(parts)
    missing = -(stop - start) % chunk
    if missing:
        # Zarr's chunks are whole: beyond the array's end they hold the fill value.
        blank = bytes(job.recipe.image_nbytes)
        for _ in range(missing):
            running = crc32c(blank, running)
            stream.write([blank])
        stream.write([running.to_bytes(4, "little")])
        ends.append(stream.offset)
    return ends


def small_block(array: SmallArray, block: int) -> bytes:
    """Return a block of a small array as a file: whole chunks, and their checksum."""
    rows = rows_a_block(array)
    start = block * rows
    stop = min(start + rows, array.shape[0])
    data = array.block(start, stop)
    data += bytes((rows - (stop - start)) * array.row_nbytes)
    return data + crc32c(data).to_bytes(4, "little")
