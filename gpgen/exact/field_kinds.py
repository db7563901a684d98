"""The one place that chooses how a component is drawn."""

from __future__ import annotations

import itertools
from functools import lru_cache

from gpgen.errors import RecipeError
from gpgen.exact import mosaic_field
from gpgen.exact.convolved import ConvolvedField
from gpgen.exact.field import Field
from gpgen.exact.kernels import KERNELS
from gpgen.exact.offered_kernels import stationary_kernel
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.separable import SeparableField
from gpgen.exact.stationary import PowerLaw, White
from gpgen.exact.texture import LengthScale, Texture
from gpgen.exact.torus_size import ImageGrid

__all__ = ["check_drawable", "field_of", "scaled_kernel"]


@lru_cache(maxsize=256)
def field_of(
    texture: Texture,
    kernel: str,
    scale: LengthScale,
    numbers: tuple[tuple[str, float], ...] = (),
    angle: float = 0.0,
) -> Field:
    """Return the field of one choice of a component (`gpgen.exact.texture.Choice`).

    By the texture's algorithm, then by the kernel: one that separates over the axes is drawn
    by products along them, any other by a convolution.
    """
    if texture.algorithm == "golkar2018":
        return mosaic_field.MosaicField.of(scale, texture.shape[0])
    scaled = scaled_kernel(texture, kernel, scale, numbers, angle)
    if kernel in KERNELS and not scaled.is_rotated:
        kernels = tuple(KERNELS[kernel](length) for length in scaled.lengths)
        return SeparableField.of(kernels, texture.shape, texture.boundaries)
    periodic = tuple(boundary == "periodic" for boundary in texture.boundaries)
    return ConvolvedField(scaled, ImageGrid(texture.shape, periodic))


def scaled_kernel(
    texture: Texture,
    kernel: str,
    scale: LengthScale,
    numbers: tuple[tuple[str, float], ...] = (),
    angle: float = 0.0,
) -> ScaledKernel:
    """Return the covariance of one choice of a component.

    Raises
    ------
    RecipeError
        If the kernel's numbers or the angle are wrong.
    """
    family = stationary_kernel(kernel, len(texture.shape), dict(numbers))
    lengths = texture.per_axis(scale)
    if isinstance(family, White) and set(lengths) != {1}:
        raise RecipeError("white noise has no length-scale", "write length_scales = [1]")
    longest = max(texture.shape)
    if isinstance(family, PowerLaw) and family.inner_scale > longest:
        raise RecipeError(
            f"inner_scale {family.inner_scale:g} px damps all waves of an image of {longest} px",
            f"use at most {longest} px",
        )
    if angle and len(texture.shape) != 2:
        raise RecipeError(f"angle {angle:g} needs two axes", "leave it out")
    if angle and len(set(lengths)) == 1:
        raise RecipeError(
            f"angle {angle:g} turns a kernel whose length-scales are equal",
            "leave it out, or give one length-scale for each axis, such as [5, 20]",
        )
    if not -360 <= angle <= 360:
        raise RecipeError(f"angle {angle:g} is out of range", "use -360 to 360 degrees")
    if angle % 180 == 90:  # the axes changed places
        return ScaledKernel(family, lengths[::-1])
    return ScaledKernel(family, lengths, angle if angle % 180 else 0.0)


def check_drawable(texture: Texture) -> None:
    """Raise `RecipeError` for what the texture's algorithm can't draw."""
    for number, component in enumerate(texture.components, start=1):
        for choice in itertools.chain(*component.choices):
            try:
                scaled_kernel(texture, component.kernel, *choice)
            except RecipeError as error:
                raise type(error)(f"component {number}: {error.message}", error.hint) from None
    if texture.algorithm == "golkar2018":
        mosaic_field.check(texture)
