"""Giving what has grown its name, tried before it grows.

Everything ends with a rename, which some file systems refuse: to know it after hours would be late.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from gpgen.errors import Argument, TargetError
from gpgen.io import files
from gpgen.io.failures import reason, remedy

__all__ = ["check_rename", "naming"]


def check_rename(working: Path, target: Path) -> None:
    """Refuse a place where what was made could not be given its name.

    Raises
    ------
    TargetError
        If the system refuses the rename with which all would end.
    """
    try:
        _try(working, target)
    except OSError as error:
        if remedy(error) is not None and error.errno != errno.EIO:
            raise  # no room for an empty folder: that is another matter
        raise TargetError(
            f"{target} could not be given its name when it is made: {reason(error)}",
            f"move {target} away first, or choose another {Argument.OUT}"
            if target.exists()
            else f"choose another {Argument.OUT}, on a file system that can rename folders",
        ) from error


def _try(working: Path, target: Path) -> None:
    """Try whether what grows in a folder can be given its name, before it has grown.

    An empty folder is moved, within the working folder. Beyond that only what is refused in any
    case is asked for, to replace a folder that isn't empty: by how it is refused, one knows. So
    nothing of it is ever seen outside the working folder, at whatever instant it is broken off.

    Raises
    ------
    OSError
        If the system can't move folders there (FUSE), if the working folder is on another file
        system than its name (a mount point), or if the folder that is to be replaced can't be moved
        (a mount point; one of a lower layer of an overlay).
    """
    top = files.temporary_name(working, "try")
    empty, full, moved = top / "empty", top / "full", top / "moved"
    try:
        for folder in (top, empty, full, moved):
            files.make_folder(folder)
        files.rename(moved, full / "moved")
        _refused(empty, working)
        # A file system that moves it nevertheless is not asked again, with what is somebody's.
        if target.is_dir() and _refused(empty, full) and not _refused(target, full):
            files.rename(full, target)
    finally:
        files.remove_tree(top)


def _refused(source: Path, destination: Path) -> bool:
    """Return whether a folder can't replace one that isn't empty, for that reason alone."""
    try:
        files.rename(source, destination)
    except OSError as error:
        # ENOTDIR: it is a link to a folder.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return True
    return False


@contextlib.contextmanager
def naming(target: Path, working: Path) -> Iterator[None]:
    """Say what to do if the system refuses, after all, to rename what was made.

    Raises
    ------
    TargetError
        If it does.
    """
    try:
        yield
    except OSError as error:
        raise TargetError(
            f"{target} is made, but can't be given its name: {reason(error)}",
            f"move {working} to a folder on another disk, and run again with "
            f"{Argument.OUT} in that folder and {Argument.RESUME}",
        ) from error
