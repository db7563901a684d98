r"""Integrals over amplitudes that nobody knows, for many images at once.

The logarithm of a likelihood, as a function of the logarithm t of an amplitude, is a sum over modes
of :math:`-\tfrac12 [x^2 / (s e^{2t} + r) + \ln(s e^{2t} + r)]`. It has no singularity within
:math:`\pi / 2` of the real axis, so a polynomial through a few Chebyshev nodes is close to it
(L. N. Trefethen, Approximation Theory and Approximation Practice, 2013, chapter 8), whether the
likelihood itself is wide or has a peak far narrower than the nodes are apart. The integral is that
of the polynomial's exponential, by sums on a grid which is finer than the peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BarycentricInterpolator
from scipy.special import logsumexp

__all__ = ["COUNTS", "ERROR", "Amplitude", "integrated"]

Array = npt.NDArray[np.float64]

COUNTS: Final = 0.01
"""The product of an amplitude's variance and Fisher's information below which it is known."""

ERROR: Final = 0.1
"""Of the polynomials in the amplitudes, about: differences of two classes are within 0.03."""

_FEWEST_NODES: Final = 3

_STEPS_A_WIDTH: Final = 1.6
"""Of the grid, in a standard deviation of a likelihood's peak: the sums are exact to 1e-8."""

_FEWEST_STEPS: Final = 16

_IMAGES: Final = 256
"""Images that are integrated at once, to save memory."""


@dataclass(frozen=True)
class Amplitude:
    """An amplitude that varies from image to image.

    Parameters
    ----------
    reach
        How far its logarithm is looked at to either side of 0.
    information
        Fisher's, of an image about the logarithm, at least 1.
    deviation
        Of the logarithm, where it is normally distributed; None where it is uniform.
    error
        Of a log-likelihood between the nodes, about.
    """

    reach: float
    information: float
    deviation: float | None
    error: float = 0.01

    @property
    def nodes(self) -> Array:
        """Logarithms at which a likelihood is to be known, shape (nodes,)."""
        # Polynomials converge like the ellipse's axes that reaches the singularity.
        away = math.pi / 2 / self.reach
        rate = math.log(away + math.hypot(away, 1.0))
        count = max(_FEWEST_NODES, math.ceil(math.log(2 * self.information / self.error) / rate))
        nodes: Array = self.reach * np.cos((np.arange(count) + 0.5) * math.pi / count)
        return nodes

    @property
    def grid(self) -> Array:
        """Logarithms over which a likelihood is summed, shape (steps + 1,)."""
        width = 1 / math.sqrt(self.information)
        steps = max(_FEWEST_STEPS, math.ceil(2 * self.reach / width * _STEPS_A_WIDTH))
        return np.linspace(-self.reach, self.reach, steps + 1)

    @property
    def onto_grid(self) -> Array:
        """Takes values at the nodes to those on the grid, shape (steps + 1, nodes)."""
        matrix: Array = BarycentricInterpolator(self.nodes, np.eye(len(self.nodes)))(self.grid)
        return matrix

    def integral(self, values: Array) -> Array:
        """Integrate over the amplitude.

        Parameters
        ----------
        values
            Log-likelihoods at the nodes, along the last axis.

        Returns
        -------
        ndarray of float64
            The logarithms of the integrals of the likelihoods: one axis less.
        """
        grid = self.grid
        weights = np.zeros(len(grid))
        if self.deviation is not None:
            weights = -0.5 * (grid / self.deviation) ** 2
        weights[[0, -1]] -= math.log(2)
        weights -= logsumexp(weights)
        found: Array = np.asarray(logsumexp(values @ self.onto_grid.T + weights, axis=-1))
        return found


def integrated(values: Array, amplitudes: Sequence[Amplitude]) -> Array:
    """Return the logarithms of likelihoods integrated over amplitudes, the last one first.

    Parameters
    ----------
    values
        Log-likelihoods, shape (images, nodes of the first amplitude, nodes of the second, ...).
    amplitudes
        Each axis's after the first. Those that are known best belong at the end: their integrals
        are smooth functions of the others.

    Returns
    -------
    ndarray of float64, shape (images,)
    """
    found = []
    for start in range(0, len(values), _IMAGES):
        some = values[start : start + _IMAGES]
        for amplitude in reversed(amplitudes):
            some = amplitude.integral(some)
        found.append(some)
    return np.concatenate(found)
