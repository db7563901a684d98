"""A recipe under design: the file is read again when it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable

from gpgen.errors import GpgenError
from gpgen.virtual_store.keys import VirtualKeys

__all__ = ["Design"]


class Design:
    """The dataset of a recipe's file as it now stands.

    Parameters
    ----------
    path
        The file.
    read
        Reads it.
    """

    def __init__(self, path: str, read: Callable[[], VirtualKeys]) -> None:
        self._path, self._read = path, read
        self._mark: tuple[int, int, int] | None = None
        self._found: VirtualKeys | GpgenError = read()

    def __call__(self) -> VirtualKeys:
        """Return its keys.

        Raises
        ------
        GpgenError
            If it can't be read, or the recipe can't be drawn.
        """
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a name of any kind
            mark = (found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError:
            mark = (0, 0, 0)
        if mark != self._mark:
            self._mark = mark
            try:
                self._found = self._read()
            except GpgenError as error:
                self._found = error
        if isinstance(self._found, GpgenError):
            raise self._found
        return self._found
