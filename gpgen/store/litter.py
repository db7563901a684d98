"""Files that systems and tools leave in any folder: no part of a dataset, and no harm to it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

__all__ = ["is_litter"]

_NAMES = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "lost+found", "__macosx",
    "$recycle.bin", "system volume information", ".zmetadata",
}  # fmt: skip
# What begins with a dot is hidden, as .DS_Store, ._file, .nfs0001; but for Zarr's own of version 2.
_HIDDEN = re.compile(r"\.(?!\.?$|z)|.*_\$folder\$$")


def is_litter(name: str) -> bool:
    """Return whether a file's name, relative to a dataset, is one that no program put there for it.

    Then no reader looks at it.
    """
    if "//" in name:
        return False
    return any(
        part.lower() in _NAMES or _HIDDEN.match(part) is not None
        for part in PurePosixPath(name).parts
    )
