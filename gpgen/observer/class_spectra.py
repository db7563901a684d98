"""What a recipe's classes are expected to have in each cell of modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Choice, Texture
from gpgen.observer.cells import Cells
from gpgen.observer.class_modes import variance_of
from gpgen.observer.field_modes import FieldModes
from gpgen.observer.stationary_modes import field_modes

__all__ = ["ClassSpectra", "scaled_choice"]

Array = npt.NDArray[np.float64]

_NOISE: Final = 1e-4
"""Part of the variance below which a mode's power tells nothing: it may be rounding."""

_MOST_LEAKED: Final = 0.5
"""Above it, modes are too correlated to be taken as independent."""

_STEP: Final = 0.02
"""Of a length-scale's logarithm, for its derivative."""


def scaled_choice(choice: Choice, factor: float) -> Choice:
    """Return a choice with all its length-scales multiplied."""
    scale = choice.length_scale
    if isinstance(scale, tuple):
        return choice._replace(length_scale=tuple(factor * each for each in scale))
    return choice._replace(length_scale=factor * scale)


@dataclass(frozen=True, eq=False)
class ClassSpectra:
    """The mean power of each component in each cell, and how it changes with the length-scale.

    Parameters
    ----------
    texture
        The recipe's components.
    cells
        The cells.
    noise
        The power that is added to every mode.
    powers, slopes
        Of each component and choice, shape (cells,): the power, and its derivative with respect to
        the length-scale's logarithm (0 for what has none).
    clean
        Modes of each cell that may be taken as independent, shape (cells,): all or none.
    """

    texture: Texture
    cells: Cells
    noise: float
    powers: tuple[tuple[Array, ...], ...]
    slopes: tuple[tuple[Array, ...], ...]
    clean: Array

    @classmethod
    def of(cls, texture: Texture) -> ClassSpectra:
        """Compute them."""
        cells = Cells(texture.shape, tuple(each == "periodic" for each in texture.boundaries))
        noise = _NOISE * sum(component.rms_weight**2 for component in texture.components)
        powers, slopes, leaks = [], [], []
        for number, component in enumerate(texture.components):
            of_choices, their_slopes, their_leaks = [], [], []
            for (choice,) in component.choices:
                power, leak = _power_and_leak(texture, cells, number, choice)
                of_choices.append(power)
                their_leaks.append(leak)
                their_slopes.append(_slope(texture, cells, number, choice))
            powers.append(tuple(of_choices))
            slopes.append(tuple(their_slopes))
            leaks.append(their_leaks)
        clean = cells.counts.copy()
        for label in range(texture.class_count):
            choices = texture.choices_of(label)
            power, leak = (
                np.sum([of[k] for of, k in zip(each, choices, strict=True)], axis=0)
                for each in (powers, leaks)
            )
            clean[leak > _MOST_LEAKED * (power + noise)] = 0.0
        if texture.standardize:
            clean[0] = 0.0  # the mean, which is 0
        return cls(texture, cells, noise, tuple(powers), tuple(slopes), clean)

    def components(self, label: int) -> list[Array]:
        """Return the power of each component in a class."""
        choices = self.texture.choices_of(label)
        return [of[k] for of, k in zip(self.powers, choices, strict=True)]

    def slopes_of(self, label: int) -> list[Array]:
        """Return the slope of each component in a class."""
        choices = self.texture.choices_of(label)
        return [of[k] for of, k in zip(self.slopes, choices, strict=True)]

    def total(self, label: int) -> Array:
        """Return the power of a class, with the noise."""
        whole: Array = np.sum(self.components(label), axis=0) + self.noise
        return whole

    def scaled_component(self, label: int, number: int, factor: float) -> Array:
        """Return the power of a class's component whose length-scale is multiplied."""
        (choice,) = self.texture.chosen(label)[number]
        if self.texture.components[number].kernel == "white":
            factor = 1.0  # it has no length-scale
        return _power(self.texture, self.cells, number, scaled_choice(choice, factor))


def _power_and_leak(
    texture: Texture, cells: Cells, number: int, choice: Choice
) -> tuple[Array, Array]:
    component = texture.components[number]
    field = field_modes(texture, component.kernel, choice)
    variance = variance_of(field, component.rms_weight, texture.standardize)
    powers = field.powers(cells.modes)
    leaked = np.abs(powers - field.spectrum(cells.modes))
    return _in_cells(texture, cells, variance * powers), variance * cells.means(leaked)


def _power(texture: Texture, cells: Cells, number: int, choice: Choice) -> Array:
    component = texture.components[number]
    field: FieldModes = field_modes(texture, component.kernel, choice)
    variance = variance_of(field, component.rms_weight, texture.standardize)
    return _in_cells(texture, cells, variance * field.powers(cells.modes))


def _in_cells(texture: Texture, cells: Cells, powers: Array) -> Array:
    found = cells.means(powers)
    if texture.standardize:
        found[0] = 0.0
    return found


def _slope(texture: Texture, cells: Cells, number: int, choice: Choice) -> Array:
    if texture.components[number].kernel == "white":
        return np.zeros(len(cells.counts))
    above, below = (
        _power(texture, cells, number, scaled_choice(choice, factor))
        for factor in (np.exp(_STEP / 2), np.exp(-_STEP / 2))
    )
    slope: Array = (above - below) / _STEP
    return slope
