"""The classes of a recipe in modes: covariances, weights, standardizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Texture
from gpgen.observer.field_modes import FieldModes, Modes
from gpgen.observer.mode_set import ModeSet, mode_set
from gpgen.observer.stationary_modes import field_modes

__all__ = ["ClassModes", "ComponentModes", "classes_in_modes"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ComponentModes:
    """One choice of a component in the modes that an observer looks at.

    Standardizing divides an image by its own deviation, whose expected square is 1 minus the mean
    covariance. Here it is divided by that; what is left is an amplitude about 1 that nobody knows.

    Parameters
    ----------
    blocks
        Covariance matrices, one a block, of the weighted field.
    single
        Variances of modes taken as independent.
    power
        What the squares of a standardized image's modes sum to, all modes together; None if it
        isn't standardized.
    unseen_squares
        The squares of the variances of a standardized image's other modes, summed.
    """

    blocks: tuple[Array, ...]
    single: Array
    power: float | None
    unseen_squares: float = 0.0

    @classmethod
    def of(
        cls, field: FieldModes, weight: float, standardize: bool, modes: ModeSet
    ) -> ComponentModes:
        """Project a field of variance 1."""
        variance = variance_of(field, weight, standardize)
        single = variance * field.powers(modes.single)
        blocks = [variance * field.matrix(block) for block in modes.blocks]
        pixels = math.prod(field.shape)
        if not standardize:
            return cls(tuple(blocks), single, None)
        single[_is_constant(modes.single)] = 0.0
        for block, matrix in zip(modes.blocks, blocks, strict=True):
            constant = _is_constant(block)
            matrix[constant] = matrix[:, constant] = 0.0
        squares = field.square_powers - (field.mean_covariance * pixels) ** 2
        seen = [single, *(matrix.diagonal() for matrix in blocks)]
        unseen = variance**2 * squares - sum(float(powers @ powers) for powers in seen)
        return cls(tuple(blocks), single, weight**2 * pixels, max(0.0, unseen))

    @property
    def seen(self) -> float:
        """The expected sum of the squares of the modes that are looked at."""
        return sum(float(np.trace(block)) for block in self.blocks) + float(self.single.sum())

    @property
    def unseen(self) -> float:
        """The expected sum of the squares of a standardized image's other modes."""
        return 0.0 if self.power is None else max(0.0, self.power - self.seen)

    @cached_property
    def roots(self) -> tuple[Array, ...]:
        """Matrices whose products with their own transposes are the blocks."""
        roots = []
        for block in self.blocks:
            values, vectors = np.linalg.eigh(block)
            roots.append(vectors * np.sqrt(np.maximum(values, 0.0)))
        return tuple(roots)

    @cached_property
    def spread(self) -> float:
        """The standard deviation of the amplitude's logarithm; 0 if it isn't standardized.

        Half that of a sum of squares, relative to its mean: for a covariance matrix K of the
        modes, sqrt(2 tr(K K)) / 2 power.
        """
        if self.power is None:
            return 0.0
        squares = sum(float(np.sum(block * block)) for block in self.blocks)
        squares += float(np.sum(self.single * self.single)) + self.unseen_squares
        return math.sqrt(2 * squares) / (2 * self.power)


def variance_of(field: FieldModes, weight: float, standardize: bool) -> float:
    """Return the variance of a pixel, beside what the removed mean takes away."""
    return weight**2 / (1 - field.mean_covariance) if standardize else weight**2


def _is_constant(modes: Modes) -> npt.NDArray[np.bool_]:
    constant: npt.NDArray[np.bool_] = (modes == 0).all(axis=1)
    return constant


ClassModes = Sequence[ComponentModes]
"""One class: its components."""


def classes_in_modes(
    texture: Texture, level: int, noise: float
) -> tuple[ModeSet, tuple[ClassModes, ...]]:
    """Return the modes of a level, and every class in them.

    Parameters
    ----------
    texture
        The components.
    level
        How often the modes have been doubled (`gpgen.observer.mode_set.levels`).
    noise
        The variance of white noise in a pixel.
    """
    fields = {
        (number, choice): field_modes(texture, component.kernel, choice)
        for number, component in enumerate(texture.components)
        for (choice,) in component.choices
    }
    labels = [
        [(number, choice) for number, (choice,) in enumerate(texture.chosen(label))]
        for label in range(texture.class_count)
    ]
    weights = [component.rms_weight for component in texture.components]
    modes = mode_set(
        [
            [
                (variance_of(fields[c], weights[c[0]], texture.standardize), fields[c])
                for c in choices
            ]
            for choices in labels
        ],
        texture.shape,
        level,
        noise,
    )
    projected = {
        c: ComponentModes.of(field, weights[c[0]], texture.standardize, modes)
        for c, field in fields.items()
    }
    return modes, tuple(tuple(projected[c] for c in choices) for choices in labels)
