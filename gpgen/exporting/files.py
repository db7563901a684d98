"""What exports share: files that are on the disk when they are finished, and samples' indices."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gpgen.dataset.samples import Samples
from gpgen.io import files

__all__ = ["Exported", "indices_at", "new_stream", "sync_all"]


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path
        The file, the folder, or the files' pattern.
    n
        Number of samples.
    files
        Number of files.
    nbytes
        Their bytes.
    """

    path: Path
    n: int
    files: int
    nbytes: int


@contextmanager
def new_stream(path: Path) -> Iterator[BinaryIO]:
    """Create a file, to be written from front to back; synced at the end."""
    descriptor = files.create(path)
    with os.fdopen(descriptor, "wb") as stream:
        yield stream
        stream.flush()
        files.sync(descriptor)


def indices_at(samples: Samples, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the indices in the whole dataset of the samples at some positions."""
    return positions if samples.chosen is None else samples.chosen.indices(positions)


def sync_all() -> None:
    """Wait until all files are on the disk: for thousands, one by one would take long."""
    os.sync()
