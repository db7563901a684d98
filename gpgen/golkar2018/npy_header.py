"""The header of ``.npy`` files: written the same by every NumPy, read without trust."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpgen.errors import DatasetError

__all__ = ["HEADER_BYTES", "MAX_SIDE", "NpyHeader", "npy_header", "parse_npy_header"]

HEADER_BYTES: Final = 128
"""Length of the headers written here; data begin at a multiple of 64, as NumPy wants."""

MAX_SIDE: Final = 16384

_MAGIC: Final = b"\x93NUMPY\x01\x00"
_FIELDS: Final = re.compile(
    rb"\{'descr': '([<>]f[48])', 'fortran_order': (False|True), "
    rb"'shape': \((\d{1,6}), (\d{1,6})\), \} *\n"
)


@dataclass(frozen=True)
class NpyHeader:
    """What precedes the numbers.

    Attributes
    ----------
    dtype
        float32 or float64, of either byte order.
    fortran_order
        Whether the first axis varies fastest.
    shape
        (y, x) in pixels.
    offset
        Where the numbers begin, in bytes.
    """

    dtype: np.dtype[np.float32] | np.dtype[np.float64]
    fortran_order: bool
    shape: tuple[int, int]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of all the numbers."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


def npy_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    """Return the header of an array in C order, of float64 or of another type."""
    fields = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    length = HEADER_BYTES - len(_MAGIC) - 2
    return _MAGIC + struct.pack("<H", length) + fields.ljust(length - 1).encode() + b"\n"


def parse_npy_header(data: bytes, name: str) -> NpyHeader:
    """Read a header of format 1.0 for a two-dimensional array of floating-point numbers.

    Parameters
    ----------
    data
        The beginning of the file, at least the header.
    name
        What to call the file in errors.

    Raises
    ------
    DatasetError
        For any other array, object arrays among them; nothing is unpickled or evaluated.
    """
    hint = "save it with numpy.save as a 2-D float64 array"
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + 2:
        raise DatasetError(f"{name} isn't a .npy file of format 1.0", hint)
    start = len(_MAGIC) + 2
    (length,) = struct.unpack_from("<H", data, len(_MAGIC))
    fields = _FIELDS.fullmatch(data[start : start + length])
    if fields is None:
        raise DatasetError(f"{name} isn't a 2-D array of float32 or float64", hint)
    shape = int(fields[3]), int(fields[4])
    if not all(1 <= side <= MAX_SIDE for side in shape):
        raise DatasetError(f"{name} has {shape[0]} x {shape[1]} pixels", hint)
    dtype = np.dtype(fields[1].decode())
    return NpyHeader(dtype, fields[2] == b"True", shape, start + length)
