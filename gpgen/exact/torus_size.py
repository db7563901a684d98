"""How large a torus must be that an image is cut from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gpgen.exact.reproducible_fft import LARGEST_PRIME, prime_factors
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.stationary import SpectralKernel

__all__ = ["TORUS_FACTORS", "ImageGrid", "sizes_for", "transformable"]

TORUS_FACTORS: Final = (2.25, 2.5, 3.0, 4.0)
"""How many times as long as an open axis a torus may be, in the order of trying."""


@dataclass(frozen=True)
class ImageGrid:
    """The pixels of an image.

    Parameters
    ----------
    pixels
        Pixels of each axis.
    periodic
        Which axes are closed.
    """

    pixels: tuple[int, ...]
    periodic: tuple[bool, ...]


def transformable(size: int) -> bool:
    """Return whether a periodic axis of this many pixels can be transformed."""
    return max(prime_factors(size), default=1) <= LARGEST_PRIME


@lru_cache(maxsize=1024)
def _smooth_from(size: float) -> int:
    """Return the smallest even number without prime factors above 5 that isn't below `size`."""
    candidate = 2 * math.ceil(size / 2)
    while max(prime_factors(candidate)) > 5:
        candidate += 2
    return candidate


def sizes_for(kernel: ScaledKernel, grid: ImageGrid, factor: float) -> tuple[int, ...]:
    """Return a torus's sizes.

    Parameters
    ----------
    kernel
        The kernel.
    grid
        The image.
    factor
        How many times as long as an open axis the torus may be, one of `TORUS_FACTORS`.

    Returns
    -------
    tuple of int
        Of a periodic axis its pixels. Of an open one the least at which the covariance one way
        round has run down to 1e-7, or `factor` times its pixels where that is less; twice its
        pixels for a kernel that is defined by its spectrum.
    """
    if isinstance(kernel.family, SpectralKernel):
        return tuple(
            n if closed else _smooth_from(2 * n)
            for n, closed in zip(grid.pixels, grid.periodic, strict=True)
        )
    return tuple(
        n if closed else _smooth_from(min(n + far, factor * n))
        for n, closed, far in zip(grid.pixels, grid.periodic, kernel.extents(), strict=True)
    )
