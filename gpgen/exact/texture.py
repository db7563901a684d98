"""What a texture is: sizes and components, frozen, for the proof and the algorithms.

A recipe (`gpgen.recipe`) is a texture with a name, a root seed and splits.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

__all__ = ["Choice", "Component", "LengthScale", "Numbers", "Texture", "length_scale_name"]

LengthScale = float | tuple[float, ...]

Numbers = float | tuple[float, ...] | None
"""A number of a kernel, several to choose from, or none."""

_NUMBERS: Final = ("smoothness", "alpha", "exponent", "hurst", "inner_scale", "angle")


def length_scale_name(scale: LengthScale) -> str:
    """Return a length-scale as class names and the files of 2018 write it: 80, 9.5, 10x12."""
    if isinstance(scale, tuple):
        return "x".join(length_scale_name(s) for s in scale)
    return str(int(scale)) if scale == int(scale) else repr(scale)


class Choice(NamedTuple):
    """What a component is in one class.

    Parameters
    ----------
    length_scale
        In pixels.
    numbers
        The names and values of the kernel's own numbers.
    angle
        Degrees by which the axes of the length-scales are turned.
    """

    length_scale: LengthScale
    numbers: tuple[tuple[str, float], ...] = ()
    angle: float = 0.0


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the fields that add up to a texture.

    Parameters
    ----------
    kernel
        Name of the covariance function, of `gpgen.exact.stationary.STATIONARY`.
    length_scales
        The length-scales on offer, in pixels: numbers, or one number for each axis.
    weight
        The factor of the field in the sum.
    smoothness, alpha, exponent, hurst, inner_scale
        The kernel's own numbers; several of one are on offer like length-scales.
    angle
        Degrees, one or several, by which the axes of two length-scales are turned, from the
        image's first axis (down) towards its second (right).
    """

    kernel: str
    length_scales: tuple[LengthScale, ...]
    weight: float = 1.0
    smoothness: Numbers = None
    alpha: Numbers = None
    exponent: Numbers = None
    hurst: Numbers = None
    inner_scale: Numbers = None
    angle: Numbers = None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What it offers: length-scales, counted fastest, with its numbers and its angles."""
        return _choices(self)

    @property
    def offers(self) -> dict[str, tuple[float, ...]]:
        """The numbers that it has besides length-scales, by name, with their values."""
        values = {name: getattr(self, name) for name in _NUMBERS}
        return {name: _several(value) for name, value in values.items() if value is not None}

    @property
    def choice_count(self) -> int:
        """How many choices there are."""
        return math.prod(map(len, (self.length_scales, *self.offers.values())))

    def name_of(self, choice: Choice) -> str:
        """Return a choice as class names write it: the length-scale, and what else differs."""
        offers = self.offers
        differing = [
            f"{name}={value:g}"
            for name, value in (*choice.numbers, ("angle", choice.angle))
            if len(offers.get(name, ())) > 1
        ]
        more = f"({','.join(differing)})" if differing else ""
        return length_scale_name(choice.length_scale) + more


@lru_cache(maxsize=256)
def _choices(component: Component) -> tuple[Choice, ...]:
    offers = component.offers
    angles = offers.pop("angle", (0.0,))
    named = [[(name, value) for value in values] for name, values in offers.items()]
    # The last of a product counts fastest.
    return tuple(
        Choice(length, numbers, angle)
        for angle in angles
        for numbers in itertools.product(*named)
        for length in component.length_scales
    )


def _several(numbers: float | tuple[float, ...]) -> tuple[float, ...]:
    return numbers if isinstance(numbers, tuple) else (numbers,)


@dataclass(frozen=True)
class Texture:
    """What determines the distribution of each class.

    Parameters
    ----------
    shape
        Pixels of each axis.
    components
        The fields to add up. One choice from each makes a class.
    boundary
        "open" or "periodic", or one of them for each axis.
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
    boundary: str | tuple[str, ...] = "open"
    standardize: bool = True
    dtype: str = "float32"
    algorithm: str = "exact"

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return math.prod(component.choice_count for component in self.components)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label: the components' choices, joined by "-"."""
        names = [[c.name_of(choice) for choice in c.choices] for c in self.components]
        return tuple(
            "-".join(of[k] for of, k in zip(names, self.choices_of(label), strict=True))
            for label in range(self.class_count)
        )

    @property
    def boundaries(self) -> tuple[str, ...]:
        """The boundary of each axis."""
        if isinstance(self.boundary, tuple):
            return self.boundary
        return (self.boundary,) * len(self.shape)

    def choices_of(self, label: int) -> tuple[int, ...]:
        """Return the position of what each component takes in a class, of its choices.

        The label counts in mixed radix, the first component fastest.
        """
        choices = []
        for component in self.components:
            label, choice = divmod(label, component.choice_count)
            choices.append(choice)
        return tuple(choices)

    def length_scales_of(self, label: int) -> tuple[LengthScale, ...]:
        """Return each component's length-scale in a class, in pixels."""
        return tuple(choice.length_scale for choice in self.chosen(label))

    def chosen(self, label: int) -> tuple[Choice, ...]:
        """Return what each component is in a class."""
        return tuple(
            component.choices[k]
            for component, k in zip(self.components, self.choices_of(label), strict=True)
        )

    def per_axis(self, length_scale: LengthScale) -> tuple[float, ...]:
        """Return a length-scale as one number for each axis, in pixels."""
        if isinstance(length_scale, tuple):
            return length_scale
        return (length_scale,) * len(self.shape)
