"""The smallest torus on which a kernel is drawn exactly, or what would fit."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from gpgen.errors import RecipeError
from gpgen.exact.reproducible_fft import LARGEST_PRIME
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.stationary import SpectralKernel
from gpgen.exact.texture import length_scale_name
from gpgen.exact.torus import Torus
from gpgen.exact.torus_size import TORUS_FACTORS, ImageGrid, sizes_for, transformable

__all__ = ["LARGEST_COVARIANCE_ERROR", "MOST_POINTS", "torus_for"]

LARGEST_COVARIANCE_ERROR: Final = 1e-6

MOST_POINTS: Final = 2**27
"""Of a torus: 1 GB an array."""

_SMALL: Final = {1: 1024, 2: 96, 3: 24}
"""Pixels of the longest axis of a small image, by the number of axes. What fits depends on the
ratio of length-scale and image: it is found on a small one before it is tried on the image."""


@lru_cache(maxsize=64)
def torus_for(kernel: ScaledKernel, grid: ImageGrid) -> Torus:
    """Choose a torus on which the covariance is drawn to within 1e-6.

    Parameters
    ----------
    kernel
        The kernel.
    grid
        The image.

    Raises
    ------
    RecipeError
        If none is exact that is up to four times as long as the image.
    """
    for pixels, closed in zip(grid.pixels, grid.periodic, strict=True):
        if closed and not transformable(pixels):
            raise RecipeError(
                f"a periodic axis of {pixels} pixels has a prime factor above {LARGEST_PRIME}, "
                f"and kernel {kernel.family.name!r} can't be drawn on it",
                f"use {_transformable_from(pixels)} pixels",
            )
    torus, error = _best(kernel, grid)
    if torus is not None:
        return torus
    size = "x".join(map(str, grid.pixels))
    scale = length_scale_name(kernel.lengths if len(set(kernel.lengths)) > 1 else kernel.lengths[0])
    what = f"kernel {kernel.family.name!r} with length-scale {scale} px on {size} px"
    if error == math.inf:
        raise RecipeError(
            f"{what} needs a torus of more than {MOST_POINTS} points",
            "use a shorter length-scale or a smaller image",
        )
    fitting = _what_fits(kernel, grid)
    closed_axes = any(grid.periodic)
    hints = [f"use a length-scale of at most {fitting:g} px"] if fitting else []
    if fitting:
        larger = (math.ceil(n * max(kernel.lengths) / fitting) for n in grid.pixels)
        hints.append(f"about {'x'.join(map(str, larger))} px")
    if closed_axes:
        hints.append('boundary = "open"' if hints else 'use boundary = "open"')
    raise RecipeError(
        f"{what} would be drawn with a covariance wrong by {error:.1e}, more than 1e-6, on any "
        "torus",
        ", or ".join(hints) or "use another kernel",
    )


def _best(kernel: ScaledKernel, grid: ImageGrid) -> tuple[Torus | None, float]:
    """Return the first torus that is exact, or None and the smallest error of any."""
    least, tried = math.inf, set()
    for factor in TORUS_FACTORS:
        sizes = sizes_for(kernel, grid, factor)
        if sizes in tried or math.prod(sizes) > MOST_POINTS:
            continue
        tried.add(sizes)
        torus = Torus(kernel, grid, sizes)
        # It is the variance's error but for the rounding of the root, some 1e-8 of it.
        if torus.negative_part > 1.1 * LARGEST_COVARIANCE_ERROR:
            least = min(least, torus.negative_part)
            continue
        if torus.covariance_error <= LARGEST_COVARIANCE_ERROR:
            return torus, torus.covariance_error
        least = min(least, torus.covariance_error)
    return None, least


def _what_fits(kernel: ScaledKernel, grid: ImageGrid) -> float | None:
    """Return nearly the largest length-scale that fits, in pixels; None if none does."""
    if isinstance(kernel.family, SpectralKernel):
        return None
    shrunk = min(1.0, _SMALL[len(grid.pixels)] / max(grid.pixels))
    if all(grid.periodic):  # a torus of the image's size takes little time
        shrunk = 1.0
    pixels = tuple(
        _transformable_from(max(2, round(n * shrunk))) if closed else max(2, round(n * shrunk))
        for n, closed in zip(grid.pixels, grid.periodic, strict=True)
    )
    low = _bisect(kernel.scaled(shrunk), ImageGrid(pixels, grid.periodic))
    # On the image itself pixels are smaller beside a length-scale, which may cost some of it.
    for step in (0.96, 0.96, 0.9, 0.9, 0.8):
        low *= step
        if low and _best(kernel.scaled(low), grid)[0] is not None:
            return math.floor(low * max(kernel.lengths) * 100) / 100
    return None


def _bisect(kernel: ScaledKernel, grid: ImageGrid) -> float:
    """Return the largest part of the length-scales that fits, to 1/256; 0 if none does."""
    low, high = 0.0, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        fits = _best(kernel.scaled(middle), grid)[0] is not None
        low, high = (middle, high) if fits else (low, middle)
    return low


def _transformable_from(pixels: int) -> int:
    while not transformable(pixels):
        pixels += 1
    return pixels
