"""Whether a file could be written, asked before the work whose result it shall hold."""

from __future__ import annotations

import os
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
            f"there is no folder {target.parent}", f"make it with `mkdir -p {target.parent}`"
        )
    if target.is_dir():
        raise TargetError(f"{target} is a folder", "give the name of a file")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise TargetError(
            f"{target} can't be written: permission denied",
            "choose another folder or make this one writable",
        )
