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

__all__ = ["log_likelihood"]

Array = npt.NDArray[np.float64]

_SPREAD_THAT_COUNTS: Final = 0.03
_REACH: Final = 3.0
"""Standard deviations of an amplitude's logarithm to either side."""

_NOTICED: Final = 1e-4
"""The part of a single mode's variance below which an amplitude makes no difference."""

_MOST_NODES: Final = (65, 9)
"""Amplitudes of the component that varies most, and of the next."""


def log_likelihood(
    components: ClassModes, noise: float, images: SeenImages, spreads: Sequence[float]
) -> Array:
    """Return the logarithm of the density of images in one class, up to a constant.

    Parameters
    ----------
    components
        The class.
    noise
        The variance of white noise in a pixel.
    images
        What is seen of them.
    spreads
        Of each component's log amplitude, the largest in any class: all classes are integrated
        over the same amplitudes, so that none gains by a shorter range.

    Returns
    -------
    ndarray of float64, shape (images,)
    """
    order = sorted(range(len(components)), key=lambda k: -spreads[k])
    main, *others = (components[k] for k in order)
    of_main, of_second = (
        _nodes(components[k], spreads[k], components, noise, most)
        for k, most in zip((order * 2)[:2], _MOST_NODES, strict=True)
    )
    if not others:
        of_second = np.ones(1)
    varied = [c for c, nodes in zip((main, *others[:1]), (of_main, of_second), strict=False)
              if len(nodes) > 1]  # fmt: skip
    whole = np.sum([c.single for c in components], axis=0) + noise
    affected = np.sum([c.single for c in varied], axis=0) > _NOTICED * whole
    alike = (images.squares[:, ~affected] @ _inverse(whole[~affected])).astype(np.float64)
    alike += np.log(whole[~affected]).sum()
    seen = SeenImages(images.blocks, images.squares[:, affected])
    terms = []
    for amplitude in of_second:
        weighted = [(amplitude**2 if k == 0 else 1.0, c) for k, c in enumerate(others)]
        terms.append(_given(main, of_main**2, weighted, affected, noise, seen))
    summed: Array = np.asarray(logsumexp(np.concatenate(terms, axis=1), axis=1))
    return summed - 0.5 * alike - math.log(len(of_main) * len(of_second))


def _information(component: ComponentModes, all_of: ClassModes, noise: float) -> float:
    """Return the Fisher information about a component's log amplitude, modes independent."""
    whole = sum(c.single for c in all_of) + noise
    information = 2 * float(np.sum((component.single / whole) ** 2))
    for k, block in enumerate(component.blocks):
        diagonal = sum(c.blocks[k].diagonal() for c in all_of) + noise
        information += 2 * float(np.sum((block.diagonal() / diagonal) ** 2))
    return information


def _nodes(
    component: ComponentModes, spread: float, all_of: ClassModes, noise: float, most: int
) -> Array:
    """Return amplitudes to sum over, no further apart than the likelihood is wide."""
    if spread < _SPREAD_THAT_COUNTS:
        return np.ones(1)
    reach = _REACH * spread
    width = 1 / math.sqrt(max(_information(component, all_of, noise), 1.0))
    steps = min(most - 1, max(4, math.ceil(2 * reach / width)))
    return np.exp(np.linspace(-reach, reach, steps + 1))


def _given(
    main: ComponentModes,
    squared: Array,
    others: Sequence[tuple[float, ComponentModes]],
    affected: npt.NDArray[np.bool_],
    noise: float,
    images: SeenImages,
) -> Array:
    """Return the log density by one component's squared amplitude, given those of the others.

    Of single modes the affected ones are meant. Shape (images, amplitudes).
    """
    rest = sum((a * c.single[affected] for a, c in others), np.full(affected.sum(), noise))
    variances = rest[:, None] + np.outer(main.single[affected], squared)
    total = (images.squares @ _inverse(variances)).astype(np.float64)
    total += np.log(variances).sum(axis=0)
    for k, block in enumerate(images.blocks):
        base = sum((a * c.blocks[k] for a, c in others), noise * np.eye(block.shape[1]))
        values, vectors, log_det = _against(main.blocks[k], base)
        widened = 1 + np.outer(values, squared)
        total += (block @ vectors) ** 2 @ (1 / widened) + np.log(widened).sum(axis=0) + log_det
    return -0.5 * total


def _inverse(variances: Array) -> npt.NDArray[np.float32]:
    return (1 / variances).astype(np.float32)


def _against(matrix: Array, base: Array) -> tuple[Array, Array, float]:
    """Return generalized eigenvalues and vectors, and the base's log determinant."""
    lower = scipy.linalg.cholesky(base, lower=True, check_finite=False)
    half = scipy.linalg.solve_triangular(lower, matrix, lower=True, check_finite=False)
    white = scipy.linalg.solve_triangular(lower, half.T, lower=True, check_finite=False)
    values, vectors = np.linalg.eigh((white + white.T) / 2)
    back = scipy.linalg.solve_triangular(lower.T, vectors, lower=False, check_finite=False)
    log_det = 2 * float(np.log(lower.diagonal()).sum())
    return np.maximum(values, 0.0), back, log_det
