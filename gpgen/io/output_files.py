"""Whether there is a place for a result, asked before the work."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from gpgen.errors import Argument, TargetError
from gpgen.formatting import nbytes as in_units
from gpgen.io.local_path import LocalPath
from gpgen.io.recognizing import DATASET, recognize

__all__ = [
    "check_folder",
    "check_output_file",
    "check_outside",
    "check_space",
    "free_bytes",
    "is_writable",
]


def check_folder(folder: Path) -> None:
    """Refuse a folder that isn't there, in which something is to be made, or is a dataset's own.

    Raises
    ------
    TargetError
        If it is missing, no folder, or inside a Zarr dataset, whose files `verify` knows.
    """
    if not folder.is_dir():
        raise TargetError(
            f"the folder {folder} does not exist",
            f"make it with `mkdir -p {shlex.quote(str(folder))}`",
        )
    check_outside(folder)


def check_outside(folder: Path) -> None:
    """Refuse a folder, which need not be there yet, inside a Zarr dataset of ours.

    Raises
    ------
    TargetError
        Files that don't belong to the dataset would count as its damage.
    """
    for place in (folder, *folder.parents):
        if not (place / "zarr.json").is_file():
            continue
        found = recognize(LocalPath(place))
        if found is not None and found.what == DATASET:
            raise TargetError(
                f"the folder {folder} is part of the dataset {place}", "choose a place outside it"
            )


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user may still write under a folder."""
    return shutil.disk_usage(folder).free


def is_writable(folder: Path) -> bool:
    """Return whether this process may add names to a folder."""
    return os.access(folder, os.W_OK | os.X_OK)


def check_space(
    target: object, nbytes: int, free: int, instead: str = f"choose another {Argument.OUT}"
) -> None:
    """Refuse what is larger than the room for it.

    Parameters
    ----------
    target
        What is to be written, as the error calls it.
    nbytes
        Bytes that it still needs.
    free
        Bytes that are free there.
    instead
        What to do instead of freeing space, in the imperative.

    Raises
    ------
    TargetError
        If there is too little room.
    """
    if nbytes > free:
        raise TargetError(
            f"{target} needs {in_units(nbytes)} more and its disk has {in_units(free)} free",
            f"free some space, or {instead}",
        )


def check_output_file(path: str | Path) -> None:
    """Refuse a file that can't be written.

    Raises
    ------
    TargetError
        If its folder is missing or not writable, or the name is a folder's.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a link
    check_folder(target.parent)
    if target.is_dir():
        raise TargetError(f"{path} is a folder", "give the name of a file")
    try:
        # Not by its permissions: some folders refuse whoever asks.
        with tempfile.TemporaryFile(dir=target.parent):
            pass
        writable = not target.exists() or os.access(target, os.W_OK)
        reason = "permission denied"
    except OSError as error:
        writable, reason = False, (error.strerror or str(error)).lower()
    if not writable:
        raise TargetError(
            f"{path} can't be written: {reason}",
            "choose another folder or make this one writable",
        )
