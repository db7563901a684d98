"""Reading ``.gp`` files, which are pickles, without running what a pickle may ask for.

A pickle is a program: it can import and call anything. This reader never imports
or calls what a file names. `pickletools` splits the file into opcodes without
executing them; each must be one that a ``.gp`` file needs, and is then carried out
on plain values (`gpgen.golkar2018.gp_machine`), where a global may only be one of
four NumPy names and stands for nothing but itself. What comes out must have exactly
the shape of the format.

The pixels are left in the file: the index says where each image is, so that an
archive of any size is read one image at a time.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError
from gpgen.golkar2018.gp_machine import ALLOWED, Array, Machine, Payload, Refusal

__all__ = ["GpImage", "GpIndex", "read_gp_images", "read_gp_index"]

MAX_SIDE: Final = 16384
MAX_IMAGE_BYTES: Final = 1 << 28
MAX_OPCODES: Final = 1_000_000
"""About 25 an image. A one-byte opcode can take 60 bytes of memory: this keeps it in bounds."""

_CLASS_NAME: Final = re.compile(r"\d{1,6}(\.\d{1,9})?(-\d{1,6}(\.\d{1,9})?){0,15}", re.ASCII)


_OPCODES: Final = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


class Stream(Protocol):
    """What is read from: a file or a member of a zip."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class GpImage:
    """One image of a ``.gp`` file.

    Attributes
    ----------
    offset
        Where its pixels begin, in bytes.
    label
        Its class.
    """

    offset: int
    label: int


@dataclass(frozen=True)
class GpIndex:
    """What a ``.gp`` file holds.

    Attributes
    ----------
    images
        In the file's order, which is that of the offsets.
    shape
        Of every image: (y, x) in pixels.
    dtype
        Of every image.
    names
        The class name of each label, 0 first.
    """

    images: tuple[GpImage, ...]
    shape: tuple[int, int]
    dtype: np.dtype[np.float32] | np.dtype[np.float64]
    names: tuple[str, ...]

    @property
    def image_nbytes(self) -> int:
        """Bytes of one image."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


def read_gp_index(stream: Stream, size: int, name: str) -> GpIndex:
    """Read a ``.gp`` file but for its pixels, and check every byte that isn't a pixel.

    Parameters
    ----------
    stream
        The file, at its beginning. Read to the end.
    size
        Its length in bytes; no more is read.
    name
        What to call it in errors.

    Returns
    -------
    GpIndex

    Raises
    ------
    DatasetError
        For anything but a ``.gp`` file. Nothing in the file was run.
    """
    try:
        return _checked_index(_run(_Bounded(stream, size)))
    except Refusal as refusal:
        raise _refused(name, str(refusal)) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # What pickletools raises for opcodes that are cut short or malformed.
        what = str(error).partition("\n")[0][:100]
        raise _refused(name, f"it can't be split into opcodes ({what})") from None


def read_gp_images(stream: Stream, index: GpIndex, name: str) -> Iterator[npt.NDArray[np.float64]]:
    """Read the images one after the other from a stream at its beginning.

    Yields
    ------
    ndarray of shape `index.shape`, dtype `index.dtype` in the machine's byte order

    Raises
    ------
    DatasetError
        If the stream ends early.
    """
    position = 0
    for image in index.images:
        _skip(stream, image.offset - position, name)
        data = stream.read(index.image_nbytes)
        if len(data) < index.image_nbytes:
            raise _refused(name, "it ends inside an image")
        position = image.offset + len(data)
        pixels = np.frombuffer(data, index.dtype).reshape(index.shape)
        yield pixels.astype(index.dtype.newbyteorder("="), copy=False)


def _refused(name: str, why: str) -> DatasetError:
    return DatasetError(
        f"{name} isn't a .gp file: {why}",
        "nothing in it was run; get the file again, or write it with `gpgen archive`",
    )


class _Bounded:
    """Hides the true stream from pickletools: no read may be larger than an image."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream = stream
        self._size = size
        self._position = 0

    def tell(self) -> int:
        return self._position

    def at_end(self) -> bool:
        return self._position == self._size and not self._stream.read(1)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= min(MAX_IMAGE_BYTES, self._size - self._position):
            if 0 <= size <= MAX_IMAGE_BYTES:
                raise Refusal("it is cut short")
            raise Refusal(f"it asks for {size} bytes at once, at byte {self._position}")
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def readline(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            if len(line) == 256:
                raise Refusal(f"a name at byte {self._position - 256} is too long")
            line += self.read(1)
        return bytes(line)


def _run(stream: _Bounded) -> object:
    machine = Machine()
    for number, (name, argument, position) in enumerate(_opcodes(stream)):
        if number >= MAX_OPCODES:
            raise Refusal(f"it has more than {MAX_OPCODES} opcodes")
        if isinstance(argument, bytes):
            argument = Payload(stream.tell() - len(argument), len(argument), argument[:1])
        machine.step(name, argument, position)
    if not stream.at_end():
        raise Refusal("more follows after its end")
    return machine.result()


def _opcodes(stream: _Bounded) -> Iterator[tuple[str, object, int]]:
    """Split into opcodes: their names, arguments and positions."""
    source: Any = stream  # pickletools wants an IO[bytes], of which it needs these methods
    name = ""
    while name != "STOP":
        position = stream.tell()
        code = stream.read(1)
        opcode = _OPCODES.get(code)
        name = opcode.name if opcode else repr(code)
        # Before its argument is looked at.
        if opcode is None or name not in ALLOWED:
            raise Refusal(f"opcode {name} at byte {position} isn't one of the format's")
        yield name, opcode.arg.reader(source) if opcode.arg else None, position


def _checked_index(value: object) -> GpIndex:
    match value:
        case [list(pairs), dict(names)] if pairs and isinstance(value, list):
            pass
        case _:
            raise Refusal("it isn't a list of images and class names")
    classes = _checked_names(names)
    first = pairs[0][0] if isinstance(pairs[0], list) and pairs[0] else None
    images: list[GpImage] = []
    end = 0
    for number, pair in enumerate(pairs):
        match pair:
            case [Array(dtype=dtype, shape=shape, payload=Payload() as payload), int(label)]:
                pass
            case _:
                raise Refusal(f"its image {number} isn't a pair of an array and a label")
        if isinstance(label, bool) or not 0 <= label < len(classes):
            raise Refusal(f"label {label!r} of its image {number} has no class name")
        assert isinstance(first, Array)  # noqa: S101 - matched just above, as pair 0
        if (shape, dtype) != (first.shape, first.dtype):
            raise Refusal(f"its image {number} differs from the first in shape or type")
        if payload.offset < end:
            raise Refusal(f"the pixels of its image {number} aren't its own")
        end = payload.offset + payload.length
        images.append(GpImage(payload.offset, label))
    assert isinstance(first, Array)  # noqa: S101 - as above
    return _index(first, tuple(images), classes)


def _index(first: Array, images: tuple[GpImage, ...], classes: tuple[str, ...]) -> GpIndex:
    dtype = first.numpy_dtype()
    shape = first.shape
    if len(shape) != 2 or not all(1 <= side <= MAX_SIDE for side in shape):
        raise Refusal(f"its images have the shape {shape}")
    if not isinstance(first.payload, Payload):
        raise Refusal("its images have no pixels")
    index = GpIndex(images, (shape[0], shape[1]), dtype, classes)
    if index.image_nbytes != first.payload.length:
        raise Refusal(f"images of shape {shape} can't have {first.payload.length} bytes")
    return index


def _checked_names(names: dict[object, object]) -> tuple[str, ...]:
    classes = tuple(names.get(label) for label in range(len(names)))
    if not classes or len(classes) > 4096:
        raise Refusal(f"it has {len(names)} class names")
    good = [c for c in classes if isinstance(c, str) and _CLASS_NAME.fullmatch(c)]
    if len(good) < len(classes) or len(set(good)) < len(good):
        raise Refusal("its class names aren't length-scales joined by '-', numbered from 0")
    return tuple(good)


def _skip(stream: Stream, count: int, name: str) -> None:
    while count > 0:
        data = stream.read(min(count, 1 << 20))
        if not data:
            raise _refused(name, "it ends before its last image")
        count -= len(data)
