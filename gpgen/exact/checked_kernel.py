"""Kernels of other packages, each of whose values is checked where it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.exact.stationary import SpectralKernel, Stationary

__all__ = ["CheckedCovariance", "CheckedSpectrum", "checked", "unusable"]

Array = npt.NDArray[np.float64]

_SAME: Final = 1e-9
"""How much a value may differ with the values beside it: their exponential is in vectors."""

_AGAIN: Final = 64
"""Values of an array that are asked for again, alone."""

_R: Final = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 200)])
"""Distances and frequencies at which a kernel is tried."""


def unusable(name: str, why: str) -> RecipeError:
    """Return the refusal of a kernel of another package."""
    return RecipeError(
        f"kernel {name!r} of an installed package {why}", "mend the package, see docs/kernels.md"
    )


@dataclass(frozen=True)
class CheckedCovariance:
    """A `gpgen.exact.stationary.Stationary` of another package.

    Parameters
    ----------
    name
        That it is offered by.
    kernel
        The package's.
    """

    name: str
    kernel: Stationary

    def covariance(self, r: Array) -> Array:
        """Return the covariance, or raise `RecipeError` where the kernel gives none."""
        values = _called(self.name, self.kernel, r)
        if not ((np.abs(values) <= 1).all() and (values[r == 0] == 1).all()):
            raise unusable(
                self.name, "doesn't give a covariance that is 1 at distance 0 and nowhere larger"
            )
        return values


@dataclass(frozen=True)
class CheckedSpectrum:
    """A `gpgen.exact.stationary.SpectralKernel` of another package.

    Parameters
    ----------
    name
        That it is offered by.
    kernel
        The package's.
    """

    name: str
    kernel: SpectralKernel

    def spectrum(self, k: Array, per_pixel: Array) -> Array:
        """Return the spectrum, or raise `RecipeError` where the kernel gives none."""
        values = _called(self.name, self.kernel, k, per_pixel)
        if not ((values >= 0).all() and values.any()):
            raise unusable(
                self.name,
                "doesn't give a spectrum that is finite, not negative and not 0 everywhere",
            )
        return values


@lru_cache(maxsize=256)
def checked(name: str, kernel: Stationary | SpectralKernel) -> CheckedCovariance | CheckedSpectrum:
    """Return a kernel whose values are checked; it is tried first.

    Raises
    ------
    RecipeError
        If it isn't a kernel, or isn't the same twice.
    """
    if isinstance(kernel, SpectralKernel):
        spectrum = CheckedSpectrum(name, kernel)
        spectrum.spectrum(*_trial(2))
        return spectrum
    covariance = CheckedCovariance(name, kernel)
    covariance.covariance(_R)
    return covariance


def _called(name: str, kernel: Stationary | SpectralKernel, *arrays: Array) -> Array:
    """Return a kernel's values, which neither other places nor other calls may change."""
    values = _values(name, kernel, *arrays)
    if values.size < _R.size:
        return values
    if _values(name, kernel, *_trial(len(arrays))).tobytes() != _first(name, kernel, len(arrays)):
        raise unusable(name, "isn't the same twice")
    some = np.linspace(values.size - 1, 0, _AGAIN).astype(np.intp)
    alone = _values(name, kernel, *(x.reshape(-1)[some] for x in arrays))
    if not np.allclose(alone, values.reshape(-1)[some], rtol=_SAME, atol=_SAME):
        raise unusable(name, "gives values that depend on those beside them, or on their order")
    return values


def _trial(count: int) -> tuple[Array, ...]:
    return (_R, _R / 1e3)[:count]


@lru_cache(maxsize=256)
def _first(name: str, kernel: Stationary | SpectralKernel, count: int) -> bytes:
    """Return what a kernel gave when it was first tried."""
    return _values(name, kernel, *_trial(count)).tobytes()


def _values(name: str, kernel: Stationary | SpectralKernel, *arrays: Array) -> Array:
    """Return a kernel's values: finite float64, the shape of each of the arrays."""
    function: Callable[..., Any] = (
        kernel.spectrum if isinstance(kernel, SpectralKernel) else kernel.covariance
    )
    try:
        with np.errstate(all="ignore"):  # 0 / 0 that it replaces; what is left is refused
            values = np.asarray(function(*(x.copy() for x in arrays)))
    except (Exception, SystemExit) as error:
        raise unusable(name, f"raises {error!r}") from error
    if values.shape != arrays[0].shape:
        raise unusable(name, f"gives values of shape {values.shape} for {arrays[0].shape}")
    if values.dtype.kind not in "fiub":
        raise unusable(name, f"gives {values.dtype}, not real numbers")
    if not np.isfinite(values).all():
        raise unusable(name, "gives values that are not finite")
    return values.astype(np.float64)
