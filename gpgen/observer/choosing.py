"""Which samples of a large dataset are measured closely."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["chosen_samples"]

Numbers = npt.NDArray[np.int64]

_RUN: Final = 16


def chosen_samples(n: int, count: int, classes: int, seed: int) -> Numbers:
    """Choose samples in runs of neighbours: one run at random in each of equal parts.

    Neighbours are compared with each other, so that a run has two samples a class or more.

    Parameters
    ----------
    n
        How many samples there are.
    count
        How many to choose; about as many are.
    classes
        How many classes there are.
    seed
        Of the choice.

    Returns
    -------
    ndarray of int64, ascending
    """
    length = max(_RUN, 2 * classes)
    if count >= n:
        return np.arange(n)
    runs = max(1, count // length)
    length = count // runs
    ends = np.linspace(0, n, runs + 1).astype(np.int64)
    spare = np.diff(ends) - length
    starts = ends[:-1] + np.random.default_rng(seed).integers(0, spare + 1)
    found: Numbers = (starts[:, None] + np.arange(length)).reshape(-1)
    return found
