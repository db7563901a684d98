"""What a hostile input may bring about: a right answer, or one line; and no write elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from gpgen.errors import GpgenError

__all__ = ["REFUSED", "Violation", "answer", "writes_only_under"]

T = TypeVar("T")

REFUSED: Any = object()
"""What `answer` returns for a refusal."""

_LONGEST_LINE = 2000

# The audit events that change the file system, and which of their arguments are paths.
_CHANGES = {
    "os.mkdir": (0,), "os.rmdir": (0,), "os.remove": (0,), "os.rename": (0, 1), "os.link": (1,),
    "os.symlink": (1,), "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,),
    "shutil.rmtree": (0,), "shutil.copyfile": (1,), "shutil.move": (0, 1),
}  # fmt: skip
# Data is data: nothing that is read may have anything run, unpickled or called over a network.
_FORBIDDEN = {
    "pickle.find_class", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn",
    "subprocess.Popen", "socket.connect",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_allowed: Path | None = None
_outside: list[str] = []


class Violation(AssertionError):  # noqa: N818 - of a rule
    """What must never happen."""


def answer(call: Callable[[], T]) -> T:
    """Call, and take one line of refusal for an answer; anything else is raised."""
    try:
        return call()
    except GpgenError as error:
        line = str(error)
        if not line.isprintable() or len(line) > _LONGEST_LINE:
            raise Violation(f"the error is not one short printable line: {line!r}") from error
        return REFUSED


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event in _FORBIDDEN:
        _outside.append(f"{event} {arguments!r}")
        return
    if event == "open":
        path, mode, flags = arguments
        if not (isinstance(mode, str) and set(mode) & set("wax+")) and not flags & _WRITING:
            return
        paths = [path]
    elif event in _CHANGES:
        paths = [arguments[k] for k in _CHANGES[event]]
        if event in ("os.remove", "os.rmdir") and arguments[1] != -1:
            return  # by a folder's descriptor: a part of shutil.rmtree, which is an event too
    else:
        return
    for path in paths:
        if isinstance(path, int):  # an open descriptor: its opening was looked at
            continue
        place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links are not followed
        if not Path(place).is_relative_to(_allowed) and place != os.devnull:
            _outside.append(f"{event} {place}")


sys.addaudithook(_audit)


@contextlib.contextmanager
def writes_only_under(folder: Path) -> Iterator[None]:
    """Raise `Violation` if anything outside a folder is changed, or anything is run."""
    global _allowed
    _outside.clear()
    _allowed = folder
    try:
        yield
    finally:
        _allowed = None
    if _outside:
        raise Violation(f"outside the target: {_outside}")
