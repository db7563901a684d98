"""What a recipe's classes are expected to have in each cell of modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Choice, Texture
from gpgen.observer.cells import Cells
from gpgen.observer.component_spectra import ComponentPower, ComponentSpectra

__all__ = ["ClassSpectra"]

Array = npt.NDArray[np.float64]

_NOISE: Final = 1e-4
"""Part of the variance below which a mode's power tells nothing: it may be rounding."""

_MOST_LEAKED: Final = 0.5
"""Above it, modes are too correlated to be taken as independent."""


@dataclass(frozen=True, eq=False)
class ClassSpectra:
    """The power of each class in each cell, if each component has drawn certain length-scales.

    Parameters
    ----------
    components
        The powers of its components.
    noise
        The power that is added to every mode.
    positions
        What each component has drawn, of its alternatives: 0 where there is one.
    totals
        Power with the noise, shape (classes, cells).
    clean
        Modes of each cell that may be taken as independent, shape (cells,): all or none.
    """

    components: ComponentSpectra
    noise: float
    positions: tuple[int, ...]
    totals: Array
    clean: Array

    @classmethod
    def of(cls, components: ComponentSpectra, positions: tuple[int, ...]) -> ClassSpectra:
        """Add components up."""
        texture, cells = components.texture, components.cells
        noise = _NOISE * sum(component.moments[1] for component in texture.components)
        clean = cells.counts.copy()
        totals = np.full((texture.class_count, len(clean)), noise)
        for label, total in enumerate(totals):
            of_class = _powers(components, label, positions)
            total += np.sum([each.power for each in of_class], axis=0)
            clean[np.sum([each.leak for each in of_class], axis=0) > _MOST_LEAKED * total] = 0.0
        if texture.standardize or texture.is_transformed:
            clean[0] = 0.0  # the mean, which is 0, or that of transformed values
        return cls(components, noise, positions, totals, clean)

    @property
    def texture(self) -> Texture:
        """The recipe's components."""
        return self.components.texture

    @property
    def cells(self) -> Cells:
        """The cells."""
        return self.components.cells

    def powers_of(self, label: int) -> list[ComponentPower]:
        """Return the power of each component in a class."""
        return _powers(self.components, label, self.positions)

    def choice_of(self, label: int, number: int) -> Choice:
        """Return what a component is in a class."""
        return self.texture.chosen(label)[number][self.positions[number]]

    def scaled_component(self, label: int, number: int, factor: float) -> Array:
        """Return the power of a class's component whose length-scale is multiplied."""
        return self.components.scaled(number, self.choice_of(label, number), factor)


def _powers(
    components: ComponentSpectra, label: int, positions: tuple[int, ...]
) -> list[ComponentPower]:
    chosen = components.texture.chosen(label)
    return [
        components.of(number, alternatives[positions[number]])
        for number, alternatives in enumerate(chosen)
    ]
