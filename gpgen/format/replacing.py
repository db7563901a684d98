"""Noticing that another dataset has come in the place of one that is open.

A reader has read the manifest once, and opens the other files when they are needed. Those of
another dataset, made with ``--overwrite`` meanwhile, would look like damage; or, where it is alike
in all but its pixels, like the samples that were asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gpgen.errors import DatasetError

if TYPE_CHECKING:
    from gpgen.format.base import Reader

__all__ = ["check_unchanged", "same_dataset"]


def check_unchanged(reader: Reader) -> None:
    """Compare the manifest that a reader has read with the one that is there.

    Raises
    ------
    DatasetError
        If it is another's, or gone.
    """
    mark = reader.root.mark()
    if mark is not None and mark == reader.mark:
        return
    again: Any = type(reader)
    try:
        found = again(reader.path).manifest.manifest_sha256
    except DatasetError:
        found = None
    if found != reader.manifest.manifest_sha256:
        raise DatasetError(
            f"{reader.path} was replaced or removed since it was opened",
            "open it again, or run the same command again",
        )
    reader.mark = mark


@contextlib.contextmanager
def same_dataset(reader: Reader) -> Iterator[None]:
    """Say that a dataset was replaced where its files would look damaged for that reason."""
    try:
        yield
    except DatasetError as error:
        try:
            check_unchanged(reader)
        except DatasetError as replaced:
            raise replaced from error
        raise
