r"""How likely each class is, given the modes of an image.

Standardizing makes a component's amplitude unknown: each that varies noticeably is integrated over,
uniformly in its logarithm, or normally (`gpgen.observer.amplitudes`). That ignores that a
component's power is fixed: where that matters, `gpgen.observer.standardized` has the density.

For one component of covariance A against the rest, B, the generalized eigenvectors V, with
:math:`V^T B V = 1` and :math:`V^T A V = D`, make every amplitude cheap:

.. math:: -2 \ln p(x | a) = \ln \det B + \sum_i \left[\ln(1 + a^2 d_i)
          + \frac{(V^T x)_i^2}{1 + a^2 d_i}\right] + const.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg

from gpgen.observer.amplitudes import COUNTS, ERROR, Amplitude, integrated
from gpgen.observer.class_modes import ClassModes, ComponentModes
from gpgen.observer.simulation import SeenImages

__all__ = ["against", "information", "log_likelihood"]

Array = npt.NDArray[np.float64]

Weighted = Sequence[tuple[float, ComponentModes]]
"""Components, each after its squared amplitude."""

_REACH: Final = 3.0
"""Standard deviations of an amplitude's logarithm to either side."""

_REACH_ALONE: Final = 5.0
"""Of a lone component, for which the integral over all amplitudes is exact."""


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
    varied = [
        _amplitude(components[k], components, noise, spreads[k], first=k == order[0]) for k in order
    ]
    of_main, *of_others = (
        np.zeros(1) if amplitude is None else amplitude.nodes for amplitude in varied
    )
    squared = np.exp(2 * of_main)
    weighted = [
        [(math.exp(2 * t), c) for t, c in zip(logarithms, others, strict=True)]
        for logarithms in itertools.product(*of_others)
    ]
    values = _of_single(main, squared, weighted, noise, images)
    for k, block in enumerate(images.blocks):
        for place, rest in enumerate(weighted):
            values[:, :, place] += _of_block(k, block, main, squared, rest, noise)
    known = [amplitude for amplitude in varied if amplitude is not None]
    return integrated(-0.5 * values.reshape(len(values), *(len(a.nodes) for a in known)), known)


def _amplitude(
    component: ComponentModes, all_of: ClassModes, noise: float, spread: float, *, first: bool
) -> Amplitude | None:
    """Return what an amplitude is integrated over, or None where it makes no difference.

    The logarithm of the first is uniform: the modes know it better than its distribution does. Of
    the others it is normal, as a sum of squares of many modes is.
    """
    told = information(component, all_of, noise)
    if spread**2 * told < COUNTS:
        return None
    reach = (_REACH_ALONE if len(all_of) == 1 else _REACH) * spread
    return Amplitude(reach, max(told, 1.0), None if first else component.spread, ERROR)


def information(component: ComponentModes, all_of: ClassModes, noise: float) -> float:
    """Return the Fisher information about a component's log amplitude, modes independent."""
    whole = sum(c.single for c in all_of) + noise
    told = 2 * float(np.sum((component.single / whole) ** 2))
    for k, block in enumerate(component.blocks):
        diagonal = sum(c.blocks[k].diagonal() for c in all_of) + noise
        told += 2 * float(np.sum((block.diagonal() / diagonal) ** 2))
    return told


def _of_single(
    main: ComponentModes,
    squared: Array,
    others: Sequence[Weighted],
    noise: float,
    images: SeenImages,
) -> Array:
    """Return -2 log densities of single modes: one component's squared amplitudes by the others'.

    Shape (images, amplitudes, others).
    """
    rests = [sum((a * c.single for a, c in each), np.full(len(main.single), noise))
             for each in others]  # fmt: skip
    variances = np.outer(main.single, squared)[:, :, None] + np.stack(rests, axis=1)[:, None]
    inverse = (1 / variances).astype(np.float32)
    total: Array = np.tensordot(images.squares, inverse, 1).astype(np.float64)
    total += np.log(variances).sum(axis=0)
    return total


def _of_block(
    number: int,
    block: Array,
    main: ComponentModes,
    squared: Array,
    others: Weighted,
    noise: float,
) -> Array:
    """Return -2 log densities of a block, shape (images, amplitudes)."""
    base = sum((a * c.blocks[number] for a, c in others), noise * np.eye(block.shape[1]))
    values, vectors, log_det = against(main.blocks[number], base)
    widened = 1 + np.outer(values, squared)
    found: Array = (block @ vectors) ** 2 @ (1 / widened) + np.log(widened).sum(axis=0) + log_det
    return found


def against(matrix: Array, base: Array) -> tuple[Array, Array, float]:
    """Return generalized eigenvalues and vectors, and the base's log determinant."""
    lower = scipy.linalg.cholesky(base, lower=True, check_finite=False)
    half = scipy.linalg.solve_triangular(lower, matrix, lower=True, check_finite=False)
    white = scipy.linalg.solve_triangular(lower, half.T, lower=True, check_finite=False)
    values, vectors = np.linalg.eigh((white + white.T) / 2)
    back = scipy.linalg.solve_triangular(lower.T, vectors, lower=False, check_finite=False)
    log_det = 2 * float(np.log(lower.diagonal()).sum())
    return np.maximum(values, 0.0), back, log_det
