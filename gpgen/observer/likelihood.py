r"""How likely each class is, given the modes of an image.

Standardizing makes a component's amplitude unknown. Its direction in the space of images has the
density that a normal vector of covariance K has when it is integrated over all amplitudes a,
:math:`\int N(x; 0, a^2 K) \, da/a`, the angular central Gaussian distribution (Tyler, Biometrika
74, 1987, 579). So each amplitude that varies noticeably is integrated over, uniformly in its
logarithm: by sums, of the two components that vary most.

For one component of covariance A against the rest, B, the generalized eigenvectors V, with
:math:`V^T B V = 1` and :math:`V^T A V = D`, make every amplitude cheap:

.. math:: -2 \ln p(x | a) = \ln \det B + \sum_i \left[\ln(1 + a^2 d_i)
          + \frac{(V^T x)_i^2}{1 + a^2 d_i}\right] + const.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.special import logsumexp

from gpgen.observer.class_modes import ClassModes, ComponentModes
from gpgen.observer.simulation import SeenImages

__all__ = ["log_likelihood", "relative_information"]

Array = npt.NDArray[np.float64]

_SPREAD_THAT_COUNTS: Final = 0.03
_REACH: Final = 3.0
"""Standard deviations of an amplitude's logarithm to either side."""

_MOST_NODES: Final = (65, 7)
"""Amplitudes of the component that varies most, and of the next."""


def log_likelihood(components: ClassModes, noise: float, images: SeenImages) -> Array:
    """Return the logarithm of the density of images in one class, up to a constant.

    Parameters
    ----------
    components
        The class.
    noise
        The variance of white noise in a pixel.
    images
        What is seen of them.

    Returns
    -------
    ndarray of float64, shape (images,)
    """
    order = sorted(range(len(components)), key=lambda k: -components[k].spread)
    main, *others = (components[k] for k in order)
    amplitudes = _nodes(main, components, noise, _MOST_NODES[0])
    of_second = _nodes(others[0], components, noise, _MOST_NODES[1]) if others else np.ones(1)
    terms = [
        _given(main, amplitudes, [(float(a), others[0]), *((1.0, c) for c in others[1:])]
               if others else [], noise, images)
        for a in of_second
    ]  # fmt: skip
    summed: Array = logsumexp(np.concatenate(terms, axis=1), axis=1)
    return summed - math.log(len(amplitudes) * len(of_second))


def relative_information(component: ComponentModes, all_of: ClassModes, noise: float) -> float:
    """Return the Fisher information about a component's log amplitude, modes independent."""
    whole = sum(c.single for c in all_of) + noise
    information = 2 * float(np.sum((component.single / whole) ** 2))
    for k, block in enumerate(component.blocks):
        diagonal = sum(c.blocks[k].diagonal() for c in all_of) + noise
        information += 2 * float(np.sum((block.diagonal() / diagonal) ** 2))
    return information


def _nodes(component: ComponentModes, all_of: ClassModes, noise: float, most: int) -> Array:
    """Return amplitudes to sum over, no further apart than the likelihood is wide."""
    if component.spread < _SPREAD_THAT_COUNTS:
        return np.ones(1)
    reach = _REACH * component.spread
    width = 1 / math.sqrt(max(relative_information(component, all_of, noise), 1.0))
    steps = min(most - 1, max(4, math.ceil(2 * reach / width)))
    return np.exp(np.linspace(-reach, reach, steps + 1))


def _given(
    main: ComponentModes,
    amplitudes: Array,
    others: Sequence[tuple[float, ComponentModes]],
    noise: float,
    images: SeenImages,
) -> Array:
    """Return the log density by amplitude of one component, given the others' amplitudes.

    Shape (images, amplitudes).
    """
    squared = amplitudes**2
    rest = sum((a * a * c.single for a, c in others), np.full(len(main.single), noise))
    variances = rest[:, None] + main.single[:, None] * squared
    total = images.squares @ (1 / variances).astype(np.float32) + np.log(variances).sum(axis=0)
    total = total.astype(np.float64)
    for k, block in enumerate(images.blocks):
        base = sum((a * a * c.blocks[k] for a, c in others), noise * np.eye(block.shape[1]))
        values, vectors, log_det = _against(main.blocks[k], base)
        seen = (block @ vectors) ** 2
        widened = 1 + np.outer(values, squared)
        total += seen @ (1 / widened) + np.log(widened).sum(axis=0) + log_det
    return -0.5 * total


def _against(matrix: Array, base: Array) -> tuple[Array, Array, float]:
    """Return generalized eigenvalues and vectors, and the base's log determinant."""
    lower = scipy.linalg.cholesky(base, lower=True, check_finite=False)
    half = scipy.linalg.solve_triangular(lower, matrix, lower=True, check_finite=False)
    white = scipy.linalg.solve_triangular(lower, half.T, lower=True, check_finite=False)
    values, vectors = np.linalg.eigh((white + white.T) / 2)
    back = scipy.linalg.solve_triangular(lower.T, vectors, lower=False, check_finite=False)
    log_det = 2 * float(np.log(lower.diagonal()).sum())
    return np.maximum(values, 0.0), back, log_det
