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

from gpgen.errors import RecipeError
from gpgen.exact.checked_kernel import checked, unusable
from gpgen.exact.stationary import STATIONARY, PowerLaw, SpectralKernel, Stationary
from gpgen.exact.texture import KERNEL_NUMBERS

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
    if name in STATIONARY:
        return chosen(**given)
    try:
        kernel = chosen(**given)
    except Exception as error:
        numbers = ", ".join(f"{key} = {value:g}" for key, value in given.items())
        raise RecipeError(
            f"kernel {name!r} of an installed package refuses {numbers or 'to be made'}: {error}",
            "see the package's documentation",
        ) from error
    return checked(name, kernel)


@lru_cache(maxsize=64)
def _offered(name: str) -> type[Stationary | SpectralKernel]:
    found: EntryPoint = next(iter(entry_points(group=GROUP, name=name)))
    try:
        kernel: type[Stationary | SpectralKernel] = found.load()
    except Exception as error:
        raise unusable(name, f"can't be imported: {error!r}") from error
    frozen = dataclasses.is_dataclass(kernel) and kernel.__dataclass_params__.frozen
    if not isinstance(kernel, type) or not frozen:
        raise unusable(name, "is no frozen dataclass")
    if not hasattr(kernel, "covariance") and not hasattr(kernel, "spectrum"):
        raise unusable(name, "has neither covariance nor spectrum")
    for field in dataclasses.fields(kernel):  # type: ignore[arg-type]
        if field.name not in KERNEL_NUMBERS and field.default is dataclasses.MISSING:
            names = ", ".join(KERNEL_NUMBERS)
            raise unusable(name, f"has the number {field.name!r}, and recipes know only {names}")
    return kernel
