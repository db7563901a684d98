"""The same fields from other people's packages, each called as its manual says.

All draw fields with unit variance and length-scale ``l`` pixels, of the kernels that
docs/kernels.md defines. A package that isn't installed is left out.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXPONENT", "MATERN", "PACKAGES", "Draw", "Package", "installed"]

Draw = Callable[[], NDArray[Any]]
Spectrum = Callable[[NDArray[np.float64]], NDArray[np.float64]]

MATERN = {"matern-1/2": 0.5, "matern-3/2": 1.5, "matern-5/2": 2.5}
ALPHA = 1.0  # of "rational-quadratic"
EXPONENT = 3.0  # of "power-law"


def installed(name: str) -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec(name) is not None


def spectral_density(kernel: str, length_scale: float) -> Spectrum:
    """The kernel's transform in the plane, of wavenumbers in radians a pixel."""
    if kernel == "rbf":
        return lambda k: 2 * math.pi * length_scale**2 * np.exp(-0.5 * (k * length_scale) ** 2)
    if kernel == "power-law":
        outer = length_scale / (2 * math.pi)
        return lambda k: (1 + (k * outer) ** 2) ** (-EXPONENT / 2)
    smoothness = MATERN[kernel]
    rate = 2 * smoothness / length_scale**2
    factor = 4 * math.pi * smoothness * rate**smoothness
    return lambda k: factor * (rate + k**2) ** -(smoothness + 1)


def power_law_variance(side: int, length_scale: float) -> float:
    """What the power law, which is of no unit, sums up to on the torus without its mean."""
    k = np.fft.fftfreq(side) * 2 * math.pi
    power = spectral_density("power-law", length_scale)(np.hypot(k[:, None], k))
    return float(power.sum() - power[0, 0]) / side**2


def gaussianfft_field(kernel: str, side: int, length_scale: float, seed: int = 0) -> Draw:
    """C++ with its own padding and FFT; its ranges are where the correlation is about 0.05."""
    import gaussianfft
    from scipy.optimize import brentq

    covariances: dict[str, tuple[str, Callable[[float], float]]] = {
        "rbf": ("gaussian", lambda r: math.exp(-r * r / 2)),
        "matern-1/2": ("exponential", lambda r: math.exp(-r)),
        "matern-3/2": ("matern32", lambda r: (1 + 3**0.5 * r) * math.exp(-(3**0.5) * r)),
        "matern-5/2": (
            "matern52",
            lambda r: (1 + 5**0.5 * r + 5 / 3 * r * r) * math.exp(-(5**0.5) * r),
        ),
    }
    name, covariance = covariances[kernel]
    at_range = gaussianfft.variogram(name, 1.0, 1.0).corr(1.0, 0.0)
    reach = length_scale * brentq(lambda r: covariance(r) - at_range, 1.0, 10.0, xtol=1e-12)
    variogram = gaussianfft.variogram(name, reach, reach)
    gaussianfft.seed(seed)

    def draw() -> NDArray[Any]:
        flat: NDArray[Any] = gaussianfft.simulate(variogram, side, 1.0, side, 1.0)
        return flat.reshape(side, side)  # transposed, which an isotropic field doesn't mind

    return draw


def powerbox_field(kernel: str, side: int, length_scale: float, seed: int = 0) -> Draw:
    """A periodic field (it offers no other) from the power spectrum, computed once."""
    import powerbox

    power = spectral_density(kernel, length_scale)
    shape = (side, side)
    size = (float(side), float(side))
    box = powerbox.PowerBox(shape=shape, pk=power, size=size, nthreads=1, seed=seed)
    amplitude = np.sqrt(box.power_array())
    if kernel == "power-law":
        amplitude /= math.sqrt(power_law_variance(side, length_scale))
    return lambda: box.delta_x(amplitude * box.gauss_hermitian())


def kspace_field(kernel: str, side: int, length_scale: float, seed: int = 0) -> Draw:
    """A periodic field of no mean (it offers no other) from the power spectrum, by Numba."""
    from kspace import GaussianRandomField, PowerSpectrum

    spectrum = PowerSpectrum(spectral_density(kernel, length_scale), ndim=2)
    if kernel == "power-law":
        spectrum.norm = 1 / power_law_variance(side, length_scale)
    field = GaussianRandomField([0, 0], [side, side], [side, side], spectrum, seed=seed)
    return field.generate_scalar_field_realization


def rfgen_field(kernel: str, side: int, length_scale: float, seed: int = 0) -> Draw:
    """A periodic field (it offers no other); the filter is computed at each call.

    Its power law is a plateau and a pure power law, with a corner between them.
    """
    import rfgen

    random = np.random.default_rng(seed)
    if kernel == "power-law":
        return lambda: rfgen.selfaffine_field(
            2, side, EXPONENT / 2 - 1, 1 / length_scale, 0.5, plateau=True, rng=random
        )
    lowest = 0.5 / side  # below the first mode: all of them, but for the mean
    smoothness = MATERN[kernel]
    return lambda: rfgen.matern_field(
        2, side, smoothness, length_scale, k_low=lowest, k_high=0.5, rng=random
    )


def gstools_field(kernel: str, side: int, length_scale: float, seed: int = 0) -> Draw:
    """A sum of 1000 random waves, its default: right on average over many draws only."""
    import gstools

    gstools.config.NUM_THREADS = 1
    unit: dict[str, Any] = {"dim": 2, "var": 1.0, "len_scale": length_scale}
    if kernel == "rbf":
        model = gstools.Gaussian(**unit, rescale=math.sqrt(0.5))
    elif kernel == "rational-quadratic":
        model = gstools.Rational(**unit, alpha=ALPHA, rescale=math.sqrt(0.5))
    else:
        model = gstools.Matern(**unit, nu=MATERN[kernel], rescale=math.sqrt(2))
    field = gstools.SRF(model)
    axis = np.arange(side, dtype=np.float64)
    seeds = itertools.count(seed)
    return lambda: field.structured((axis, axis), seed=next(seeds))


def diffgrf_field(kernel: str, side: int, length_scale: float, seed: int = 0) -> Draw:
    """GSTools' random waves, 1000 by default, in PyTorch; a generator is one sample."""
    import torch
    from diffgrf import DifferentiableGRF

    torch.set_num_threads(1)
    seeds = itertools.count(seed)

    def draw() -> NDArray[Any]:
        if kernel == "rbf":
            scale = length_scale * math.sqrt(math.pi / 2)
            field = DifferentiableGRF("gau", 2, 1.0, scale, seed=next(seeds))
        else:
            scale, smoothness = length_scale / math.sqrt(2), MATERN[kernel]
            field = DifferentiableGRF("mat", 2, 1.0, scale, seed=next(seeds), nu=smoothness)
        values: NDArray[Any] = field.structured([side, side]).numpy()
        return values

    return draw


@dataclass(frozen=True)
class Package:
    """What a package draws, and how.

    Parameters
    ----------
    field
        Kernel, side in pixels and length-scale in pixels, to what draws a new field a call.
    kernels
        Those that it has.
    note
        What its fields lack.
    side
        The largest that is timed; larger ones are scaled up.
    """

    field: Callable[[str, int, float], Draw]
    kernels: tuple[str, ...]
    note: str = ""
    side: int = 2**20


WAVES = "1000 random waves: approximate"
PACKAGES = {
    "gaussianfft": Package(gaussianfft_field, ("rbf", *MATERN), "C++"),
    "powerbox": Package(powerbox_field, ("rbf", *MATERN, "power-law"), "periodic only"),
    "kspace": Package(kspace_field, ("rbf", *MATERN, "power-law"), "periodic only"),
    "rfgen": Package(rfgen_field, (*MATERN, "power-law"), "periodic only"),
    "gstools": Package(gstools_field, ("rbf", *MATERN, "rational-quadratic"), WAVES, 128),
    "diffgrf": Package(diffgrf_field, ("rbf", *MATERN), WAVES, 128),
}
