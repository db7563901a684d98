r"""Common changes of length-scales and variances, where each image has length-scales of its own.

With the derivative s of each image's log-likelihood by the logarithms of length-scales and
variances, and its covariance F in theory (Whittle's), :math:`(\sum F)^{-1} \sum s` is one step of
maximum likelihood: exact to first order for length-scales, and for variances in which the power is
linear. What the approximation shifts is that of images drawn for comparison, and is taken off.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.observer.fitting import ClassFit
from gpgen.observer.measures import Measured

__all__ = ["Scores"]

Array = npt.NDArray[np.float64]

_LEAST: Final = 1e-4


class Scores:
    """Sums of scores and of their covariances, by class.

    Parameters
    ----------
    classes, parameters
        How many there are.
    """

    def __init__(self, classes: int, parameters: int) -> None:
        self.counts = np.zeros(classes, dtype=np.int64)
        self._scores = np.zeros((classes, parameters))
        self._information = np.zeros((classes, parameters, parameters))

    def add(self, label: int, measured: Measured, which: npt.NDArray[np.int64]) -> None:
        """Add images of one class."""
        self.counts[label] += len(which)
        self._scores[label] += measured.scores[which].sum(axis=0)
        self._information[label] += measured.information[which].sum(axis=0)

    def fit(self, label: int, drawn: Scores) -> ClassFit:
        """Return how a class differs from images drawn for comparison."""
        both = self._information[label] + drawn._information[label]
        n, m = int(self.counts[label]), int(drawn.counts[label])
        known = np.flatnonzero(np.diag(both) > 1e-6 * (n + m))
        found, errors = np.zeros(len(both)), np.full(len(both), np.inf)
        if len(known):
            inverse = np.linalg.pinv(both[np.ix_(known, known)] / (n + m), hermitian=True)
            mean = self._scores[label] / n - drawn._scores[label] / m
            found[known] = inverse @ mean[known]
            errors[known] = np.sqrt(np.maximum(np.diag(inverse), 0.0) * (1 / n + 1 / m))
        count = len(found) // 2
        variances = [math.log(max(1 + each, _LEAST)) for each in found[count:].tolist()]
        return ClassFit(
            tuple(found[:count].tolist()),
            tuple(variances),
            tuple(errors[:count].tolist()),
            tuple(errors[count:].tolist()),
        )
