"""What appears whole or not at all: written in a folder beside its place, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpgen.errors import TargetError
from gpgen.io import files
from gpgen.io.renaming import check_rename

__all__ = ["put_in_place", "working_folder"]


@contextmanager
def working_folder(target: Path, what: str) -> Iterator[Path]:
    """Yield an empty folder beside a target, and remove it afterwards, if it is still there.

    What a killed process left in it is removed first.

    Parameters
    ----------
    target
        What is being made.
    what
        A word for what is being done, part of the folder's name.

    Raises
    ------
    TargetError
        If another process is doing the same.
    """
    # A pattern like data-{shard:05d}.h5 would be taken for one within the folder too.
    plain = target.name.replace("{", "").replace("}", "")
    folder = target.with_name(f".{plain}.{what}")
    name = folder.with_name(f"{folder.name}.lock")
    lock = files.lock(name)
    if lock is None:
        raise TargetError(f"{target} is in use: another process is {what}", "wait for it")
    try:
        files.remove_tree(folder)
        files.make_folder(folder)
        check_rename(folder, target)
        yield folder
    finally:
        files.remove_tree(folder)
        files.remove(name)
        os.close(lock)


def put_in_place(folder: Path, target: Path) -> None:
    """Give a finished folder its name; what had the name before is removed afterwards."""
    files.sync_folder(folder)
    aside = None
    if os.path.lexists(target):
        aside = files.temporary_name(target.parent, f".{target.name}.old")
        files.rename(target, aside)
    files.rename(folder, target)
    files.sync_folder(target.parent)
    if aside is not None:
        files.remove_tree(aside)
