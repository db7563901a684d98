"""Covariance functions of stationary Gaussian processes.

A kernel that separates over the axes also gives its convolution root: the
function ``g`` whose convolution with itself is the covariance along one axis.
White noise smoothed with ``g`` is then a realization. A kernel that does not
separate has no `root`, and needs another way of sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

from gpgen.exact.fixed_point import exp

__all__ = ["KERNELS", "RBF", "SeparableKernel"]

Array = npt.NDArray[np.float64]


class SeparableKernel(Protocol):
    """One axis of a kernel that is a product of one-dimensional kernels."""

    def __hash__(self) -> int: ...

    @property
    def length_scale(self) -> float:
        """The length-scale, in pixels."""
        ...

    def covariance(self, distance: Array) -> Array:
        """Return the covariance at a distance along the axis, in pixels; 1 at 0."""
        ...

    def root(self, distance: Array, spacing: float) -> Array:
        """Return the convolution root for white noise at points `spacing` pixels apart.

        The sum over the points u of ``root(x - u) * root(x' - u)`` is ``covariance(x - x')``
        for every x and x', so far as the points are close enough (`oversampling`) and the
        root is taken far enough (`reach`). Bit for bit the same on every machine.
        """
        ...

    @property
    def oversampling(self) -> float:
        """Noise points a length-scale that make the sum exact to 1e-7."""
        ...

    @property
    def reach(self) -> float:
        """Length-scales beyond which the root carries less than 1e-7."""
        ...


@dataclass(frozen=True)
class RBF:
    r"""The squared exponential kernel, also called Gaussian or radial basis function.

    .. math:: k(d) = \exp\left(-\frac{d^2}{2 l^2}\right)

    It separates, since the exponents of the axes add. Its convolution root is a Gaussian of
    variance half as large, and for noise points h apart

    .. math:: g(d) = \left(\frac{2}{\pi}\right)^{1/4} \sqrt{\frac{h}{l}}
              \exp\left(-\frac{d^2}{l^2}\right).

    By Poisson's summation formula the sum over the points differs from the integral by
    :math:`2 \exp(-\pi^2 l^2 / 2 h^2)` times a cosine: 5e-8 for l/h = 1.89. Cutting the root
    off at distance R leaves out at most about :math:`\exp(-R^2/l^2)`.

    Parameters
    ----------
    length_scale
        l, in pixels.
    """

    name: ClassVar[str] = "rbf"
    oversampling: ClassVar[float] = 1.89
    reach: ClassVar[float] = 4.0

    length_scale: float

    def covariance(self, distance: Array) -> Array:  # noqa: D102
        return np.exp(-0.5 * (distance / self.length_scale) ** 2)

    def root(self, distance: Array, spacing: float) -> Array:  # noqa: D102
        scaled = distance / self.length_scale
        norm = math.sqrt(math.sqrt(2 / math.pi)) * math.sqrt(spacing / self.length_scale)
        return norm * exp(-(scaled * scaled))


KERNELS: Final[dict[str, type[RBF]]] = {RBF.name: RBF}
"""The kernels that a recipe may name."""
