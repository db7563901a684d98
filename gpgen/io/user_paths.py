"""From what the user calls a file or folder to its path; refusing what can be none."""

from __future__ import annotations

import os
from typing import Final

from gpgen.errors import UsageError
from gpgen.io.local_path import LocalPath

__all__ = ["AnyText", "given", "target_of", "text_of"]

AnyText = str | bytes | os.PathLike[str] | os.PathLike[bytes]

# What Linux and macOS take at most; a file system may take less, and then says so itself.
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 4095


def text_of(path: object) -> str:
    """Return a path as text.

    Raises
    ------
    UsageError
        If it is neither text, bytes nor a path, or nothing on a disk can be called that.
    """
    try:
        text = os.fsdecode(path)  # type: ignore[arg-type]  # what is none of these raises
    except TypeError:
        raise UsageError(f"{repr(path)[:60]} is no path", "give text, such as data.zarr") from None
    if not text:
        raise UsageError("the path is empty", "give one, such as data.zarr")
    if "\0" in text:
        raise UsageError(f"the path {text[:200]!r} holds a zero byte", "leave it out")
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        raise UsageError(
            f"the path {ascii(text)[:200]} holds half a character", "correct the name"
        ) from None
    for what, nbytes, most in (
        ("name", max(map(len, raw.split(b"/"))), _LONGEST_NAME),
        ("path", len(raw), _LONGEST_PATH),
    ):
        if nbytes > most:
            raise UsageError(
                f"{text[:60]!r}... is a {what} of {nbytes} bytes, and {most} are the most",
                "choose a shorter one",
            )
    return text


def given(path: AnyText) -> LocalPath:
    """Return the absolute path that the user means; ``~`` and ``~user`` are home folders.

    Raises
    ------
    UsageError
        If there can be no such path: it is empty, too long, no text, in nobody's home.
    """
    text = text_of(path)
    try:
        return LocalPath(text).expanduser().absolute()
    except RuntimeError:
        user = text.partition("/")[0]
        raise UsageError(
            f"{text!r} is in the home of {user[1:] or 'a user'}, which this machine doesn't know",
            f"write the whole path, or ./{text} if a folder is called {user}",
        ) from None
    except FileNotFoundError:
        raise UsageError(
            f"{text!r} is relative to a folder that was removed", "change to one that is there"
        ) from None


def target_of(path: AnyText) -> LocalPath:
    """Return where a file or folder is made that the user asks for."""
    return LocalPath(os.path.abspath(given(path))).followed()  # noqa: PTH100 - resolve() follows all
