"""The metadata documents of a Zarr v3 group, spelled out.

Written by hand and not by zarr-python, so that equal data has equal bytes
whichever version is installed. Specification:
https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

from __future__ import annotations

import json
from typing import Any

from gpgen.format.layout import Layout
from gpgen.format.manifest import SmallArray, image_array
from gpgen.labelled_images import LabelledImages

__all__ = [
    "BLOCK_ROWS",
    "block_name",
    "block_names",
    "block_number",
    "image_document",
    "number_after",
    "render",
    "root_document",
    "rows_a_block",
    "small_document",
]

BLOCK_ROWS = 2**20
_BYTES_CRC: list[dict[str, Any]] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]


def _array_document(
    array: SmallArray, chunk: tuple[int, ...], codecs: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 0.0 if array.dtype.kind == "f" else 0,
        "codecs": codecs,
        "attributes": array.attributes,
        "dimension_names": list(array.dimensions),
        "storage_transformers": [],
    }


def image_document(recipe: LabelledImages, layout: Layout) -> dict[str, Any]:
    """Return the metadata of the image array."""
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [layout.chunk_size, *recipe.shape],
            "codecs": _BYTES_CRC,
            "index_codecs": _BYTES_CRC,
            "index_location": "end",
        },
    }
    shard = (layout.shard_size, *recipe.shape)
    return _array_document(image_array(recipe, layout.n), shard, [sharding])


def small_document(array: SmallArray) -> dict[str, Any]:
    """Return the metadata of a small array."""
    chunk = (rows_a_block(array), *array.shape[1:])
    codecs = _BYTES_CRC if array.dtype.itemsize > 1 else [{"name": "bytes"}, _BYTES_CRC[1]]
    return _array_document(array, chunk, codecs)


def root_document(attributes: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of the group, with that of its arrays consolidated into it."""
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": members,
        },
    }


def render(document: dict[str, Any]) -> bytes:
    """Return a metadata document as it stands on the disk."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def rows_a_block(array: SmallArray) -> int:
    """Return how many rows stand in each file of a small array."""
    return min(array.shape[0], BLOCK_ROWS)


def block_name(array: SmallArray, block: int) -> str:
    """Return a file of a small array, relative to the dataset."""
    return f"{array.name}/c.{block}{'.0' * (len(array.shape) - 1)}"


def block_names(array: SmallArray) -> list[str]:
    """Return the files of a small array, each holding up to `BLOCK_ROWS` rows."""
    return [block_name(array, k) for k in range(-(-array.shape[0] // rows_a_block(array)))]


def block_number(array: SmallArray, name: str) -> int | None:
    """Return which block's file is called that, relative to the dataset; ``None`` if none's."""
    block = number_after(f"{array.name}/c.", name)
    there = block is not None and block * rows_a_block(array) < array.shape[0]
    return block if there and block_name(array, block or 0) == name else None


def number_after(beginning: str, name: str) -> int | None:
    """Return the digits up to the next dot after a name's beginning as a number.

    ``None`` if there are none, or more than any number of files has, which would take long to read.
    """
    number = name.removeprefix(beginning).partition(".")[0]
    if number == name or not (number.isascii() and number.isdecimal() and len(number) < 20):
        return None
    return int(number)
