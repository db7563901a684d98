"""The same fields from other people's packages, each called as its manual says.

All draw the kernel ``exp(-r**2 / (2 l**2))`` with unit variance. A package that
isn't installed is left out.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PACKAGES", "gaussianfft_field", "gstools_field", "installed", "powerbox_field"]

Draw = Callable[[], NDArray[Any]]


def installed(name: str) -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec(name) is not None


def gaussianfft_field(side: int, length_scale: float, seed: int = 0) -> Draw:
    """C++ with its own padding and FFT; its range R means ``exp(-3 (r / R)**2)``."""
    import gaussianfft

    reach = length_scale * math.sqrt(6)
    variogram = gaussianfft.variogram("gaussian", reach, reach)
    gaussianfft.seed(seed)

    def draw() -> NDArray[Any]:
        flat: NDArray[Any] = gaussianfft.simulate(variogram, side, 1.0, side, 1.0)
        return flat.reshape(side, side)  # transposed, which an isotropic field doesn't mind

    return draw


def powerbox_field(side: int, length_scale: float, seed: int = 0) -> Draw:
    """A periodic field (it offers no other) from the power spectrum, computed once."""
    import powerbox

    def power(k: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2 * math.pi * length_scale**2 * np.exp(-0.5 * (k * length_scale) ** 2)

    shape = (side, side)
    size = (float(side), float(side))
    box = powerbox.PowerBox(shape=shape, pk=power, size=size, nthreads=1, seed=seed)
    amplitude = np.sqrt(box.power_array())
    return lambda: box.delta_x(amplitude * box.gauss_hermitian())


def gstools_field(side: int, length_scale: float, seed: int = 0) -> Draw:
    """A sum of 1000 random waves, its default: right on average over many draws only."""
    import gstools

    gstools.config.NUM_THREADS = 1
    model = gstools.Gaussian(dim=2, var=1.0, len_scale=length_scale, rescale=math.sqrt(0.5))
    field = gstools.SRF(model)
    axis = np.arange(side, dtype=np.float64)
    seeds = itertools.count(seed)
    return lambda: field.structured((axis, axis), seed=next(seeds))


PACKAGES: dict[str, Callable[[int, float], Draw]] = {
    "gaussianfft": gaussianfft_field,
    "powerbox": powerbox_field,
    "gstools": gstools_field,
}
