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

import itertools
import math
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.observer.class_modes import ClassModes
from gpgen.observer.likelihood import against
from gpgen.observer.simulation import SeenImages

__all__ = ["log_density_of_powers", "modes_and_powers"]

Array = npt.NDArray[np.float64]

_LEAST_REST: Final = 1e-9
"""Of a power's variance that other powers leave: rounding alone makes it smaller."""


def _pairs(count: int) -> list[tuple[int, int]]:
    """Return the places of a symmetrical matrix's lower half, row by row."""
    return [(i, j) for i in range(count) for j in range(i + 1)]


def modes_and_powers(
    components: ClassModes,
    chosen: Sequence[int],
    logarithms: Sequence[Array],
    noise: float,
    images: SeenImages,
) -> Array:
    """Return the density of images' modes, and mean and covariance of components' powers.

    Parameters
    ----------
    components
        The class.
    chosen
        Those components whose powers are asked for, at least one.
    logarithms
        Of the amplitudes at which they are, for each of them. The first ones are the cheapest.
    noise
        The variance of white noise in a pixel.
    images
        What is seen of them.

    Returns
    -------
    ndarray of float64, shape (images, 1 + chosen + pairs, amplitudes of the first, second, ...)
        -2 times the logarithm of the density, up to a constant. The logarithms of the powers'
        means. Of their relative covariance matrix the lower half, row by row: the logarithms of
        variances, and correlations. All are smooth functions of the amplitudes' logarithms, in
        which they may be interpolated.
    """
    order = [*chosen, *(k for k in range(len(components)) if k not in chosen)]
    ordered = [components[k] for k in order]
    known = [np.zeros(1)] * (len(order) - len(chosen))
    squared = [np.exp(2 * each) for each in (*logarithms, *known)]
    rests = list(itertools.product(*squared[1:]))
    pairs = _pairs(len(chosen))
    found = _of_single(ordered, pairs, squared[0], rests, noise, images)
    for k, block in enumerate(images.blocks):
        for place, rest in enumerate(rests):
            others = [a * c.blocks[k] for a, c in zip(rest, ordered[1:], strict=True)]
            found[..., place] += _of_block(
                block, ordered[0].blocks[k], squared[0], others, pairs, noise
            )
    means, covariances = found[:, 1 : 1 + len(chosen)], found[:, 1 + len(chosen) :]
    deviations = [np.sqrt(covariances[:, k]) for k, (c, d) in enumerate(pairs) if c == d]
    for k, (c, d) in enumerate(pairs):
        if c == d:
            covariances[:, k] = 2 * np.log(deviations[c] / means[:, c])
        else:
            covariances[:, k] /= deviations[c] * deviations[d]
    np.log(means, out=means)
    return found.reshape(*found.shape[:2], *map(len, logarithms))


def _of_single(
    components: ClassModes,
    pairs: Sequence[tuple[int, int]],
    squared: Array,
    rests: Sequence[Sequence[float]],
    noise: float,
    images: SeenImages,
) -> Array:
    """Return what single modes tell, and what is expected of modes that nobody looks at.

    Shape (images, 1 + chosen + pairs, amplitudes, rests).
    """
    single = np.stack([c.single for c in components])
    chosen = pairs[-1][0] + 1
    shape = (1 + chosen + len(pairs), len(squared), len(rests))
    weights = np.empty((single.shape[1], *shape), np.float32)
    constant = np.empty(shape)
    for place in itertools.product(range(len(squared)), range(len(rests))):
        amplitudes = np.array([squared[place[0]], *rests[place[1]]])
        own = amplitudes[:, None] * single
        total = own.sum(axis=0) + noise
        share = own / total
        weights[:, 0, *place] = 1 / total
        constant[0, *place] = np.log(total).sum()
        for c in range(chosen):
            weights[:, 1 + c, *place] = share[c] ** 2
            unseen = amplitudes[c] * components[c].unseen
            constant[1 + c, *place] = own[c] @ (1 - share[c]) + unseen
        for row, (c, d) in enumerate(pairs, start=1 + chosen):
            left = own[c] * ((c == d) - share[d])
            weights[:, row, *place] = 4 * share[c] * share[d] * left
            unseen = amplitudes[c] ** 2 * components[c].unseen_squares if c == d else 0.0
            constant[row, *place] = 2 * (left @ left + unseen)
    found: Array = np.tensordot(images.squares, weights, 1).astype(np.float64)
    found += constant
    return found


def _of_block(
    block: Array,
    main: Array,
    squared: Array,
    others: Sequence[Array],
    pairs: Sequence[tuple[int, int]],
    noise: float,
) -> Array:
    r"""Return what a block's modes tell, shape (images, 1 + chosen + pairs, amplitudes).

    With the generalized eigenvectors U of the first component, A, against the rest, B,
    :math:`U^T B U = 1` and :math:`U^T A U = D`, all is diagonal but for the products of the
    matrices :math:`W_1 = B U` and :math:`W_c = A_c U`: with :math:`z = U^T x` and
    :math:`f = 1 / (1 + a^2 D)`

    .. math:: m_1 = W_1 (1 - f) z, \quad m_c = W_c f z, \quad
              V_{11} = W_1 (1 - f) W_1^T, \quad V_{1c} = -W_1 (1 - f) W_c^T, \quad
              V_{cd} = \delta_{cd} A_c - W_c f W_d^T.
    """
    chosen = pairs[-1][0] + 1
    base = np.sum(others, axis=0) + noise * np.eye(block.shape[1])
    values, vectors, log_det = against(main, base)
    ways = [base @ vectors, *(other @ vectors for other in others[: chosen - 1])]
    products = [way.T @ way for way in ways]
    of_way = [way.T.astype(np.float32) for way in ways]
    thirds = [np.einsum("ij,ij->j", w, o @ w) for w, o in zip(ways[1:], others, strict=False)]
    white = block @ vectors
    found = np.empty((len(block), 1 + chosen + len(pairs), len(squared)))
    for place, amplitude in enumerate(squared):
        rest = 1 / (1 + amplitude * values)
        shares = [1 - rest, *(rest for _ in ways[1:])]
        found[:, 0, place] = white**2 @ rest + log_det - np.log(rest).sum()
        lengths = []
        for c, (share, product) in enumerate(zip(shares, products, strict=True)):
            image = _squares((white * share).astype(np.float32) @ of_way[c])
            if c:
                expected, total = share @ product.diagonal(), np.trace(others[c - 1])
            else:
                total = amplitude * values @ product.diagonal()
                expected = total - share @ product.diagonal()
            lengths.append(np.sqrt(image / max(expected, sys.float_info.min)))
            found[:, 1 + c, place] = image + total - expected
        for row, (c, d) in enumerate(pairs, start=1 + chosen):
            # Of the posterior covariance: its squares, and its product with the prior one.
            squares = shares[d] @ (products[c] * products[d]) @ shares[d]
            own = 0.0
            if c == d == 0:
                own = shares[0] @ products[0] ** 2 @ (amplitude * values)
            elif c == d:
                whole = float(np.sum(others[c - 1] ** 2))
                own = whole - rest @ thirds[c - 1]
                squares += whole - 2 * rest @ thirds[c - 1]
            found[:, row, place] = 2 * squares + 4 * (own - squares) * lengths[c] * lengths[d]
    return found


def _squares(rows: npt.NDArray[np.float32]) -> Array:
    found: Array = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    return found


def log_density_of_powers(moments: Array, powers: Sequence[float]) -> Array:
    """Return the logarithm of the density with which components have certain powers.

    Parameters
    ----------
    moments
        Of the powers, as `modes_and_powers` returns them after the density: shape (images,
        powers + pairs, ...).
    powers
        What they are.

    Returns
    -------
    ndarray of float64, shape (images, ...)
        Of the powers' logarithms.
    """
    count = len(powers)
    pairs = _pairs(count)
    # Of cube roots, relative to that of the mean: Cholesky's factor, element by element.
    scales = [
        np.exp(moments[:, k] / 2) / 3 for k, (i, j) in enumerate(pairs, start=count) if i == j
    ]
    lower: dict[tuple[int, int], Array] = {}
    apart: list[Array] = []
    total = np.zeros((len(moments), *moments.shape[2:]))
    for k, (i, j) in enumerate(pairs, start=count):
        correlation = 1.0 if i == j else moments[:, k]
        rest = correlation - sum(lower[i, n] * lower[j, n] for n in range(j))
        if i != j:
            lower[i, j] = rest / lower[j, j]
            continue
        lower[i, i] = np.sqrt(np.maximum(rest, _LEAST_REST))
        root = np.exp((math.log(powers[i]) - moments[:, i]) / 3)
        deviation = (root - 1 + scales[i] ** 2) / scales[i]
        deviation -= sum(lower[i, n] * apart[n] for n in range(i))
        apart.append(deviation / lower[i, i])
        width = 3 * math.sqrt(2 * math.pi) * scales[i] * lower[i, i]
        total += np.log(root / width) - 0.5 * apart[i] ** 2
    return total
