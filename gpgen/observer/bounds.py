r"""The Bhattacharyya bound: a floor under the accuracy, from determinants alone.

Of two classes with the covariances A and B

.. math:: \ln \int \sqrt{p_A p_B} = \tfrac14 \ln\det A + \tfrac14 \ln\det B
          - \tfrac12 \ln\det \tfrac{A + B}{2},

half of which, exponentiated, the error of the ideal observer doesn't exceed; for more classes or
groups of them, the sum over all pairs that differ, each with its classes' probability (T. Kailath,
IEEE Transactions on Communication Technology 15, 1967, 52).

It is for normal densities. Standardized components have amplitudes that nobody knows: at their
usual amplitudes the figure bounds nothing, and the accuracy may be some hundredths below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.linalg

from gpgen.observer.class_modes import ClassModes

__all__ = ["coefficients", "least_accuracy"]

Array = npt.NDArray[np.float64]


def coefficients(classes: Sequence[ClassModes], noise: float) -> Array:
    """Return the Bhattacharyya coefficient of each pair of classes, at their usual amplitudes.

    Returns
    -------
    ndarray of float64, shape (classes, classes)
        1 for a class with itself.
    """
    totals = [_total(components, noise) for components in classes]
    own = [_log_det(*total) for total in totals]
    found = np.eye(len(classes))
    for i, j in itertools.combinations(range(len(classes)), 2):
        blocks = [(a + b) / 2 for a, b in zip(totals[i][0], totals[j][0], strict=True)]
        between = _log_det(blocks, (totals[i][1] + totals[j][1]) / 2)
        found[i, j] = found[j, i] = math.exp(min(0.0, (own[i] + own[j]) / 4 - between / 2))
    return found


def least_accuracy(overlap: Array, groups: Sequence[int]) -> float:
    """Return what the accuracy isn't below, for classes in groups that are to be told apart.

    Parameters
    ----------
    overlap
        What `coefficients` returned.
    groups
        The group of each class.
    """
    differ = np.not_equal.outer(groups, groups)
    error = float((overlap * differ).sum()) / 2 / len(groups)
    return max(1 / len(set(groups)), 1 - error)


def _total(components: ClassModes, noise: float) -> tuple[list[Array], Array]:
    blocks = [
        np.sum([c.blocks[k] for c in components], axis=0) + noise * np.eye(len(block))
        for k, block in enumerate(components[0].blocks)
    ]
    single: Array = np.sum([c.single for c in components], axis=0) + noise
    return blocks, single


def _log_det(blocks: Sequence[Array], single: Array) -> float:
    total = float(np.log(single).sum())
    for block in blocks:
        lower = scipy.linalg.cholesky(block, lower=True, check_finite=False)
        total += 2 * float(np.log(lower.diagonal()).sum())
    return total
