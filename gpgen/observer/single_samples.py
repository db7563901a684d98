"""What an audit looks for sample by sample: repeats, clipping, labels, dependence, pixels."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Dependence", "Extremes", "Labels", "Repeats"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_NAMED: Final = 1000
"""Samples that are kept by name."""

_MOST_LAGS: Final = 16


class Repeats:
    """Finds equal images by 64 bits of their hashes: 16 bytes of memory a sample."""

    def __init__(self) -> None:
        self._hashes: list[Hashes] = []
        self._indices: list[Numbers] = []

    def add(self, hashes: Hashes, indices: Numbers) -> None:
        """Take note of images."""
        self._hashes.append(hashes)
        self._indices.append(indices)

    def pairs(self) -> list[tuple[int, int]]:
        """Return pairs of samples that are equal, each after the first with the one before."""
        hashes, indices = np.concatenate(self._hashes), np.concatenate(self._indices)
        order = np.lexsort((indices, hashes))
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        pairs = [(int(indices[order[k]]), int(indices[order[k + 1]])) for k in again]
        return sorted(pairs)


class Extremes:
    """Counts different images whose largest, or smallest, pixel is that of all.

    Parameters
    ----------
    grain
        What pixels are at least rounded to, as a part of their deviation.
    """

    RATE: Final = 20.0
    """More than the rate, a deviation, at which images with a larger maximum become fewer."""

    def __init__(self, grain: float) -> None:
        self._chance = min(1.0, self.RATE * grain)
        self.value = [-math.inf, -math.inf]
        self._shared: list[set[int]] = [set(), set()]

    def add(self, largest: Images, smallest: Images, hashes: Hashes) -> None:
        """Look at images' extreme pixels."""
        for side, extremes in enumerate((largest, -smallest)):
            for extreme, image in zip(extremes.tolist(), hashes.tolist(), strict=True):
                if extreme > self.value[side]:
                    self.value[side] = extreme
                    self._shared[side] = {image}
                elif extreme == self.value[side] and len(self._shared[side]) < _NAMED:
                    self._shared[side].add(image)

    def shared(self, side: int) -> int:
        """How many images share the largest (0) or smallest (1) value."""
        return len(self._shared[side])

    def p_value(self, side: int) -> float:
        """Bound the probability that so many do by chance."""
        return float(self._chance ** (self.shared(side) - 1))


class Labels:
    r"""Finds single images that look like another class than their label's.

    With the logarithm t of the ratio of likelihoods, another class's to the label's, true
    densities have :math:`P(t > x) \le e^{-x}`. These are approximate, so the largest t among the
    images drawn for comparison is where the tail begins, and it falls half as fast as theirs: with
    the rate 1/2, or half the reciprocal of the mean excess over their upper tenth if that is less.

    Parameters
    ----------
    classes
        How many there are.
    """

    def __init__(self, classes: int) -> None:
        self._largest = np.zeros(classes)
        self._rate = np.full(classes, 0.5)
        self.confusion = np.zeros((classes, classes), dtype=np.int64)
        """By label and most likely class, audited images."""
        self.drawn_confusion = np.zeros((classes, classes), dtype=np.int64)
        self._found: list[tuple[float, int, int, int]] = []
        self._count = 0

    def compare_with(self, log_likelihoods: Array, label: int) -> None:
        """Take note of all images of one class that were drawn for comparison."""
        np.add.at(self.drawn_confusion[label], log_likelihoods.argmax(axis=1), 1)
        others = np.delete(log_likelihoods, label, axis=1)
        if others.shape[1]:
            odds = others.max(axis=1) - log_likelihoods[:, label]
            self._largest[label] = max(0.0, float(odds.max()))
            upper = np.quantile(odds, 0.9)
            excess = float((odds[odds > upper] - upper).mean()) if (odds > upper).any() else 0.0
            self._rate[label] = 0.5 / max(1.0, excess)

    def add(self, log_likelihoods: Array, label: int, indices: Numbers) -> None:
        """Look at audited images of one class."""
        self._count += len(indices)
        likely = log_likelihoods.argmax(axis=1)
        np.add.at(self.confusion[label], likely, 1)
        rows = np.arange(len(indices))
        odds = log_likelihoods[rows, likely] - log_likelihoods[:, label]
        unlikely = (odds - self._largest[label]) * self._rate[label]
        for k in np.flatnonzero(unlikely > 0):
            self._found.append((float(unlikely[k]), int(indices[k]), label, int(likely[k])))
        self._found = sorted(self._found, reverse=True)[:_NAMED]

    def p_value(self) -> float:
        """Bound the probability of the most unlikely label, times the number of images."""
        return self._p(self._found[0][0]) if self._found else 1.0

    def _p(self, unlikely: float) -> float:
        return min(1.0, self._count * math.exp(-unlikely))

    def unlikely(self, below: float) -> list[tuple[int, int, int]]:
        """Return samples with labels less likely than p: sample, label, what it looks like."""
        return sorted(each[1:] for each in self._found if self._p(each[0]) < below)


class Dependence:
    r"""Whether images that follow each other are correlated.

    Each image may as well have the opposite sign. So, given their sizes, the products d of
    neighbours' directions have random signs, and :math:`P(|\sum d| > z \sqrt{\sum d^2}) \le
    2 e^{-z^2/2}` (W. Hoeffding, Journal of the American Statistical Association 58, 1963, 13).

    Parameters
    ----------
    classes
        The neighbours are those of the same class, too.
    """

    def __init__(self, classes: int) -> None:
        self.lags = sorted({*range(1, min(classes, _MOST_LAGS) + 1), classes})
        self._last: deque[Array] = deque(maxlen=max(self.lags))
        self.sums = dict.fromkeys(self.lags, 0.0)
        self._squares = dict.fromkeys(self.lags, 0.0)
        self._next = 0

    def add(self, directions: Array, positions: Numbers) -> None:
        """Look at images in the dataset's order, shape (images, modes)."""
        for position, direction in zip(positions.tolist(), directions, strict=True):
            if position != self._next:
                self._last.clear()
            self._next = position + 1
            for lag in self.lags:
                if lag <= len(self._last):
                    product = float(self._last[-lag] @ direction)
                    self.sums[lag] += product
                    self._squares[lag] += product * product
            self._last.append(direction)

    def p_value(self, lag: int) -> float:
        """Bound the probability of so large a sum."""
        squares = self._squares[lag]
        if squares == 0:
            return 1.0
        return min(1.0, 2 * math.exp(-(self.sums[lag] ** 2) / squares / 2))
