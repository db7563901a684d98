"""Writing ``.gp`` files: a pickle that Python 3.6 with NumPy 1.14 reads, and today's.

A ``.gp`` file is the pickle of ``[images, names]``: images is a list of
``[float32 array, label]``, names the dictionary from label to class name. NumPy 2
pickles arrays under the name ``numpy._core``, which older versions can't import,
and the pickler keeps everything it has written in memory. So the opcodes are
written here: protocol 3, the old names, one image in memory at a time, and the
same bytes as ``pickle.dump`` wrote in 2018 but for those of the pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError

__all__ = ["write_gp"]

Image = npt.NDArray[np.float32]


class Sink(Protocol):
    """What is written to."""

    def write(self, data: bytes | memoryview, /) -> object: ...


_BATCH: Final = 1000
"""The pickler appends to a list in batches of so many."""


def write_gp(
    stream: Sink,
    images: Iterable[tuple[Image, int]],
    count: int,
    names: Mapping[int, str],
) -> None:
    """Write a ``.gp`` file.

    Parameters
    ----------
    stream
        Where to write; only ``write`` is called.
    images
        Pairs of a float32 array (y, x) and its label; consumed one at a time.
    count
        How many pairs there are, at least one.
    names
        The class name of each label.

    Raises
    ------
    UsageError
        If `images` doesn't yield `count` pairs, or an array isn't float32.
    """
    opcodes = _Opcodes(stream)
    opcodes.raw(b"\x80\x03]").memoize().raw(b"(]").memoize()
    written = 0
    for image, label in images:
        if written == count:
            raise UsageError(f"more than the {count} images announced")
        if count > 1 and written % _BATCH == 0:
            opcodes.raw(b"(")
        _write_pair(opcodes, image, label)
        written += 1
        if count == 1:
            opcodes.raw(b"a")
        elif written % _BATCH == 0 or written == count:
            opcodes.raw(b"e")
    if written < count:
        raise UsageError(f"{written} images of the {count} announced")
    opcodes.raw(b"}").memoize()
    if len(names) > 1:
        opcodes.raw(b"(")
    for label, name in names.items():
        opcodes.integer(label).text(name).memoize()
    opcodes.raw(b"u" if len(names) > 1 else b"s").raw(b"e.")


def _write_pair(opcodes: _Opcodes, image: Image, label: int) -> None:
    if image.dtype != np.float32:
        raise UsageError(f"a .gp file holds float32 images, not {image.dtype}")
    pixels = np.ascontiguousarray(image, dtype="<f4")
    opcodes.raw(b"]").memoize().raw(b"(")
    opcodes.once("reconstruct", b"cnumpy.core.multiarray\n_reconstruct\n")
    opcodes.once("ndarray", b"cnumpy\nndarray\n")
    opcodes.integer(0).raw(b"\x85").memoize()
    opcodes.once("b", b"C\x01b")
    opcodes.raw(b"\x87").memoize().raw(b"R").memoize().raw(b"(").integer(1)
    for side in pixels.shape:
        opcodes.integer(side)
    opcodes.raw(b"\x86").memoize()
    if not opcodes.recall("float32"):
        opcodes.raw(b"cnumpy\ndtype\n").memoize().text("f4").memoize()
        opcodes.integer(0).integer(1).raw(b"\x87").memoize().raw(b"R").memoize("float32")
        opcodes.raw(b"(").integer(3).text("<").memoize().raw(b"NNN")
        opcodes.integer(-1).integer(-1).integer(0).raw(b"t").memoize().raw(b"b")
    opcodes.raw(b"\x89").payload(pixels.data.cast("B")).memoize()
    opcodes.raw(b"t").memoize().raw(b"b").integer(label).raw(b"e")


class _Opcodes:
    """Emits opcodes, and numbers what is memoized as the pickler does."""

    def __init__(self, stream: Sink) -> None:
        self._stream = stream
        self._count = 0
        self._known: dict[str, int] = {}

    def raw(self, data: bytes) -> _Opcodes:
        self._stream.write(data)
        return self

    def memoize(self, key: str | None = None) -> _Opcodes:
        if key is not None:
            self._known[key] = self._count
        short = self._count < 256
        self.raw(struct.pack("<cB", b"q", self._count) if short else self._long(b"r", self._count))
        self._count += 1
        return self

    def recall(self, key: str) -> bool:
        """Fetch from the memo what was memoized under `key`, if anything was."""
        number = self._known.get(key)
        if number is not None:
            self.raw(struct.pack("<cB", b"h", number))
        return number is not None

    def once(self, key: str, data: bytes) -> None:
        if not self.recall(key):
            self.raw(data).memoize(key)

    def integer(self, value: int) -> _Opcodes:
        if 0 <= value < 1 << 8:
            return self.raw(struct.pack("<cB", b"K", value))
        if 0 <= value < 1 << 16:
            return self.raw(struct.pack("<cH", b"M", value))
        return self.raw(struct.pack("<ci", b"J", value))

    def text(self, value: str) -> _Opcodes:
        data = value.encode()
        return self.raw(self._long(b"X", len(data)) + data)

    def payload(self, data: memoryview) -> _Opcodes:
        if len(data) < 1 << 8:
            self.raw(struct.pack("<cB", b"C", len(data)))
        elif len(data) < 1 << 32:
            self.raw(self._long(b"B", len(data)))
        else:
            raise UsageError(f"an image of {len(data)} bytes is too large for a .gp file")
        self._stream.write(data)
        return self

    @staticmethod
    def _long(opcode: bytes, value: int) -> bytes:
        return struct.pack("<cI", opcode, value)
