"""What a texture is: sizes and components, frozen, for the proof and the algorithms.

A recipe (`gpgen.recipe`) is a texture with a name, a root seed and splits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

__all__ = ["Component", "LengthScale", "Texture", "length_scale_name"]

LengthScale = float | tuple[float, ...]


def length_scale_name(scale: LengthScale) -> str:
    """Return a length-scale as class names and the files of 2018 write it: 80, 9.5, 10x12."""
    if isinstance(scale, tuple):
        return "x".join(length_scale_name(s) for s in scale)
    return str(int(scale)) if scale == int(scale) else repr(scale)


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the fields that add up to a texture.

    Parameters
    ----------
    kernel
        Name of the covariance function, of `gpgen.exact.kernels.KERNELS`.
    length_scales
        The length-scales on offer, in pixels: numbers, or one number for each axis.
    weight
        The factor of the field in the sum.
    """

    kernel: str
    length_scales: tuple[LengthScale, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Texture:
    """What determines the distribution of each class.

    Parameters
    ----------
    shape
        Pixels of each axis.
    components
        The fields to add up. One length-scale chosen from each makes a class.
    boundary
        "open" or "periodic".
    standardize
        Whether each field is shifted and scaled to mean 0 and standard deviation 1 over its
        pixels before it is weighted.
    dtype
        The pixels' type.
    algorithm
        "exact" or "golkar2018" (`gpgen.exact.field_kinds`).
    """

    shape: tuple[int, ...]
    components: tuple[Component, ...]
    boundary: str = "open"
    standardize: bool = True
    dtype: str = "float32"
    algorithm: str = "exact"

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return math.prod(len(component.length_scales) for component in self.components)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label: the length-scales, joined by "-"."""
        return tuple(
            "-".join(length_scale_name(scale) for scale in self.length_scales_of(label))
            for label in range(self.class_count)
        )

    def choices_of(self, label: int) -> tuple[int, ...]:
        """Return which of its length-scales each component takes in a class.

        The label counts in mixed radix, the first component fastest.
        """
        choices = []
        for component in self.components:
            label, choice = divmod(label, len(component.length_scales))
            choices.append(choice)
        return tuple(choices)

    def length_scales_of(self, label: int) -> tuple[LengthScale, ...]:
        """Return each component's length-scale in a class, in pixels."""
        return tuple(
            component.length_scales[choice]
            for component, choice in zip(self.components, self.choices_of(label), strict=True)
        )

    def per_axis(self, length_scale: LengthScale) -> tuple[float, ...]:
        """Return a length-scale as one number for each axis, in pixels."""
        if isinstance(length_scale, tuple):
            return length_scale
        return (length_scale,) * len(self.shape)
