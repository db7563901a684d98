"""A contact sheet as a PNG that is the same bytes everywhere: no font, library or codec in it.

A row for each class, its name beside it. Eight-bit grey, stored without compression, since a
compressor's output changes with its version. Format: https://www.w3.org/TR/png/.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for, seeds

__all__ = ["MOST_ROWS", "TILES_A_ROW", "contact_sheet", "encode_png", "sheet"]

Pixels = npt.NDArray[np.uint8]

_TILE: Final = 192
"""Pixels, at most, along a side."""
TILES_A_ROW: Final = 4
MOST_ROWS: Final = 8
_GAP: Final = 6
_STORED_BLOCK: Final = 65535

_GLYPHS: Final = {
    "0": "0e11191513110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808",
    "8": "0e11110e11110e", "9": "0e11110f01020c", "-": "0000001f000000", ".": "00000000000c0c",
    "x": "0000110a040a11", "e": "00000e111f100e", "+": "0004041f040400",
}  # fmt: skip
"""Five by seven dots: a byte a line, from the top."""


def contact_sheet(
    recipe: Recipe, n: int, image_of: Callable[[int], npt.NDArray[Any]] | None = None
) -> bytes:
    """Return a PNG of the first samples of each class, scaled alike.

    Parameters
    ----------
    recipe
        What is shown. Of three-dimensional images it is the middle plane.
    n
        Samples in the dataset; no others are shown.
    image_of
        Gives the image of an index; by default it is drawn.
    """
    image_of = image_of or partial(_draw, recipe)
    classes = recipe.classes
    rows = [
        [image_of(index) for index in range(label, n, len(classes))[:TILES_A_ROW]]
        for label in range(min(len(classes), MOST_ROWS))
    ]
    return sheet(classes, rows)


def sheet(names: Sequence[str], rows: Sequence[Sequence[npt.NDArray[Any]]]) -> bytes:
    """Return a PNG of images in rows, each row's name beside it; the first rows, if many.

    Parameters
    ----------
    names
        Length-scales.
    rows
        Images.
    """
    tiles = [[_finite(_tile(image)) for image in row] for row in rows[:MOST_ROWS]]
    shown = [tile for row in tiles for tile in row]
    # Levels by rank, not by moments: the same on every machine whatever sums do.
    values = np.sort(np.concatenate([tile.ravel() for tile in shown]))
    low, high = (float(values[int(q * (len(values) - 1))]) for q in (0.002, 0.998))
    labels = [_text(name) for name, _ in zip(names, tiles, strict=False)]
    margin = max(label.shape[1] for label in labels) + 2 * _GAP
    height = max(tile.shape[0] for tile in shown)
    width = max(tile.shape[1] for tile in shown)
    columns = max(len(row) for row in tiles)
    canvas = np.full(
        (_GAP + len(tiles) * (height + _GAP), margin + columns * (width + _GAP)), 255, np.uint8
    )
    for row, (label, line) in enumerate(zip(labels, tiles, strict=True)):
        top = _GAP + row * (height + _GAP)
        middle = top + (height - label.shape[0]) // 2
        if middle >= 0 and label.shape[0] <= height:
            canvas[middle : middle + label.shape[0], _GAP : _GAP + label.shape[1]] = label
        for column, tile in enumerate(line):
            left = margin + column * (width + _GAP)
            grey = np.clip((tile - low) * (255 / (high - low or 1.0)), 0, 255).astype(np.uint8)
            canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = grey
    return encode_png(canvas)


def _finite(tile: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a tile with 0 for what isn't finite, of which there is no grey."""
    return np.where(np.isfinite(tile), tile, 0)


def encode_png(pixels: Pixels, *, level: int = 0) -> bytes:
    """Return a PNG of grey (y, x) or coloured (y, x, 3) eight-bit pixels.

    Parameters
    ----------
    pixels
        The picture.
    level
        Of zlib's compression; 0 gives the same bytes everywhere.
    """
    height, width = pixels.shape[:2]
    kind = 0 if pixels.ndim == 2 else 2
    lines = np.zeros((height, 1 + pixels[0].size), np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    if level:
        # Each line as the difference from the one above: what is smooth packs better.
        lines[1:, 1:] = np.diff(lines[:, 1:], axis=0)
        lines[:, 0] = 2
    raw = lines.tobytes()
    data = zlib.compress(raw, level) if level else _stored(raw)
    header = struct.pack(">2I5B", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def _stored(raw: bytes) -> bytes:
    """Return a zlib stream (RFC 1950) of stored blocks."""
    blocks = [b"\x78\x01"]
    for start in range(0, len(raw), _STORED_BLOCK):
        part = raw[start : start + _STORED_BLOCK]
        last = start + _STORED_BLOCK >= len(raw)
        blocks.append(struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF) + part)
    blocks.append(struct.pack(">I", zlib.adler32(raw)))
    return b"".join(blocks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _draw(recipe: Recipe, index: int) -> npt.NDArray[Any]:
    seed = int(seeds(recipe.seed, index, index + 1)[0])
    return sampler_for(recipe).image(seed, recipe.label_of(index))


def _tile(image: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if image.ndim == 1:
        image = np.broadcast_to(image, (24, len(image)))
    if image.ndim == 3:
        image = image[len(image) // 2]
    step = -(-max(image.shape) // _TILE)
    # Every step-th pixel: no sum whose rounding could differ.
    return image[::step, ::step].astype(np.float64)


def _text(text: str) -> Pixels:
    """Return a text of digits as black dots on white, twice as large as its glyphs."""
    shown = [character for character in text if character in _GLYPHS]
    dots = np.zeros((7, 6 * max(1, len(shown))), np.uint8)
    for place, character in enumerate(shown):
        for line, bits in enumerate(bytes.fromhex(_GLYPHS[character])):
            for column in range(5):
                dots[line, 6 * place + column] = bits >> (4 - column) & 1
    return np.asarray(255 - 255 * dots.repeat(2, axis=0).repeat(2, axis=1), dtype=np.uint8)
