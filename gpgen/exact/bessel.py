r"""The Matérn kernel of any smoothness, the same on every machine.

It is a mixture of Gaussians (Rasmussen and Williams 2006, section 4.2.1),

.. math:: \frac{2^{1 - \nu}}{\Gamma(\nu)} t^\nu K_\nu(t)
          = \frac{1}{\Gamma(\nu)} \int_{-\infty}^\infty \exp(\nu u - e^u - t^2 e^{-u} / 4) du.

The trapezoidal rule converges geometrically, since the integrand is analytic in the strip
\|Im u\| < pi/2: steps of 0.2 leave e^(-49) (L. N. Trefethen and J. A. C. Weideman, "The
exponentially convergent trapezoidal rule", SIAM Review 56, 2014).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.fixed_point import exp, log

__all__ = ["matern_of_any_smoothness"]

Array = npt.NDArray[np.float64]

_STEP: Final = 0.2

# The kernel is tabulated at equal steps of log t, where it is smooth: a cubic through four
# neighbours is good to 1e-12.
_FIRST, _LAST, _SPACING = -28.0, 7.0, 1 / 512


def matern_of_any_smoothness(smoothness: float, t: Array) -> Array:
    """Return the Matérn kernel.

    Parameters
    ----------
    smoothness
        nu, 0.1 to 10.
    t
        Distance in length-scales times sqrt(2 nu), not negative.

    Returns
    -------
    ndarray of float64, the shape of `t`
        To 1e-11, absolutely.
    """
    table = _table(smoothness)
    inside = np.clip(t, 1e-12, 1090.0)
    position = (log(inside) - _FIRST) / _SPACING
    node = np.floor(position)
    x = position - node
    i = node.astype(np.int64)
    a, b, c, d = (table[i + k] for k in (-1, 0, 1, 2))
    value: Array = (
        a * (x * (x - 1) * (x - 2) / -6)
        + b * ((x + 1) * (x - 1) * (x - 2) / 2)
        + c * ((x + 1) * x * (x - 2) / -2)
        + d * ((x + 1) * x * (x - 1) / 6)
    )
    return np.where(t == 0, 1.0, value)


@lru_cache(maxsize=16)
def _table(smoothness: float) -> Array:
    count = round((_LAST - _FIRST) / _SPACING) + 1
    t = _exp(_FIRST + _SPACING * np.arange(count, dtype=np.float64))
    quarter = t * t / 4
    # Beyond both ends the terms are below e**-40 of the sum.
    u = _STEP * np.arange(25, -2001, -1, dtype=np.float64)
    weights = _exp(smoothness * u - _exp(u))
    total, values = 0.0, np.zeros(count)
    for weight, shrunk in zip(weights.tolist(), _exp(-u).tolist(), strict=True):
        total += weight
        reached = int(np.searchsorted(quarter, 700.0 / shrunk))
        values[:reached] += weight * _exp(-quarter[:reached] * shrunk)
    return values / total


def _exp(x: Array) -> Array:
    return exp(np.clip(x, -700.0, 700.0))
