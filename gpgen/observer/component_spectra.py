"""The power that one choice of a component has in each cell of modes."""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Choice, Texture
from gpgen.observer.cells import Cells
from gpgen.observer.class_modes import variance_of
from gpgen.observer.field_modes import FieldModes
from gpgen.observer.stationary_modes import field_modes

__all__ = ["ComponentPower", "ComponentSpectra", "scaled_choice"]

Array = npt.NDArray[np.float64]

_STEP: Final = 0.02
"""Of a length-scale's logarithm, for its derivative."""

_KEPT: Final = 512


def scaled_choice(choice: Choice, factor: float) -> Choice:
    """Return a choice with all its length-scales multiplied."""
    scale = choice.length_scale
    if isinstance(scale, tuple):
        return choice._replace(length_scale=tuple(factor * each for each in scale))
    return choice._replace(length_scale=factor * scale)


class ComponentPower(NamedTuple):
    """Of one choice of a component, each of shape (cells,).

    Parameters
    ----------
    power
        The mean power.
    leak
        How much of it is leakage from other modes.
    slope
        Its derivative with respect to the length-scale's logarithm; 0 for what has none.
    """

    power: Array
    leak: Array
    slope: Array


class ComponentSpectra:
    """Computes powers when they are asked for, and keeps the last 512.

    Parameters
    ----------
    texture
        The components.
    """

    def __init__(self, texture: Texture) -> None:
        self.texture = texture
        self.cells = Cells(texture.shape, tuple(each == "periodic" for each in texture.boundaries))
        self.of = functools.lru_cache(_KEPT)(self._of)

    def _of(self, number: int, choice: Choice) -> ComponentPower:
        """Return the power of a component's choice."""
        field, variance = self._field(number, choice)
        powers = field.powers(self.cells.modes)
        leaked = np.abs(powers - field.spectrum(self.cells.modes))
        return ComponentPower(
            self._in_cells(variance * powers),
            variance * self.cells.means(leaked),
            self._slope(number, choice),
        )

    def scaled(self, number: int, choice: Choice, factor: float) -> Array:
        """Return the power if a choice's length-scale is multiplied, if it has one."""
        if self.texture.components[number].kernel == "white":
            factor = 1.0
        field, variance = self._field(number, scaled_choice(choice, factor))
        return self._in_cells(variance * field.powers(self.cells.modes))

    def _field(self, number: int, choice: Choice) -> tuple[FieldModes, float]:
        """Return a field, and the variance of a pixel."""
        component = self.texture.components[number]
        field = field_modes(self.texture, component.kernel, choice, component.transform)
        if component.transform is not None:
            return field, component.moments[1]
        return field, variance_of(field, component.rms_weight, self.texture.standardize)

    def _in_cells(self, powers: Array) -> Array:
        found = self.cells.means(powers)
        if self.texture.standardize:
            found[0] = 0.0
        return found

    def _slope(self, number: int, choice: Choice) -> Array:
        if self.texture.components[number].kernel == "white":
            return np.zeros(len(self.cells.counts))
        above, below = (
            self.scaled(number, choice, factor) for factor in np.exp((_STEP / 2, -_STEP / 2))
        )
        slope: Array = (above - below) / _STEP
        return slope
