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
import numpy as np
import numpy.typing as npt

from gpgen.exact.drawn_range import LENGTH_SCALES, WEIGHTS, DrawnRange, drawn_positions
from gpgen.exact.field_types import convert_fields
from gpgen.exact.marginals import MARGINALS

__all__ = [
    "KERNEL_NUMBERS",
    "Alternatives",
    "Choice",
    "Component",
    "LengthScale",
    "Numbers",
    "Texture",
    "length_scale_name",
]

LengthScale = float | tuple[float, ...]

Numbers = float | tuple[float, ...] | None
"""A number of a kernel, several to choose from, or none."""

KERNEL_NUMBERS: Final = ("smoothness", "alpha", "exponent", "hurst", "inner_scale")
"""What kernels may have of their own."""


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


Alternatives = tuple[Choice, ...]
"""What a component is in one class: one choice, or several of which each sample draws one."""


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the fields that add up to a texture.

    Parameters
    ----------
    kernel
        Name of the covariance function, of `gpgen.exact.stationary.STATIONARY`.
    length_scales
        The length-scales on offer, in pixels: numbers, or one number for each axis. Or a range
        that each sample's is drawn from.
    weight
        The factor of the field in the sum, or a range that each sample's is drawn from.
    smoothness, alpha, exponent, hurst, inner_scale
        The kernel's own numbers; several of one are on offer like length-scales.
    angle
        Degrees, one or several, by which the axes of two length-scales are turned, from the
        image's first axis (down) towards its second (right).
    transform
        What each value x of the field becomes before it is weighted: "lognormal" (e^x), "uniform"
        (the normal distribution function) or "threshold" (1 above 0, otherwise 0).
    """

    kernel: str
    length_scales: tuple[LengthScale, ...] | DrawnRange
    weight: float | DrawnRange = 1.0
    smoothness: Numbers = None
    alpha: Numbers = None
    exponent: Numbers = None
    hurst: Numbers = None
    inner_scale: Numbers = None
    angle: Numbers = None
    transform: str | None = None

    def __post_init__(self) -> None:
        convert_fields(self)

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance of the weighted field's values, for a Gaussian field of variance 1."""
        mean, variance = 0.0, 1.0
        if self.transform is not None:
            marginal = MARGINALS[self.transform]
            mean, variance = marginal.mean, marginal.variance
        weight = math.fsum(self.all_weights) / len(self.all_weights)
        spread = self.rms_weight**2 - weight**2 if self.draws_weight else 0.0
        return weight * mean, self.rms_weight**2 * variance + spread * mean**2

    @property
    def draws_weight(self) -> bool:
        """Whether each sample has a weight of its own."""
        return isinstance(self.weight, DrawnRange)

    @property
    def all_weights(self) -> tuple[float, ...]:
        """All weights that it can have, ascending."""
        return self.weight.values if isinstance(self.weight, DrawnRange) else (self.weight,)

    @property
    def rms_weight(self) -> float:
        """Root of the mean square of all weights that it can have: the weight, if it has one."""
        if not isinstance(self.weight, DrawnRange):
            return self.weight
        return math.sqrt(math.fsum(w * w for w in self.all_weights) / len(self.all_weights))

    @property
    def choices(self) -> tuple[Alternatives, ...]:
        """What it offers: length-scales, counted fastest, with its numbers and its angles.

        A range counts as one.
        """
        return _choices(self)

    @property
    def all_length_scales(self) -> tuple[LengthScale, ...]:
        """All length-scales that it can have, whether offered or drawn from a range."""
        scales = self.length_scales
        return scales.values if isinstance(scales, DrawnRange) else scales

    @property
    def drawn_count(self) -> int:
        """How many length-scales a sample's is drawn from; 1 if the class determines it."""
        scales = self.length_scales
        return scales.steps if isinstance(scales, DrawnRange) else 1

    @property
    def offers(self) -> dict[str, tuple[float, ...]]:
        """The numbers that it has besides length-scales, by name, with their values."""
        values = {name: getattr(self, name) for name in (*KERNEL_NUMBERS, "angle")}
        return {name: _several(value) for name, value in values.items() if value is not None}

    @property
    def choice_count(self) -> int:
        """How many choices there are."""
        scales = self.length_scales
        lengths = 1 if isinstance(scales, DrawnRange) else len(scales)
        return lengths * math.prod(map(len, self.offers.values()))

    def name_of(self, choices: Alternatives) -> str:
        """Return a choice as class names write it: the length-scale, and what else differs.

        A range's length-scales are written 3..12.
        """
        offers, choice = self.offers, choices[0]
        differing = [
            f"{name}={value:g}"
            for name, value in (*choice.numbers, ("angle", choice.angle))
            if len(offers.get(name, ())) > 1
        ]
        more = f"({','.join(differing)})" if differing else ""
        ends = dict.fromkeys((choice.length_scale, choices[-1].length_scale))
        return "..".join(map(length_scale_name, ends)) + more


@lru_cache(maxsize=256)
def _choices(component: Component) -> tuple[Alternatives, ...]:
    offers = component.offers
    lengths = component.all_length_scales
    together = component.drawn_count
    angles = offers.pop("angle", (0.0,))
    named = [[(name, value) for value in values] for name, values in offers.items()]
    # The last of a product counts fastest.
    return tuple(
        tuple(Choice(length, numbers, angle) for length in lengths[start : start + together])
        for angle in angles
        for numbers in itertools.product(*named)
        for start in range(0, len(lengths), together)
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
    transform
        What each value of the sum becomes, as `Component.transform`.
    """

    shape: tuple[int, ...]
    components: tuple[Component, ...]
    boundary: str | tuple[str, ...] = "open"
    standardize: bool = True
    dtype: str = "float32"
    algorithm: str = "exact"
    transform: str | None = None

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

    def drawn(self, seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return which of its alternatives each component is in some samples.

        Parameters
        ----------
        seeds
            The samples' seeds, shape (samples,).

        Returns
        -------
        ndarray of int64, shape (samples, components)
        """
        positions = np.zeros((len(seeds), len(self.components)), dtype=np.int64)
        for number, component in enumerate(self.components):
            if component.drawn_count > 1:
                stream = LENGTH_SCALES + number
                positions[:, number] = drawn_positions(seeds, stream, component.drawn_count)
        return positions

    def weights(self, seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
        """Return each component's weight in some samples.

        Parameters
        ----------
        seeds
            The samples' seeds, shape (samples,).

        Returns
        -------
        ndarray of float64, shape (samples, components)
        """
        weights = np.empty((len(seeds), len(self.components)))
        for number, component in enumerate(self.components):
            values = np.array(component.all_weights)
            drawn: npt.NDArray[np.int64] | int = 0
            if component.draws_weight:
                drawn = drawn_positions(seeds, WEIGHTS + number, len(values))
            weights[:, number] = values[drawn]
        return weights

    @property
    def draws_weights(self) -> bool:
        """Whether any weight depends on the sample."""
        return any(component.draws_weight for component in self.components)

    @property
    def draws_length_scales(self) -> bool:
        """Whether any length-scale depends on the sample, and not on its class alone."""
        return any(component.drawn_count > 1 for component in self.components)

    @property
    def is_transformed(self) -> bool:
        """Whether the values of the sum, or of any component, are no longer normal."""
        components = (component.transform for component in self.components)
        return any(transform is not None for transform in (self.transform, *components))

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance of a pixel, for Gaussian fields of variance 1."""
        means, variances = zip(*(component.moments for component in self.components), strict=True)
        if self.transform is None:
            return sum(means), sum(variances)
        return MARGINALS[self.transform].moments([c.all_weights for c in self.components])

    def chosen(self, label: int) -> tuple[Alternatives, ...]:
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
