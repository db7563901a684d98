"""NumPy's ``.npz``: arrays in a zip, written a few samples at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.dataset.samples import Samples
from gpgen.exporting.files import indices_at, new_stream
from gpgen.format.image_writing import batch_size

__all__ = ["MAGIC", "row_nbytes", "write"]

MAGIC = b"PK"

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_ROWS: Final = 2**16


def row_nbytes(samples: Samples) -> int:
    """Return about the bytes of a sample in a file."""
    return samples.recipe.image_nbytes + 64


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
    with new_stream(path) as stream, zipfile.ZipFile(stream, "w") as archive:

        def add(
            name: str,
            read: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]],
            rows: int = _ROWS,
            tell: Callable[[int], None] = lambda _: None,
        ) -> None:
            with _member(archive, name) as member:
                for k, positions in enumerate(_blocks(start, stop, rows)):
                    values = np.ascontiguousarray(read(positions))
                    if k == 0:
                        _header(member, values.dtype, (stop - start, *values.shape[1:]))
                    member.write(values.data.cast("B"))
                    tell(len(positions))

        add("image", samples.image.read, batch_size(samples.recipe), told)
        add("label", samples.label.read)
        add("length_scales", samples.length_scales.read)
        if hasattr(samples, "weights"):
            add("weights", samples.weights.read)
        if hasattr(samples, "seed"):
            add("seed", samples.seed.read)
        if with_split:
            add("split_code", samples.split_code.read)
        add("index", lambda positions: indices_at(samples, positions))
        for name, words in (("classes", samples.classes), ("splits", samples.splits)):
            with _member(archive, name) as member:
                np.lib.format.write_array(member, np.array(words), allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> Any:  # noqa: ANN401 - a file to write to
    """Return a member to be written; without the clock's time, the same bytes every time."""
    info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    info.external_attr = 0o100644 << 16
    return archive.open(info, "w", force_zip64=True)


def _header(member: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:  # noqa: ANN401
    content: Any = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, content)


def _blocks(start: int, stop: int, rows: int) -> Iterator[npt.NDArray[np.int64]]:
    for first in range(start, stop, rows):
        yield np.arange(first, min(first + rows, stop), dtype=np.int64)
