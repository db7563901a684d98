r"""How likely each class is, given the modes of an image whose components are standardized.

A standardized component lies on a sphere, :math:`|g|^2 = P`. Its direction is that of a normal
vector of covariance K (the angular central Gaussian: Tyler, Biometrika 74, 1987, 579), so that its
density is that of a normal vector on the sphere, over all amplitudes,

.. math:: p(g) = 2P \int N(g; 0, a^2 K) \, \delta(|g|^2 - P) \, da/a,

and a sum x of components and noise has, without any approximation, the density

.. math:: p(x) = \int N\bigl(x; 0, \textstyle\sum_c a_c^2 K_c + \sigma^2\bigr) \,
          p\bigl(|g_c|^2 = P_c \text{ for all } c \mid x, a\bigr) \, \prod_c 2 P_c \, da_c/a_c .

The second factor is that of `gpgen.observer.powers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from gpgen.observer.amplitudes import COUNTS, ERROR, Amplitude
from gpgen.observer.class_modes import ClassModes
from gpgen.observer.likelihood import information, log_likelihood
from gpgen.observer.powers import log_density_of_powers, modes_and_powers
from gpgen.observer.simulation import SeenImages

__all__ = ["log_density"]

Array = npt.NDArray[np.float64]

_REACH: Final = 4.0
"""Standard deviations of an amplitude's logarithm to either side."""

_AT_ONCE: Final = 2**16
"""Numbers on the grids of all images that are integrated at once."""


def log_density(components: ClassModes, noise: float, images: SeenImages) -> Array:
    """Return the logarithm of the density of images in one class, up to a constant of all classes.

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
    unknown: dict[int, tuple[Amplitude, float]] = {}
    for number in sorted(range(len(components)), key=lambda k: -components[k].spread):
        spread, power = components[number].spread, components[number].power
        told = information(components[number], components, noise)
        if power is not None and told * spread**2 >= COUNTS:
            amplitude = Amplitude(_REACH * spread, max(told, 1.0) + spread**-2, None, ERROR)
            unknown[number] = amplitude, power
    if not unknown:
        return log_likelihood(components, noise, images, [0.0] * len(components))
    chosen = list(unknown)
    amplitudes, powers = zip(*unknown.values(), strict=True)
    nodes = [each.nodes for each in amplitudes]
    moments = modes_and_powers(components, chosen, nodes, noise, images)
    cells = math.prod(len(each.grid) for each in amplitudes)
    step = max(1, _AT_ONCE // cells)
    return np.concatenate(
        [
            _integrated(moments[start : start + step], amplitudes, powers)
            for start in range(0, len(moments), step)
        ]
    )


def _integrated(moments: Array, unknown: Sequence[Amplitude], powers: Sequence[float]) -> Array:
    """Return the logarithm of the integral over all amplitudes, shape (images,)."""
    for axis, amplitude in enumerate(unknown, start=2):
        moved = np.tensordot(amplitude.onto_grid, moments, axes=(1, axis))
        moments = np.moveaxis(moved, 0, axis)
    values = log_density_of_powers(moments[:, 1:], powers) - 0.5 * moments[:, 0]
    for amplitude in reversed(unknown):
        grid = amplitude.grid
        widths = np.full(len(grid), math.log(2 * (grid[1] - grid[0])))
        widths[[0, -1]] -= math.log(2)
        values = np.asarray(logsumexp(values + widths, axis=-1))
    return values
