"""The seeds of samples, from the root seed and their indices alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["seeds", "seeds_at"]

Indices = npt.NDArray[np.int64]

_SEED_BLOCK: Final = 1024
"""Samples whose seeds come from one SeedSequence."""


def seeds(root_seed: int, start: int, stop: int) -> npt.NDArray[np.uint64]:
    """Return the seeds of samples start..stop-1.

    The seed of sample i is word ``i % 1024`` of
    ``numpy.random.SeedSequence(root_seed, spawn_key=(i // 1024,))``: it depends on the root
    seed and i alone.

    Returns
    -------
    ndarray of uint64, shape (stop - start,)
    """
    first, last = start // _SEED_BLOCK, -(-stop // _SEED_BLOCK)
    if first >= last:
        return np.empty(0, dtype=np.uint64)
    blocks = [_seed_block(root_seed, block) for block in range(first, last)]
    offset = first * _SEED_BLOCK
    words: npt.NDArray[np.uint64] = np.concatenate(blocks)[start - offset : stop - offset]
    return words


def seeds_at(root_seed: int, indices: Indices) -> npt.NDArray[np.uint64]:
    """Return the seeds of any samples, as `seeds` does: uint64, shape (len(indices),)."""
    words = np.empty(len(indices), dtype=np.uint64)
    blocks, places = np.divmod(indices, _SEED_BLOCK)
    for block in np.unique(blocks).tolist():
        here = blocks == block
        words[here] = _seed_block(root_seed, block)[places[here]]
    return words


@lru_cache(maxsize=1024)
def _seed_block(root_seed: int, block: int) -> npt.NDArray[np.uint64]:
    sequence = np.random.SeedSequence(root_seed, spawn_key=(block,))
    return sequence.generate_state(_SEED_BLOCK, np.uint64).astype(np.uint64)
