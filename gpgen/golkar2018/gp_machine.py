"""The few steps of the pickle machine that a ``.gp`` file needs, on inert values.

Nothing here looks up, imports or calls anything that a file names. REDUCE doesn't
call: it recognizes the two constructions that the format has, an empty array and a
dtype, and makes a record of each; BUILD fills the record in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

import numpy as np

__all__ = ["ALLOWED", "Array", "DType", "Machine", "Payload", "Refusal"]

_T = TypeVar("_T")

RECONSTRUCT: Final = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
NDARRAY: Final = "numpy ndarray"
DTYPE: Final = "numpy dtype"
_GLOBALS: Final = frozenset({*RECONSTRUCT, NDARRAY, DTYPE})

ALLOWED: Final = frozenset([
    "PROTO", "STOP", "MARK", "EMPTY_LIST", "EMPTY_DICT", "APPEND", "APPENDS", "SETITEM",
    "SETITEMS", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET", "BININT", "BININT1", "BININT2", "NONE", "NEWTRUE", "NEWFALSE", "BINUNICODE",
    "SHORT_BINBYTES", "BINBYTES", "GLOBAL", "REDUCE", "BUILD",
])  # fmt: skip
"""The opcodes that Python writes for a ``.gp`` file in protocol 3."""


class Refusal(Exception):  # noqa: N818 - it never leaves the reader
    """Why a file isn't read."""


@dataclass(frozen=True)
class Payload:
    """Bytes left in the file; `first` is the first of them."""

    offset: int
    length: int
    first: bytes


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass
class DType:
    """A dtype: the code it is made from and, once built, its byte order."""

    code: object
    order: object = None


@dataclass
class Array:
    """An array: empty when constructed, filled in by BUILD."""

    shape: tuple[int, ...] = ()
    dtype: DType | None = None
    payload: object = None

    def numpy_dtype(self) -> np.dtype[np.float32] | np.dtype[np.float64]:
        """Return the dtype, which must be float32 or float64."""
        match self.dtype:
            case DType(code="f4" | "f8" as code, order="<" | ">" as order):
                return np.dtype(f"{order}{code}")
        wrong = self.dtype.code if self.dtype else None
        raise Refusal(f"its arrays have dtype {str(wrong)[:20]!r}, not float32 or float64")


class Machine:
    """A stack and a memo; `step` carries out one opcode."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._position = 0

    def step(self, name: str, argument: object, position: int) -> None:
        """Carry out one opcode of `ALLOWED`."""
        self._position = position
        match name:
            case "MARK":
                self._marks.append(len(self._stack))
            case "EMPTY_LIST":
                self._stack.append([])
            case "EMPTY_DICT":
                self._stack.append({})
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "TUPLE":
                self._stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._stack.append(tuple(self._pop(int(name[-1]))))
            case "APPEND" | "APPENDS":
                items = self._pop(1) if name == "APPEND" else self._pop_to_mark()
                self._top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._pop(2) if name == "SETITEM" else self._pop_to_mark()
                self._set_items(items)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[self._number(argument)] = self._top(object)
            case "BINGET" | "LONG_BINGET":
                number = self._number(argument)
                if number not in self._memo:
                    self._refuse(f"memo {number} is empty")
                self._stack.append(self._memo[number])
            case "GLOBAL":
                if argument not in _GLOBALS:
                    self._refuse(f"the name {str(argument)[:60]!r} isn't one of the format's")
                self._stack.append(_Global(str(argument)))
            case "REDUCE":
                self._reduce()
            case "BUILD":
                self._build()
            case "PROTO":
                if argument not in (2, 3) or position:
                    self._refuse(f"it is of pickle protocol {argument}, not 3")
            case "STOP":
                pass
            case _:
                self._push_value(argument)

    def result(self) -> object:
        """Return what the file consists of, once all its opcodes are carried out."""
        if self._marks or len(self._stack) != 1:
            self._refuse(f"it leaves {len(self._stack)} values instead of one")
        return self._stack[0]

    def _push_value(self, argument: object) -> None:
        if isinstance(argument, str) and len(argument) > 256:
            self._refuse("a text is too long")
        self._stack.append(argument)

    def _number(self, argument: object) -> int:
        if not isinstance(argument, int):
            self._refuse("a memo has no number")
        return argument

    def _pop(self, count: int) -> list[object]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            self._refuse("the stack is empty")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _pop_to_mark(self) -> list[object]:
        if not self._marks:
            self._refuse("there is no mark")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _top(self, kind: type[_T]) -> _T:
        value = self._stack[-1] if self._stack else None
        if not self._stack or not isinstance(value, kind):
            self._refuse(f"there is no {kind.__name__} to work on")
        return value

    def _set_items(self, items: list[object]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            self._refuse("a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not int or not isinstance(value, str):
                self._refuse("a dictionary isn't one from labels to class names")
            target[key] = value

    def _reduce(self) -> None:
        target, arguments = self._pop(2)
        match target, arguments:
            case _Global(name=name), (_Global(name="numpy ndarray"), (0,), Payload() as kind) if (
                name in RECONSTRUCT and (kind.length, kind.first) == (1, b"b")
            ):
                self._stack.append(Array())
            case _Global(name="numpy dtype"), (str(code), False | 0, True | 1):
                self._stack.append(DType(code))
            case _:
                self._refuse("it calls something other than the format does")

    def _build(self) -> None:
        target, state = self._pop(2)
        match target, state:
            case DType(order=None), (3, str(order), None, None, None, -1, -1, 0):
                target.order = order
            case Array(payload=None), (1, tuple(shape), DType() as dtype, False | 0, Payload()):
                if not all(type(side) is int for side in shape):
                    self._refuse("a shape isn't made of integers")
                target.shape, target.dtype, target.payload = shape, dtype, state[4]
            case _:
                self._refuse("it fills in something other than the format does")
        self._stack.append(target)

    def _refuse(self, why: str) -> NoReturn:
        raise Refusal(f"{why}, at byte {self._position}")
