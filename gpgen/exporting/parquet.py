"""Parquet files that Hugging Face's ``datasets`` opens with typed features.

The image is a list of lists of numbers; the field's metadata names the extension type that
``datasets`` registers for it, and the schema's entry ``huggingface`` holds the other features, as
``Dataset.to_parquet`` of that package writes both. Programs that know neither read plain lists.
Nothing is compressed: noise-like pixels don't get smaller by it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.dataset.samples import Samples
from gpgen.errors import MissingPackageError
from gpgen.exporting.files import indices_at, new_stream

try:
    import pyarrow as pa
    from pyarrow import parquet as pq
except ImportError as error:  # pragma: no cover - the tests have it
    raise MissingPackageError(
        "Parquet files need pyarrow, which isn't installed",
        "install it with `pip install 'gpgen[parquet]'`",
    ) from error

__all__ = ["MAGIC", "row_nbytes", "write"]

MAGIC = b"PAR1"

_GROUP_BYTES: Final = 100_000_000
"""Of a row group with all that is held in memory while it is written."""

_LEVELS: Final = 4
"""Bytes in memory beside each pixel: its two levels, by which Parquet knows where lists end."""


def row_nbytes(samples: Samples) -> int:
    """Return about the bytes of a sample in a file."""
    return samples.recipe.image_nbytes + 8 * (4 + 2 * math.prod(samples.length_scales.shape[1:]))


def write(
    path: Path,
    samples: Samples,
    start: int,
    stop: int,
    *,
    with_split: bool,
    told: Callable[[int], None],
) -> None:
    """Write a file (`gpgen.exporting.in_files.Writer`)."""
    schema = _schema(samples, with_split=with_split)
    pixels = samples.recipe.image_nbytes // samples.recipe.numpy_dtype.itemsize
    rows = max(1, _GROUP_BYTES // (row_nbytes(samples) + _LEVELS * pixels))
    columns = [name for name in schema.names if name != "image"]
    with (
        new_stream(path) as stream,
        pq.ParquetWriter(
            stream,
            schema,
            compression="NONE",
            use_dictionary=False,
            write_statistics=columns,
            write_page_checksum=True,
        ) as writer,
    ):
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            content = dict(_columns(samples, first, last, with_split=with_split))
            arrays = [content[name] for name in schema.names]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=rows)
            told(last - first)


def _columns(
    samples: Samples, start: int, stop: int, *, with_split: bool
) -> Iterator[tuple[str, Any]]:
    positions = np.arange(start, stop, dtype=np.int64)
    yield "image", _lists(samples.image.read(positions))
    yield "label", pa.array(samples.label.read(positions))
    yield "length_scales", _lists(samples.length_scales.read(positions))
    if hasattr(samples, "weights"):
        yield "weights", _lists(samples.weights.read(positions))
    if hasattr(samples, "seed"):
        yield "seed", pa.array(samples.seed.read(positions))
    if with_split:
        yield "split", pa.array(samples.split_code.read(positions).astype(np.int64))
    yield "index", pa.array(indices_at(samples, positions))


def _lists(array: npt.NDArray[Any]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return an array as lists, one level for each axis after the first; nothing is copied."""
    found = pa.array(array.reshape(-1))
    for size in reversed(array.shape[1:]):
        found = pa.ListArray.from_arrays(np.arange(0, len(found) + 1, size, dtype=np.int32), found)
    return found


def _schema(samples: Samples, *, with_split: bool) -> Any:  # noqa: ANN401 - pyarrow has no types
    shape, dtype = samples.recipe.shape, samples.recipe.numpy_dtype.name
    image = pa.from_numpy_dtype(dtype)
    for _ in shape:
        image = pa.list_(image)
    scales, feature = pa.float64(), _value("float64")
    for _ in range(samples.length_scales.ndim - 1):
        scales, feature = pa.list_(scales), _sequence(feature)
    fields = [pa.field("image", image, metadata=_extension(shape, dtype))]
    features = {"image": _image(shape, dtype)}

    def add(name: str, kind: Any, described: dict[str, Any]) -> None:  # noqa: ANN401
        fields.append(pa.field(name, kind))
        features[name] = described

    add("label", pa.int64(), {"names": list(samples.classes), "_type": "ClassLabel"})
    add("length_scales", scales, feature)
    if hasattr(samples, "weights"):
        add("weights", pa.list_(pa.float64()), _sequence(_value("float64")))
    if hasattr(samples, "seed"):
        add("seed", pa.uint64(), _value("uint64"))
    if with_split:
        add("split", pa.int64(), {"names": list(samples.splits), "_type": "ClassLabel"})
    add("index", pa.int64(), _value("int64"))
    about = {
        "gpgen_version": samples.manifest.gpgen_version,
        "recipe": samples.recipe.to_dict(),
        "recipe_sha256": samples.manifest.recipe_sha256,
    }
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "gpgen": json.dumps(about),
    }
    return pa.schema(fields, metadata=metadata)


def _extension(shape: tuple[int, ...], dtype: str) -> dict[str, str] | None:
    if len(shape) == 1:
        return None
    kind = f"datasets.features.features.Array{len(shape)}DExtensionType"
    return {
        "ARROW:extension:name": kind,
        "ARROW:extension:metadata": json.dumps([list(shape), dtype]),
    }


def _image(shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    if len(shape) == 1:
        return _sequence(_value(dtype))
    return {"shape": list(shape), "dtype": dtype, "_type": f"Array{len(shape)}D"}


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _sequence(feature: dict[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "Sequence"}
