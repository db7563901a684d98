"""Grey PNG files, of 8 or 16 bits a pixel (https://www.w3.org/TR/png/)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from zlib import crc32

import numpy as np
import numpy.typing as npt

__all__ = ["grey_png"]

_NONE, _UP = 0, 2


def grey_png(
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    compress: Callable[[bytes], bytes],
    *,
    differences: bool = False,
) -> bytes:
    """Return pixels as a PNG file.

    Parameters
    ----------
    pixels
        Shape (height, width); uint8 or uint16.
    compress
        Returns bytes as a zlib stream (RFC 1950).
    differences
        Whether each line is stored as its differences from the line above (PNG's filter "up"),
        which makes smooth images smaller once they are compressed.
    """
    height, width = pixels.shape
    nbytes = pixels.dtype.itemsize
    big = pixels.astype(f">u{nbytes}", copy=False)
    raw = np.ascontiguousarray(big).view(np.uint8).reshape(height, width * nbytes)
    lines = np.empty((height, 1 + width * nbytes), np.uint8)
    lines[:, 0] = _UP if differences else _NONE
    lines[:, 1:] = raw
    if differences:
        lines[1:, 1:] -= raw[:-1]
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, 8 * nbytes, 0, 0, 0, 0)),
        (b"IDAT", compress(lines.tobytes())),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc32(kind + content))
        for kind, content in chunks
    )
