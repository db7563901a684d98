r"""What an image's modes tell of the powers of its components.

At known amplitudes :math:`a_c` the modes x are a sum of normal vectors :math:`g_c` of the
covariances :math:`a_c^2 K_c` and of noise. Given x, the components are normal again,

.. math:: m_c = A_c S^{-1} x, \qquad V_{cd} = \delta_{cd} A_c - A_c S^{-1} A_d, \qquad
          A_c = a_c^2 K_c, \quad S = \textstyle\sum_c A_c + \sigma^2,

and their powers :math:`|g_c|^2` are quadratic forms, of mean :math:`|m_c|^2 + \mathrm{tr} V_{cc}`
and covariance :math:`2\,\mathrm{tr}(V_{cd} V_{dc}) + 4\,m_c^T V_{cd}\, m_d`. The cube root of such
a form is nearly normal (Wilson and Hilferty, Proceedings of the National Academy of Sciences 17,
1931, 684), even of few modes.

The covariance's last term costs more than all else together. In a block it is taken as its mean
over images of covariance S, :math:`4\,\mathrm{tr}(V_{cd} (\delta_{cd} A_c - V_{dc}))`, times how
far the image's own :math:`|m_c|\,|m_d|` is from theirs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.linalg

from gpgen.observer.class_modes import ClassModes
from gpgen.observer.simulation import SeenImages

__all__ = ["log_density_of_powers", "modes_and_powers"]

Array = npt.NDArray[np.float64]


def _pairs(count: int) -> list[tuple[int, int]]:
    """Return the places of a symmetrical matrix's lower half, row by row."""
    return [(i, j) for i in range(count) for j in range(i + 1)]


def modes_and_powers(
    components: ClassModes,
    chosen: Sequence[int],
    amplitudes: Array,
    noise: float,
    images: SeenImages,
) -> Array:
    """Return the density of images' modes, and mean and covariance of components' powers.

    Parameters
    ----------
    components
        The class.
    chosen
        Those components whose powers are asked for.
    amplitudes
        Of all components, shape (rows, components).
    noise
        The variance of white noise in a pixel.
    images
        What is seen of them.

    Returns
    -------
    ndarray of float64, shape (images, 1 + chosen + pairs, rows)
        -2 times the logarithm of the density, up to a constant; the powers' means; the lower half
        of their covariance matrix, row by row.
    """
    pairs = _pairs(len(chosen))
    found = _of_single(components, chosen, pairs, amplitudes, noise, images)
    for k, block in enumerate(images.blocks):
        for row, each in enumerate(amplitudes):
            covariances = [a * a * c.blocks[k] for a, c in zip(each, components, strict=True)]
            found[:, :, row] += _of_block(block, covariances, chosen, pairs, noise)
    return found


def _of_single(
    components: ClassModes,
    chosen: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    amplitudes: Array,
    noise: float,
    images: SeenImages,
) -> Array:
    """Return what single modes tell, and expect of the modes that nobody looks at."""
    single = np.stack([c.single for c in components])
    first = 1 + len(chosen)
    weights = np.empty((single.shape[1], first + len(pairs), len(amplitudes)), np.float32)
    constant = np.empty((first + len(pairs), len(amplitudes)))
    for row, each in enumerate(amplitudes):
        own = (each**2)[:, None] * single
        total = own.sum(axis=0) + noise
        weights[:, 0, row] = 1 / total
        constant[0, row] = np.log(total).sum()
        share = own / total
        for place, c in enumerate(chosen, start=1):
            weights[:, place, row] = share[c] ** 2
            constant[place, row] = (own[c] * (1 - share[c])).sum()
            constant[place, row] += each[c] ** 2 * components[c].unseen
        for place, (i, j) in enumerate(pairs, start=first):
            c, d = chosen[i], chosen[j]
            left = own[c] * ((i == j) - share[d])
            weights[:, place, row] = 4 * share[c] * share[d] * left
            constant[place, row] = 2 * (left @ left)
            if i == j:
                constant[place, row] += 2 * each[c] ** 4 * components[c].unseen_squares
    found: Array = np.tensordot(images.squares, weights, 1).astype(np.float64)
    found += constant
    return found


def _of_block(
    block: Array,
    covariances: Sequence[Array],
    chosen: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    noise: float,
) -> Array:
    """Return what a block's modes tell, shape (images, 1 + chosen + pairs)."""
    total = np.sum(covariances, axis=0) + noise * np.eye(block.shape[1])
    lower = scipy.linalg.cholesky(total, lower=True, check_finite=False)
    white = scipy.linalg.solve_triangular(lower, block.T, lower=True, check_finite=False).T
    found = np.empty((len(block), 1 + len(chosen) + len(pairs)))
    found[:, 0] = _squares(white) + 2 * np.log(lower.diagonal()).sum()
    halves = [
        scipy.linalg.solve_triangular(lower, covariances[c], lower=True, check_finite=False)
        for c in chosen
    ]
    lengths = []
    for place, (c, half) in enumerate(zip(chosen, halves, strict=True), start=1):
        squares, expected = _squares(white @ half), float(np.sum(half * half))
        lengths.append(np.sqrt(squares / max(expected, sys.float_info.min)))
        found[:, place] = squares + np.trace(covariances[c]) - expected
    for place, (i, j) in enumerate(pairs, start=1 + len(chosen)):
        left = -halves[i].T @ halves[j]
        last = 0.0
        if i == j:
            left += covariances[chosen[i]]
            last = float(np.sum(left * covariances[chosen[i]]))
        squares = float(np.sum(left * left))
        found[:, place] = 2 * squares + 4 * (last - squares) * lengths[i] * lengths[j]
    return found


def _squares(rows: Array) -> Array:
    found: Array = np.einsum("ij,ij->i", rows, rows)
    return found


def log_density_of_powers(moments: Array, powers: Sequence[float]) -> Array:
    """Return the logarithm of the density with which components have certain powers.

    Parameters
    ----------
    moments
        Means, and the lower half of the covariance matrix: shape (images, powers + pairs, ...).
    powers
        What they are.

    Returns
    -------
    ndarray of float64, shape (images, ...)
        Of the powers' logarithms.
    """
    count = len(powers)
    means = [moments[:, i] for i in range(count)]
    lower: dict[tuple[int, int], Array] = {}
    apart: list[Array] = []
    total = np.zeros((len(moments), *moments.shape[2:]))
    for place, (i, j) in enumerate(_pairs(count), start=count):
        # Of cube roots, relative to that of the mean: Cholesky's factor, element by element.
        covariance = moments[:, place] / (9 * means[i] * means[j])
        rest = covariance - sum(lower[i, k] * lower[j, k] for k in range(j))
        if i != j:
            lower[i, j] = rest / lower[j, j]
            continue
        lower[i, i] = np.sqrt(np.maximum(rest, 1e-12 * covariance))
        root = np.cbrt(powers[i] / means[i])
        deviation = root - 1 + covariance
        deviation -= sum(lower[i, k] * apart[k] for k in range(i))
        apart.append(deviation / lower[i, i])
        total += np.log(root / (3 * math.sqrt(2 * math.pi) * lower[i, i])) - 0.5 * apart[i] ** 2
    return total
