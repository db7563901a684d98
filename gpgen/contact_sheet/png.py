"""A contact sheet as a grey PNG, and its tiles, drawn with Pillow.

The PNG is part of a deposit, whose bytes are the same everywhere. So limits are found by rank, the
font is Pillow's bitmap font, and nothing is compressed: a compressor's output changes with its
version.
"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Final
from zlib import adler32

import numpy as np
import numpy.typing as npt

from gpgen.contact_sheet.content import SIDE, ContactSheet
from gpgen.errors import MissingPackageError
from gpgen.figures import texture_palette
from gpgen.io.png import grey_png

try:
    import PIL.Image
    from PIL import ImageDraw, ImageFont
    from PIL.Image import Image
except ImportError as error:  # pragma: no cover - the tests have it
    raise MissingPackageError(
        "contact sheets need Pillow, which isn't installed",
        "install it with `pip install 'gpgen[publish]'`",
    ) from error

__all__ = ["data_uri", "sheet_png", "tiles"]

Array = npt.NDArray[np.float64]

_SHARE: Final = 0.002
"""Of the pixels, at either end of the grey scale, that are clipped."""

_GAP: Final = 6
_SMALLEST: Final = 64
"""Pixels: smaller images are enlarged to about this side."""

_STORED_BLOCK: Final = 65535


def tiles(
    rows: Sequence[Sequence[Array]], *, side: int = SIDE, coloured: bool = False
) -> list[list[Image]]:
    """Return `reduced` images as Pillow's, on one scale of grey; lines as curves in a frame.

    Parameters
    ----------
    rows
        Images, or lines.
    side
        Pixels of a curve's width.
    coloured
        In the colours of all textures, 0 in the middle, instead of grey.
    """
    # Limits by rank, not by moments: the same on every machine whatever sums do.
    values = np.sort(np.concatenate([image.ravel() for row in rows for image in row]))
    lines = rows[0][0].ndim == 1
    share = 0 if lines else _SHARE
    low, high = (float(values[int(q * (len(values) - 1))]) for q in (share, 1 - share))
    if coloured and not lines:
        high = max(abs(low), abs(high))
        low = -high
    palette = texture_palette() if coloured else None

    def tile(image: Array) -> Image:
        with np.errstate(over="ignore"):  # of values far outside a tiny scale
            level = np.clip((image - low) / (high - low or 1.0), 0, 1)
        if lines:
            return _curve(level, side)
        picture = PIL.Image.fromarray((255 * level).astype(np.uint8))
        if palette:
            picture.putpalette(palette)
        return picture

    return [[tile(image) for image in row] for row in rows]


def data_uri(tile: Image) -> str:
    """Return a picture as a PNG within an address."""
    stream = io.BytesIO()
    tile.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def sheet_png(sheet: ContactSheet, *, note: str = "") -> bytes:
    """Return a PNG, the same bytes everywhere: a row for each class, its name beside it.

    Parameters
    ----------
    sheet
        What it shows.
    note
        What to write below.
    """
    font = ImageFont.load_default_imagefont()

    def text(words: str) -> Image:
        label = PIL.Image.new("L", font.getbbox(words)[2:], 255)
        ImageDraw.Draw(label).text((0, 0), words, fill=0, font=font)
        return label.resize((2 * label.width, 2 * label.height), PIL.Image.Resampling.NEAREST)

    def enlarged(tile: Image) -> Image:
        factor = max(1, _SMALLEST // max(tile.size))
        return tile.resize(
            (factor * tile.width, factor * tile.height), PIL.Image.Resampling.NEAREST
        )

    pictures = [[enlarged(tile) for tile in row] for row in tiles(sheet.rows)]
    labels = [text(f"{name} px") for name in sheet.names]
    note = "; ".join(filter(None, (note, sheet.omission)))
    below = text(note) if note else PIL.Image.new("L", (0, 0))
    left = max(label.width for label in labels) + 2 * _GAP
    width = max(tile.width for row in pictures for tile in row) + _GAP
    height = max(part.height for part in (*labels, *chain(*pictures))) + _GAP
    canvas = PIL.Image.new(
        "L",
        (
            max(left + width * max(map(len, pictures)), below.width + 2 * _GAP),
            _GAP + height * len(pictures) + (below.height + _GAP if note else 0),
        ),
        255,
    )
    for row, (label, images) in enumerate(zip(labels, pictures, strict=True)):
        top = _GAP + row * height
        canvas.paste(label, (_GAP, top + (height - _GAP - label.height) // 2))
        for column, tile in enumerate(images):
            canvas.paste(tile, (left + column * width, top))
    canvas.paste(below, (_GAP, canvas.height - below.height - _GAP))
    return grey_png(np.asarray(canvas), _stored)


def _curve(level: Array, side: int) -> Image:
    """Draw values from 0 to 1 as a curve in a frame."""
    image = PIL.Image.new("L", (side, side // 3), 255)
    width, height = image.width - 1, image.height - 1
    ImageDraw.Draw(image).rectangle((0, 0, width, height), outline=192)
    x = (np.arange(len(level)) * width // (len(level) - 1)).tolist()
    y = np.rint(2 + (1 - level) * (height - 4)).astype(int).tolist()
    ImageDraw.Draw(image).line(list(zip(x, y, strict=True)), fill=0)
    return image


def _stored(raw: bytes) -> bytes:
    """Return bytes as a zlib stream without compression (RFC 1950)."""
    data = b"\x78\x01"
    for start in range(0, len(raw), _STORED_BLOCK):
        part = raw[start : start + _STORED_BLOCK]
        last = start + _STORED_BLOCK >= len(raw)
        data += struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF) + part
    return data + struct.pack(">I", adler32(raw))
