r"""What the periodogram of a class should be on average, by computation.

The power of an image x at the wave vector k is :math:`P_k = |u_k^* x|^2` with
:math:`u_k = e^{2\pi i k r/N}/\sqrt{n}`, n being its pixels. For a field with the covariance
matrix K, :math:`E P_k = u_k^* K u_k`, whatever the boundary: a finite open image's leakage is
part of it. Components are independent, and add up. A length-scale that is drawn has each of its
values equally often, so that their mean is expected. Standardizing changes each image by its own
mean and deviation: `gpgen.report.separable_power` and `gpgen.report.stationary_power` say how.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.field_kinds import scaled_kernel
from gpgen.exact.kernels import KERNELS
from gpgen.exact.marginals import MARGINALS
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.stationary import SpectralKernel
from gpgen.exact.torus_choice import torus_for
from gpgen.exact.torus_size import ImageGrid
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe
from gpgen.report.not_computed import NotComputedError
from gpgen.report.separable_power import separable_power
from gpgen.report.stationary_power import StationaryPower

__all__ = ["expected_power", "kernel_correlation"]

Array = npt.NDArray[np.float64]

_LONGEST_AXIS: Final = 4096
_MOST_PIXELS: Final = 2**24
"""Beyond these the transforms, or the eigenvectors of an axis, take minutes."""

_MOST_WORK: Final = 2**25
"""Pixels times length-scales that can be drawn: some minutes."""


def expected_power(recipe: LabelledImages, label: int) -> Array:
    """Return the expected periodogram of a class.

    Returns
    -------
    ndarray of float64, the recipe's shape
        By wave vector, in the order of `numpy.fft.fftn`. Of a standardized field whose kernel
        doesn't separate over the axes to half a per cent, otherwise to 1e-6.

    Raises
    ------
    NotComputedError
        Of another algorithm than "exact", of values that are transformed after each image was
        standardized, of imported images, and of very large ones.
    """
    if not isinstance(recipe, Recipe):
        raise NotComputedError("the images were imported, and no recipe says how they were drawn")
    if recipe.algorithm != "exact":
        raise NotComputedError(f'none is known of algorithm "{recipe.algorithm}"')
    texture = recipe.texture
    if recipe.transform is not None:
        raise NotComputedError("the sum of the components is transformed")
    if texture.draws_weights and texture.is_transformed:
        raise NotComputedError("values of drawn weights are transformed")
    if recipe.standardize and texture.is_transformed:
        raise NotComputedError(
            "each image is standardized before its values are transformed, which gives them a "
            "covariance without a closed form"
        )
    pixels = int(np.prod(recipe.shape))
    chosen = texture.chosen(label)
    work = pixels * max(len(choices) for choices in chosen)
    if max(recipe.shape) > _LONGEST_AXIS or pixels > _MOST_PIXELS or work > _MOST_WORK:
        raise NotComputedError("of images as large as these it would take minutes")
    total: Array = np.zeros(recipe.shape)
    for component, choices in zip(recipe.components, chosen, strict=True):
        for choice in choices:
            kernel = scaled_kernel(texture, component.kernel, *choice)
            power = _field_power(
                component.kernel, kernel, texture.boundaries, recipe.shape, recipe.standardize,
                component.transform,
            )  # fmt: skip
            total += component.moments[1] / len(choices) * power
    return total


@lru_cache(maxsize=16)
def _field_power(
    name: str,
    kernel: ScaledKernel,
    boundaries: tuple[str, ...],
    shape: tuple[int, ...],
    standardize: bool,
    transform: str | None,
) -> Array:
    """Return a field's expected power, for a pixel's variance of 1."""
    periodic = tuple(boundary == "periodic" for boundary in boundaries)
    if standardize and name in KERNELS and not kernel.is_rotated:
        power = separable_power(name, kernel.lengths, shape, periodic)
        # An image may be mirrored along any axis: a wave and its mirror image have one power.
        waves = [np.abs(np.rint(np.fft.fftfreq(n) * n)).astype(int) for n in shape]
        return power[np.ix_(*waves)]

    def covariance(lags: tuple[Array, ...]) -> Array:
        correlation = _correlation(kernel, ImageGrid(shape, periodic), lags)
        if transform is None:
            return correlation
        correlation = np.clip(correlation, -1.0, 1.0)
        return np.asarray(MARGINALS[transform].correlation(correlation, 1.0))

    field = StationaryPower(covariance, shape, periodic)
    return field.standardized() if standardize else field.power


def _correlation(kernel: ScaledKernel, grid: ImageGrid, lags: tuple[Array, ...]) -> Array:
    if isinstance(kernel.family, SpectralKernel):  # defined by its torus
        places = [axis.ravel().astype(np.int64) for axis in lags]
        return torus_for(kernel, grid).drawn_covariance(places)
    return kernel.family.covariance(kernel.norm(lags))


def kernel_correlation(recipe: LabelledImages, label: int, distance: Array) -> Array | None:
    """Return the correlation that the kernels give at a distance, in pixels.

    The mean over all length-scales that can be drawn, if they are.

    None if the length-scales differ by axis, or there is no formula: neither of a transform if what
    it is applied to has drawn numbers.
    """
    if not isinstance(recipe, Recipe) or recipe.algorithm != "exact":
        return None
    texture, drawn = recipe.texture, any(c.draws_weight for c in recipe.components)
    if (drawn and texture.is_transformed) or (
        texture.draws_length_scales and texture.transform is not None
    ):
        return None
    total = np.zeros_like(distance)
    weights = 0.0
    chosen = texture.chosen(label)
    for component, choices in zip(recipe.components, chosen, strict=True):
        variance = component.moments[1]
        for choice in choices:
            kernel = scaled_kernel(texture, component.kernel, *choice)
            if isinstance(kernel.family, SpectralKernel) or isinstance(choice.length_scale, tuple):
                return None
            correlation = kernel.family.covariance(distance / kernel.lengths[0])
            if component.transform is not None:
                correlation = MARGINALS[component.transform].correlation(correlation, 1.0)
            total += variance / len(choices) * correlation
        weights += variance
    total /= weights
    if texture.transform is not None:
        total = MARGINALS[texture.transform].correlation(total, weights)
    return np.asarray(total)
