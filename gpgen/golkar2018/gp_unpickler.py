"""An unpickler for ``.gp`` files that runs nothing and leaves the pixels in the file.

A pickle is a program: it can import and call anything. Here Python's own unpickler
gets the few opcodes that a ``.gp`` file needs and no others. A name that a file wants
to import is one of four and stays a name; a call is recorded and not made; of bytes
only the place is kept.

The base is `pickle._Unpickler`, written in Python, because the opcodes of the one in C
can't be taken away and a single one of them can make its memo fill 32 GB.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

__all__ = ["ALLOWED", "ByteStream", "Record", "Refusal", "unpickle"]

MAX_IMAGE_BYTES: Final = 1 << 28
MAX_TEXT_BYTES: Final = 256
MAX_OPCODE_BYTES: Final = 3_000_000
"""In all, about 70 an image. Each takes at most 100 bytes of memory."""

NAMES: Final = frozenset([
    "numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy ndarray",
    "numpy dtype",
])  # fmt: skip
ALLOWED: Final = frozenset([
    "PROTO", "STOP", "MARK", "EMPTY_LIST", "EMPTY_DICT", "APPEND", "APPENDS", "SETITEM",
    "SETITEMS", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET", "BININT", "BININT1", "BININT2", "NONE", "NEWTRUE", "NEWFALSE", "BINUNICODE",
    "SHORT_BINBYTES", "BINBYTES", "GLOBAL", "REDUCE", "BUILD",
])  # fmt: skip
"""The opcodes that Python writes for a ``.gp`` file in protocol 3."""

_OPCODE_NAMES: Final = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}


class ByteStream(Protocol):
    """A file or a member of a zip."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes, fewer only at the end."""
        ...


class Refusal(Exception):  # noqa: N818 - it never leaves the reader
    """Why a file isn't read."""


@dataclass(eq=False, slots=True)
class Record:
    """What a pickle would import, then call with arguments, then fill in with a state."""

    name: str
    arguments: object = None
    state: object = None


def unpickle(stream: ByteStream, size: int) -> object:
    """Read a pickle of `size` bytes to its end.

    Returns
    -------
    object
        Of lists, tuples, texts, numbers, `Record`, a dictionary from label to class name,
        and a `range` of positions in the stream for each bytes object.

    Raises
    ------
    Refusal
        If it has another opcode or name than the format, or they don't make sense.
    """
    reader = _BoundedReader(stream, size)
    unpickler = _Unpickler(reader)
    try:
        value = unpickler.load()
    except Refusal as refusal:
        raise Refusal(f"{refusal}, at byte {reader.position}") from None
    # What Python's unpickler raises when opcodes fit neither each other nor their arguments.
    except (
        pickle.UnpicklingError, struct.error, ValueError, TypeError, LookupError, AttributeError,
    ) as error:  # fmt: skip
        what = str(error).partition("\n")[0][:100]
        raise Refusal(f"its opcodes don't make sense at byte {reader.position} ({what})") from None
    if unpickler.stack or unpickler.metastack:
        raise Refusal("it leaves more than one value")
    if reader.position < size or stream.read(1):
        raise Refusal("more follows after its end")
    return value


class _BoundedReader:
    """A stream of which only so much is read at once and in all, but for what is skipped."""

    def __init__(self, stream: ByteStream, size: int) -> None:
        self.position = 0
        self._stream = stream
        self._size = size
        self._left = MAX_OPCODE_BYTES

    def read(self, size: int) -> bytes:
        self._left -= size
        if size > MAX_TEXT_BYTES or self._left < 0:
            raise Refusal("its opcodes, names and texts are too long")
        return self._take(size)

    def readline(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            if len(line) == MAX_TEXT_BYTES:
                raise Refusal("a name is too long")
            line += self.read(1)
        return bytes(line)

    def skip(self, size: int) -> range:
        """Pass over bytes and return where they are."""
        if size > MAX_IMAGE_BYTES:
            raise Refusal(f"it has {size} bytes in one piece")
        place = range(self.position, self.position + size)
        while self.position < place.stop:
            self._take(min(place.stop - self.position, 1 << 20))
        return place

    def _take(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._size - self.position))
        self.position += len(data)
        if len(data) < size:
            raise Refusal("it is cut short")
        return data


class _ClassNames(dict[int, str]):
    """From label to class name. The hash of a tuple of tuples could overflow the C stack."""

    def __setitem__(self, key: int, value: str) -> None:
        if type(key) is not int or type(value) is not str:
            raise Refusal("a dictionary isn't one from labels to class names")
        super().__setitem__(key, value)


class _Handlers(dict[int, Callable[[Any], None]]):
    """What carries out each opcode that is allowed."""

    def __missing__(self, code: int) -> NoReturn:
        name = _OPCODE_NAMES.get(code, f"{code:#04x}")
        raise Refusal(f"opcode {name} isn't one of the format's")


class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]

    def __init__(self, reader: _BoundedReader) -> None:
        super().__init__(reader)
        self._reader = reader

    def find_class(self, module: str, name: str) -> Record:
        full = f"{module} {name}"
        if full not in NAMES:
            raise Refusal(f"the name {full[:60]!r} isn't one of the format's")
        return Record(full)

    def load_proto(self) -> None:
        (protocol,) = self._reader.read(1)
        if protocol not in (2, 3) or self._reader.position != 2:
            raise Refusal(f"it is of pickle protocol {protocol}, not 3")

    def load_class_names(self) -> None:
        self.append(_ClassNames())

    def load_bytes(self) -> None:
        self.append(self._reader.skip(*struct.unpack("<I", self._reader.read(4))))

    def load_short_bytes(self) -> None:
        (size,) = self._reader.read(1)
        # The one byte is part of how NumPy constructs an empty array.
        self.append(self._reader.read(1) if size == 1 else self._reader.skip(size))

    def load_reduce(self) -> None:
        arguments, target = self.stack.pop(), self.stack.pop()
        if not isinstance(target, Record) or target.arguments is not None:
            raise Refusal("it calls something other than a name")
        if not isinstance(arguments, tuple):
            raise Refusal("it calls a name without arguments")
        self.append(Record(target.name, arguments))

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Record) or target.arguments is None or target.state is not None:
            raise Refusal("it fills in something other than the result of a call")
        target.state = state

    dispatch = _Handlers(
        {
            **{k: v for k, v in pickle._Unpickler.dispatch.items() if _OPCODE_NAMES[k] in ALLOWED},
            pickle.PROTO[0]: load_proto,
            pickle.EMPTY_DICT[0]: load_class_names,
            pickle.BINBYTES[0]: load_bytes,
            pickle.SHORT_BINBYTES[0]: load_short_bytes,
            pickle.REDUCE[0]: load_reduce,
            pickle.BUILD[0]: load_build,
        }
    )
