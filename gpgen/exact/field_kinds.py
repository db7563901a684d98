"""The one place that chooses how a component is drawn."""

from __future__ import annotations

from functools import lru_cache

from gpgen.exact import mosaic_field
from gpgen.exact.field import Field
from gpgen.exact.kernels import KERNELS
from gpgen.exact.separable import SeparableField
from gpgen.exact.texture import LengthScale, Texture

__all__ = ["check_drawable", "field_of"]


@lru_cache(maxsize=256)
def field_of(texture: Texture, kernel: str, scale: LengthScale) -> Field:
    """Return the field of one length-scale of a texture: by its algorithm, then by the kernel."""
    if texture.algorithm == "golkar2018":
        return mosaic_field.MosaicField.of(scale, texture.shape[0])
    kernels = tuple(KERNELS[kernel](length) for length in texture.per_axis(scale))
    return SeparableField.of(kernels, texture.shape, texture.boundary)


def check_drawable(texture: Texture) -> None:
    """Raise `RecipeError` for what the texture's algorithm can't draw."""
    if texture.algorithm == "golkar2018":
        mosaic_field.check(texture)
