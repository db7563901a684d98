r"""Marginals: what the values of a Gaussian field can be turned into, pixel by pixel.

Of a field with mean 0 and variance 1, whose correlation at some distance is :math:`\rho`, each of
these functions makes one with the mean, variance and correlation that stand beside it. They
are built of operations that are the same on every machine (`gpgen.exact.fixed_point`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.fixed_point import exp

__all__ = ["MARGINALS", "Marginal", "normal_distribution"]

Array = npt.NDArray[np.float64]

_BLOCK: Final = 4096
"""Values at a time: a few arrays of them stay in a core's first two caches."""


@dataclass(frozen=True)
class Marginal:
    """A function of a pixel's value.

    Parameters
    ----------
    function
        Of float64 values, one axis.
    mean, variance
        Of its values, for a standard normal number.
    correlation
        Of its values at two pixels, from the correlation and the variance of the Gaussian field.
    scales
        Whether the variance of the Gaussian field matters. If it doesn't, values are divided by
        their deviation before.
    """

    function: Callable[[Array], Array]
    mean: float
    variance: float
    correlation: Callable[[Array, float], Array]
    scales: bool = False

    def moments(self, weights: Sequence[Sequence[float]]) -> tuple[float, float]:
        """Return mean and variance of what becomes of a sum of Gaussian fields.

        Parameters
        ----------
        weights
            The weights that each field can have, as likely each.
        """
        if not self.scales:
            return self.mean, self.variance
        # The moments of exp(x) for x of variance w^2 are exp(w^2 / 2) and exp(2 w^2).
        mean, square = (
            math.prod(math.fsum(math.exp(c * w * w) for w in each) / len(each) for each in weights)
            for c in (0.5, 2.0)
        )
        return mean, square - mean * mean

    def apply(self, values: Array) -> Array:
        """Return what the function makes of each value: float64, the shape of `values`."""
        flat = values.reshape(-1)
        out = np.empty(flat.size)
        for start in range(0, flat.size, _BLOCK):
            out[start : start + _BLOCK] = self.function(flat[start : start + _BLOCK])
        return out.reshape(values.shape)


def _lognormal(x: Array) -> Array:
    return exp(np.clip(x, -700.0, 700.0))


def _threshold(x: Array) -> Array:
    return (x > 0).astype(np.float64)


# Rational approximations from W. J. Cody, "Rational Chebyshev approximation for the error
# function", Mathematics of Computation 23, 1969, pages 631 to 637; highest power first.
_ERF: Final = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_ERFC: Final = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
_FAR_ERFC: Final = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def normal_distribution(x: Array) -> Array:
    """Return the standard normal distribution function, the same everywhere.

    Parameters
    ----------
    x
        float64, one axis.

    Returns
    -------
    ndarray of float64, the shape of `x`
        To 1e-13, relative, of itself for negative and of one for positive x.
    """
    t = np.clip(np.abs(x) * math.sqrt(0.5), 0.0, 26.0)  # erfc(26) is 6e-296
    upper = np.empty_like(t)  # erfc(t)
    near = t <= 0.46875
    s = t[near]
    upper[near] = 1 - s * _ratio(_ERF, s * s)
    middle = ~near & (t <= 4)
    s = t[middle]
    upper[middle] = exp(-(s * s)) * _ratio(_ERFC, s)
    far = t > 4
    s = t[far]
    inverse = 1 / (s * s)
    tail = (math.sqrt(1 / math.pi) - inverse * _ratio(_FAR_ERFC, inverse)) / s
    upper[far] = exp(-(s * s)) * tail
    return np.where(x < 0, 0.5 * upper, 1 - 0.5 * upper)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    numerator, denominator = (np.full_like(x, c[0]) for c in coefficients)
    for above, below in zip(*(c[1:] for c in coefficients), strict=True):
        numerator = numerator * x + above
        denominator = denominator * x + below
    return numerator / denominator


MARGINALS: Final = {
    "lognormal": Marginal(
        _lognormal,
        mean=math.exp(0.5),
        variance=math.exp(2) - math.exp(1),
        correlation=lambda r, variance: np.expm1(r * variance) / math.expm1(variance),
        scales=True,
    ),
    "uniform": Marginal(
        normal_distribution,
        mean=0.5,
        variance=1 / 12,
        correlation=lambda r, _: 6 / math.pi * np.arcsin(r / 2),
    ),
    "threshold": Marginal(
        _threshold,
        mean=0.5,
        variance=0.25,
        correlation=lambda r, _: 2 / math.pi * np.arcsin(r),
    ),
}
"""What a recipe's `transform` may be: exp(x), the normal distribution function of x, and 1 where
x > 0 and 0 elsewhere."""
