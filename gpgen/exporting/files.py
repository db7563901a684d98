"""What exports share: files that are on the disk when they are finished, and samples' indices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gpgen.dataset.samples import Samples
from gpgen.io import files

__all__ = ["indices_at", "new_stream"]


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
