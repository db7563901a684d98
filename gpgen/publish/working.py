"""A folder to work in, beside what is being made; what a killed run left is removed first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpgen.errors import TargetError
from gpgen.store import files as disk
from gpgen.store.claiming import check_rename

__all__ = ["working_folder"]


@contextmanager
def working_folder(target: Path, what: str) -> Iterator[Path]:
    """Yield an empty folder beside a target, and remove it afterwards, if it is still there.

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
    lock = disk.lock(name)
    if lock is None:
        raise TargetError(f"{target} is in use: another process is {what}", "wait for it")
    try:
        disk.remove_tree(folder)
        disk.make_folder(folder)
        check_rename(folder, target)
        yield folder
    finally:
        disk.remove_tree(folder)
        disk.remove(name)
        os.close(lock)
