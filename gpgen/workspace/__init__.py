"""Unfinished datasets: who may work on one, what is on record, and how it is resumed."""

from __future__ import annotations

from gpgen.io.paths import AnyPath
from gpgen.workspace.base import Site
from gpgen.workspace.local import Disk
from gpgen.workspace.remote import Bucket

__all__ = ["site_of"]


def site_of(path: AnyPath) -> Site:
    """Return where a dataset at a path is made."""
    return Bucket() if path.is_remote else Disk()
