"""A kernel with its length-scales and its angle: the covariance of one component."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpgen.exact.reproducible_fft import cos_sin_degrees
from gpgen.exact.stationary import SpectralKernel, Stationary, reach

__all__ = ["ScaledKernel", "root_of_squares"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScaledKernel:
    """A kernel with its length-scales: what the covariance of a component is.

    Parameters
    ----------
    family
        The kernel for length-scale 1.
    lengths
        Its length-scale along each axis, in pixels.
    angle
        Degrees by which the first two axes of the kernel are turned, from the image's first axis
        towards its second.
    """

    family: Stationary | SpectralKernel
    lengths: tuple[float, ...]
    angle: float = 0.0

    @property
    def is_rotated(self) -> bool:
        """Whether a covariance depends on the signs of distances."""
        return self.angle % 90 != 0 and len(set(self.lengths)) > 1

    def scaled(self, factor: float) -> ScaledKernel:
        """Return the same kernel with all length-scales multiplied."""
        return ScaledKernel(
            self.family, tuple(factor * length for length in self.lengths), self.angle
        )

    def extents(self) -> tuple[float, ...]:
        """Return how far along each axis the covariance is above 1e-7, in pixels."""
        assert not isinstance(self.family, SpectralKernel)  # noqa: S101 - narrows the type
        far = reach(self.family)
        lengths = self.lengths
        if len(lengths) == 2:
            c, s = cos_sin_degrees(self.angle)
            lengths = tuple(
                math.sqrt((a * c) * (a * c) + (b * s) * (b * s))
                for a, b in (lengths, lengths[::-1])
            )
        return tuple(far * length for length in lengths)

    def norm(self, axes: tuple[Array, ...], inverse: bool = False) -> Array:
        """Return lengths of vectors in length-scales.

        Parameters
        ----------
        axes
            A vector's components, broadcast against each other.
        inverse
            Multiply by the length-scales, which suits frequencies, and don't divide.
        """
        if len(axes) == 2 and self.angle != 0:
            c, s = cos_sin_degrees(self.angle)
            axes = (axes[0] * c + axes[1] * s, axes[1] * c - axes[0] * s)
        parts = [
            x * length if inverse else x / length
            for x, length in zip(axes, self.lengths, strict=True)
        ]
        return root_of_squares(parts)


def root_of_squares(parts: Sequence[Array]) -> Array:
    """Return the root of the sum of the parts' squares, in an order that doesn't change."""
    squares = parts[0] * parts[0]
    for part in parts[1:]:
        squares = squares + part * part
    return np.sqrt(squares)


def _hypotenuse(a: float, b: float) -> float:
    return math.sqrt(a * a + b * b)
