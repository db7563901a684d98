"""Kernels by their names: gpgen's own, and those that installed packages offer.

A package offers one by an entry point of the group ``gpgen.kernels``: a frozen dataclass with
`covariance` (`gpgen.exact.stationary.Stationary`) or `spectrum` (`SpectralKernel`). A recipe names
it, and stays a file.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import numpy as np

from gpgen.errors import RecipeError
from gpgen.exact.stationary import STATIONARY, PowerLaw, SpectralKernel, Stationary

__all__ = ["GROUP", "kernel_names", "stationary_kernel"]

GROUP: Final = "gpgen.kernels"


def kernel_names() -> tuple[str, ...]:
    """Return the names of all kernels, without importing those of other packages."""
    return (*STATIONARY, *(entry.name for entry in entry_points(group=GROUP)))


def stationary_kernel(
    name: str, axes: int, parameters: dict[str, float]
) -> Stationary | SpectralKernel:
    """Return a kernel from what a recipe says.

    Parameters
    ----------
    name
        One of `kernel_names`.
    axes
        The image's axes, which a Hurst exponent needs.
    parameters
        The kernel's own numbers; `hurst` may stand for `exponent`.

    Raises
    ------
    RecipeError
        If a number is missing, out of range, or not the kernel's; or if the kernel of another
        package can't be used.
    """
    chosen, given = STATIONARY.get(name) or _offered(name), dict(parameters)
    if chosen is PowerLaw and "hurst" in given:
        if "exponent" in given:
            raise RecipeError("power-law: exponent and hurst are both given", "give one of them")
        hurst = given.pop("hurst")
        if not 0 < hurst < 1:
            raise RecipeError(f"power-law: hurst {hurst} is not between 0 and 1", "try 0.5")
        given["exponent"] = 2 * hurst + axes
    fields = {field.name: field for field in dataclasses.fields(chosen)}  # type: ignore[arg-type]
    for key in given:
        if key not in fields:
            own = " or ".join(fields) or "no number of its own"
            raise RecipeError(f"kernel {name!r} has no {key}", f"leave it out; it takes {own}")
    for key, field in fields.items():
        if key not in given and field.default is dataclasses.MISSING:
            raise RecipeError(f"kernel {name!r} needs {key}", f"add {key}, for example 1.5")
    kernel = chosen(**given)
    if name not in STATIONARY:
        _check(name, kernel)
    return kernel


@lru_cache(maxsize=64)
def _offered(name: str) -> type[Stationary | SpectralKernel]:
    found: EntryPoint = next(iter(entry_points(group=GROUP, name=name)))
    try:
        kernel: type[Stationary | SpectralKernel] = found.load()
    except Exception as error:
        raise _unusable(name, f"can't be imported: {error!r}") from error
    frozen = dataclasses.is_dataclass(kernel) and kernel.__dataclass_params__.frozen
    if not isinstance(kernel, type) or not frozen:
        raise _unusable(name, "is no frozen dataclass")
    if not hasattr(kernel, "covariance") and not hasattr(kernel, "spectrum"):
        raise _unusable(name, "has neither covariance nor spectrum")
    return kernel


@lru_cache(maxsize=256)
def _check(name: str, kernel: Stationary | SpectralKernel) -> None:
    """Refuse a kernel that isn't one, or isn't the same twice."""
    r = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 200)])
    try:
        if isinstance(kernel, SpectralKernel):
            values, again = (kernel.spectrum(r.copy(), r / 1e3) for _ in range(2))
            right = bool((values >= 0).all()) and bool(values.sum() > 0)
            rule = "a spectrum that is finite, not negative and not 0 everywhere"
        else:
            values, again = (kernel.covariance(r.copy()) for _ in range(2))
            right = bool(values[0] == 1) and bool((np.abs(values) <= 1).all())
            rule = "a covariance that is 1 at distance 0 and nowhere larger"
        usable = right and values.shape == r.shape and bool(np.isfinite(values).all())
        same = bool((values == again).all())
    except Exception as error:
        raise _unusable(name, f"raises {error!r}") from error
    if not usable:
        raise _unusable(name, f"doesn't give {rule}")
    if not same:
        raise _unusable(name, "isn't the same twice")


def _unusable(name: str, why: str) -> RecipeError:
    return RecipeError(
        f"kernel {name!r} of an installed package {why}", "mend the package, see docs/kernels.md"
    )
