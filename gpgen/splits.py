"""Which samples are in which split: computed, for a billion of them can't be listed.

Samples are dealt out in groups of one of each class. A split takes the groups at which its
rounded share of those that the splits before it have left grows by one; the last has the rest.
With a share of ``a / b``, the first x groups hold ``floor((2 a x + b) / (2 b))`` of it, which is
solved for x to find the k-th.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["ComputedSplit", "ListedSplit", "Split", "split_codes"]

Numbers = npt.NDArray[np.int64]
Share = tuple[int, int]


class Split(Protocol):
    """Some of the first n samples, in ascending order."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def indices(self, positions: Numbers) -> Numbers:
        """Return the indices of the samples at positions from 0 to ``len(self) - 1``."""
        ...

    def below(self, indices: Numbers) -> Numbers:
        """Return how many of the split's samples come before each index from 0 to n."""
        ...


def _shares(splits: Mapping[str, float]) -> list[Share]:
    """Return each split's share of what the ones before it have left; the last has the rest."""
    shares, left = [], Fraction(1)
    for fraction in (Fraction(repr(value)) for value in list(splits.values())[:-1]):
        share = (fraction / left).limit_denominator(10**6) if left > 0 else Fraction(0)
        shares.append((min(share.numerator, share.denominator), share.denominator))
        left -= fraction
    return shares


def _taken(share: Share, groups: Numbers) -> Numbers:
    """Return how many of the first ``groups`` a share takes."""
    a, b = share
    return (2 * a * groups + b) // (2 * b)


def split_codes(
    splits: Mapping[str, float], classes: int, start: int, stop: int
) -> npt.NDArray[np.uint8]:
    """Return the position in `splits` of the part that each of samples start..stop-1 is in."""
    groups = np.arange(start, stop, dtype=np.int64) // classes
    codes = np.full(len(groups), len(splits) - 1, dtype=np.uint8)
    undecided = np.ones(len(groups), dtype=bool)
    for code, share in enumerate(_shares(splits)):
        before, after = (_taken(share, g) for g in (groups, groups + 1))
        mine = undecided & (after > before)
        codes[mine] = code
        undecided &= ~mine
        groups = groups - before
    return codes


@dataclasses.dataclass(frozen=True)
class ComputedSplit:
    """A split of samples whose classes come in turn.

    Parameters
    ----------
    before
        The shares of the splits before it.
    share
        Its own; None for the last split.
    classes
        How many classes there are.
    n
        Samples of the whole dataset.
    """

    before: tuple[Share, ...]
    share: Share | None
    classes: int
    n: int

    @classmethod
    def of(cls, splits: Mapping[str, float], name: str, classes: int, n: int) -> ComputedSplit:
        """Return the split of that name, a key of `splits`."""
        code, shares = list(splits).index(name), _shares(splits)
        share = shares[code] if code < len(shares) else None
        return cls(tuple(shares[:code]), share, classes, n)

    def __len__(self) -> int:
        """How many samples it holds."""
        return int(self.below(np.array([self.n], dtype=np.int64))[0])

    def indices(self, positions: Numbers) -> Numbers:
        """Return the indices of its samples at some positions."""
        groups, within = np.divmod(positions, self.classes)
        if self.share is not None:
            a, b = self.share
            groups = -((b - 2 * b * (groups + 1)) // (2 * a)) - 1
        for a, b in reversed(self.before):
            groups = (2 * b * groups + b) // (2 * (b - a))
        return groups * self.classes + within

    def below(self, indices: Numbers) -> Numbers:
        """Return how many of its samples come before each index."""
        groups, within = np.divmod(indices, self.classes)
        whole, next_whole = self._groups(groups), self._groups(groups + 1)
        return whole * self.classes + np.where(next_whole > whole, within, 0)

    def _groups(self, groups: Numbers) -> Numbers:
        """Return how many of the first `groups` it takes."""
        for share in self.before:
            groups = groups - _taken(share, groups)
        return groups if self.share is None else _taken(self.share, groups)


class ListedSplit:
    """A split that follows no rule.

    Parameters
    ----------
    indices
        Its samples, ascending.
    """

    def __init__(self, indices: Numbers) -> None:
        self._indices = indices

    def __len__(self) -> int:
        """How many samples it holds."""
        return len(self._indices)

    def indices(self, positions: Numbers) -> Numbers:
        """Return the indices of its samples at some positions."""
        return self._indices[positions]

    def below(self, indices: Numbers) -> Numbers:
        """Return how many of its samples come before each index."""
        return np.searchsorted(self._indices, indices)
