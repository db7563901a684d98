"""Whether a file could be written, asked before the work whose result it shall hold."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

from gpgen.errors import TargetError

__all__ = ["check_output_file"]


def check_output_file(path: str | Path) -> None:
    """Refuse a file that can't be written.

    Raises
    ------
    TargetError
        If its folder is missing or not writable, or the name is a folder's.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a link
    if not target.parent.is_dir():
        raise TargetError(
            f"{path} can't be written: there is no folder {target.parent}",
            f"make it with `mkdir -p {shlex.quote(str(target.parent))}`",
        )
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
