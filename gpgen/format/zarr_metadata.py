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
    "block_names",
    "image_document",
    "render",
    "root_document",
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
    chunk = (min(array.shape[0], BLOCK_ROWS), *array.shape[1:])
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


def block_names(array: SmallArray) -> list[str]:
    """Return the files of a small array, each holding up to `BLOCK_ROWS` rows."""
    rest = ".0" * (len(array.shape) - 1)
    return [f"{array.name}/c.{k}{rest}" for k in range(-(-array.shape[0] // BLOCK_ROWS))]
