r"""Stationary kernels: each by its covariance or its spectrum, the same on every machine.

Distances are given in length-scales: :math:`r = \sqrt{\sum_i d_i^2 / l_i^2}`, with the distance
d and the length-scale l of each axis in pixels. A covariance is 1 at r = 0. Only ``+ - * /``, the
square root, and the exponential and logarithm of `gpgen.exact.fixed_point` are used, since those
of a C library or of NumPy differ in the last bit between machines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.exact import fixed_point
from gpgen.exact.bessel import matern_of_any_smoothness

__all__ = [
    "STATIONARY",
    "Exponential",
    "Gaussian",
    "Matern",
    "PowerLaw",
    "RationalQuadratic",
    "SpectralKernel",
    "Stationary",
    "White",
    "reach",
]

Array = npt.NDArray[np.float64]


class Stationary(Protocol):
    """A kernel without its length-scale."""

    @property
    def name(self) -> str:
        """What recipes call it."""
        ...

    def __hash__(self) -> int: ...

    def covariance(self, r: Array) -> Array:
        """Return the covariance at a distance in length-scales; 1 at 0, and falling."""
        ...


@runtime_checkable
class SpectralKernel(Protocol):
    """A kernel that is defined by its spectrum on the torus that it is drawn on.

    Its covariance is the Fourier sum of the spectrum, divided by its value at 0.
    """

    @property
    def name(self) -> str:
        """What recipes call it."""
        ...

    def __hash__(self) -> int: ...

    def spectrum(self, k: Array, per_pixel: Array) -> Array:
        """Return the power of the waves of a frequency, up to a factor, 0 for the mean.

        Parameters
        ----------
        k
            The frequency in cycles a length-scale: the root of the sum over the axes of the
            squares of cycles a pixel times pixels a length-scale.
        per_pixel
            The frequency in cycles a pixel.
        """
        ...


@dataclass(frozen=True)
class Gaussian:
    r"""The squared exponential kernel where it isn't drawn axis by axis, as when it is rotated.

    .. math:: k(r) = \exp(-r^2 / 2)

    `gpgen.exact.kernels.RBF`, which says more, is the same. The length-scale is that of
    scikit-learn's and GPyTorch's `RBF`; `gstools.Gaussian` calls it `len_scale` with
    ``rescale=2**-0.5``. Source: C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for
    Machine Learning", 2006, equation 4.9.
    """

    name: ClassVar[str] = "rbf"

    def covariance(self, r: Array) -> Array:  # noqa: D102
        return _exp(-0.5 * (r * r))


@dataclass(frozen=True)
class Matern:
    r"""The Matérn kernel: a field that is differentiable fewer than `smoothness` times.

    .. math:: k(r) = \frac{2^{1 - \nu}}{\Gamma(\nu)} (\sqrt{2\nu} r)^\nu K_\nu(\sqrt{2\nu} r)

    with the closed forms, for :math:`\nu` = 1/2, 3/2 and 5/2 and :math:`t = \sqrt{2\nu} r`,

    .. math:: e^{-t}, \quad (1 + t) e^{-t}, \quad (1 + t + t^2 / 3) e^{-t}.

    Length-scale and smoothness are those of scikit-learn's `Matern` (`length_scale`, `nu`) and
    GPyTorch's `MaternKernel` (`lengthscale`, `nu`); of `gstools.Matern` they are `len_scale` with
    ``rescale=2**0.5``, and `nu`. Source: Rasmussen and Williams, equations 4.14 to 4.17.

    Parameters
    ----------
    smoothness
        nu, 0.1 to 10.
    """

    name: ClassVar[str] = "matern"

    smoothness: float

    def __post_init__(self) -> None:
        _require("matern", "smoothness", self.smoothness, 0.1, 10)

    def covariance(self, r: Array) -> Array:  # noqa: D102
        t = r * math.sqrt(2 * self.smoothness)
        if self.smoothness == 0.5:
            return _exp(-t)
        if self.smoothness == 1.5:
            return (1 + t) * _exp(-t)
        if self.smoothness == 2.5:
            return (1 + t + t * t / 3) * _exp(-t)
        return matern_of_any_smoothness(self.smoothness, t)


@dataclass(frozen=True)
class Exponential:
    r"""The exponential kernel, Matérn's of smoothness 1/2: a rough field.

    .. math:: k(r) = e^{-r}

    The length-scale is that of scikit-learn's `Matern` and GPyTorch's `MaternKernel` with
    ``nu=0.5``, and `len_scale` of `gstools.Exponential`. Source: Rasmussen and Williams,
    equation 4.18 with gamma = 1.
    """

    name: ClassVar[str] = "exponential"

    def covariance(self, r: Array) -> Array:  # noqa: D102
        return _exp(-r)


@dataclass(frozen=True)
class RationalQuadratic:
    r"""The rational quadratic kernel: Gaussian kernels of many length-scales, mixed.

    .. math:: k(r) = \left(1 + \frac{r^2}{2 \alpha}\right)^{-\alpha}

    Length-scale and alpha are those of scikit-learn's `RationalQuadratic` (`length_scale`,
    `alpha`), GPyTorch's `RQKernel` (`lengthscale`, `alpha`) and `gstools.Rational` (`len_scale`
    with ``rescale=2**-0.5``, `alpha`). Source: Rasmussen and Williams, equation 4.19.

    Parameters
    ----------
    alpha
        0.1 to 100; the larger, the closer to the Gaussian.
    """

    name: ClassVar[str] = "rational-quadratic"

    alpha: float

    def __post_init__(self) -> None:
        _require("rational-quadratic", "alpha", self.alpha, 0.1, 100)

    def covariance(self, r: Array) -> Array:  # noqa: D102
        return _exp(-self.alpha * fixed_point.log(1 + r * r / (2 * self.alpha)))


@dataclass(frozen=True)
class White:
    r"""White noise, a nugget: independent pixels.

    .. math:: k(r) = 1 \text{ if } r = 0, \text{ otherwise } 0

    It has no length-scale; a recipe gives it the length-scale 1, a pixel. scikit-learn's
    `WhiteKernel`, `gstools.Nugget`, the noise of a GPyTorch likelihood.
    """

    name: ClassVar[str] = "white"

    def covariance(self, r: Array) -> Array:  # noqa: D102
        independent: Array = (r == 0).astype(np.float64)
        return independent


@dataclass(frozen=True)
class PowerLaw:
    r"""A power-law spectrum between an outer and an inner scale: clouds, terrain, turbulence.

    .. math:: S(k) \propto (k^2 + k_0^2)^{-\beta / 2} \exp(-(k l_i)^2)

    where :math:`k_0 = 1 / l` is one cycle an outer scale, without the mean (k = 0), on the
    frequencies of the torus: as large as a periodic axis, twice as large as an open one. The
    length-scale is the outer scale l; waves longer than it have equal power, and 1e9 px leaves
    none of them. `gstools` and scikit-learn don't have it; rfgen's spectra of exponent
    :math:`-\beta` are those without scales. Source: T. von Kármán, "Progress in the statistical
    theory of turbulence", PNAS 34, 1948, page 530; the factor for the inner scale is Tatarskii's,
    "Wave Propagation in a Turbulent Medium", 1961.

    Parameters
    ----------
    exponent
        beta, above 0 and at most 10. A self-affine surface of Hurst exponent H on n axes has
        beta = 2 H + n.
    inner_scale
        l_i in pixels, of all axes alike; waves shorter than it are damped. 0 for none; at most the
        image's longest axis.
    """

    name: ClassVar[str] = "power-law"

    exponent: float
    inner_scale: float = 0.0

    def __post_init__(self) -> None:
        _require("power-law", "exponent", self.exponent, 0.01, 10)
        _require("power-law", "inner_scale", self.inner_scale, 0, 1e6)

    def spectrum(self, k: Array, per_pixel: Array) -> Array:  # noqa: D102
        power = _exp(-0.5 * self.exponent * fixed_point.log(k * k + 1))
        damped = per_pixel * self.inner_scale
        power = power * _exp(-(damped * damped))
        without_mean: Array = np.where(per_pixel == 0, 0.0, power)
        return without_mean


STATIONARY: Final[dict[str, type[Stationary | SpectralKernel]]] = {
    kernel.name: kernel
    for kernel in (Gaussian, Matern, Exponential, RationalQuadratic, PowerLaw, White)
}
"""The kernels that a recipe may name."""

_NEGLIGIBLE: Final = 1e-7


@lru_cache(maxsize=256)
def reach(kernel: Stationary) -> float:
    """Return the distance in length-scales from which on the covariance is at most 1e-7."""
    near, far = 0.0, 1.0
    while not _negligible_beyond(kernel, far):
        near, far = far, 2 * far
        if far > 1e9:
            return math.inf
    for _ in range(20):
        middle = (near + far) / 2
        if _negligible_beyond(kernel, middle):
            far = middle
        else:
            near = middle
    return far


def _negligible_beyond(kernel: Stationary, distance: float) -> bool:
    # Up to three times as far, since a covariance may pass through 0 and come back.
    beyond = kernel.covariance(distance * np.arange(64, 193, dtype=np.float64) / 64)
    return bool(np.abs(beyond).max() <= _NEGLIGIBLE)


def _exp(x: Array) -> Array:
    """Return e**x; of x below -700, where it is 1e-304, that."""
    return fixed_point.exp(np.maximum(x, -700.0))


def _require(kernel: str, key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RecipeError(
            f"kernel {kernel!r}: {key} {value} is out of range", f"use {low} to {high}"
        )
