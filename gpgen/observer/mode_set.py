"""Which of an image's modes an observer looks at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpgen.observer.field_modes import FieldModes, Modes, box_of

__all__ = ["ModeSet", "all_modes", "levels", "mode_blocks", "mode_set"]

_FEWEST: Final = {1: 256, 2: 32, 3: 12}
"""By the image's axes: modes of an axis to begin with."""

_MOST_MODES: Final = 2**14

_MOST_LEAKED: Final = 0.1
_FAINTEST: Final = 0.01

Fields = Sequence[tuple[float, FieldModes]]
"""A class: its fields, each after its variance."""


@dataclass(frozen=True, eq=False)
class ModeSet:
    """An image's lowest modes.

    Parameters
    ----------
    blocks
        Modes whose correlations count, those of one parity together.
    shells
        Modes taken as independent of all others, those of a level together.
    """

    blocks: tuple[Modes, ...]
    shells: tuple[Modes, ...]

    @property
    def single(self) -> Modes:
        """The modes of all shells, shape (modes, axes)."""
        return np.concatenate(self.shells)


def levels(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return modes of each axis, doubled until they are all there are, or too many.

    The first are about the box.
    """
    found: list[tuple[int, ...]] = []
    for exponent in itertools.count():
        level = tuple(min(_FEWEST[len(shape)] << exponent, pixels) for pixels in shape)
        if found and math.prod(level) > _MOST_MODES:
            break
        found.append(level)
        if level == shape:
            break
    return tuple(found)


def mode_set(
    classes: Sequence[Fields], shape: tuple[int, ...], level: int, noise: float
) -> ModeSet:
    """Choose among an image's lowest modes.

    The box of modes whose correlations count is always there. Outside of it are left out modes
    that hold noise alone, and those of which more than a tenth is leakage in some class: these
    are correlated, and to take them as independent would count one thing several times.

    Parameters
    ----------
    classes
        Of every class the fields.
    shape
        The image's pixels.
    level
        How often the modes have been doubled: the position in `levels`.
    noise
        The variance of white noise in a pixel.
    """
    periodic = classes[0][0][1].periodic
    box = box_of(shape, periodic)
    is_rotated = any(field.is_rotated for fields in classes for _, field in fields)
    blocks = mode_blocks(box, periodic, is_rotated)
    shells = []
    inner = (0,) * len(shape)
    for outer in levels(shape)[: level + 1]:
        modes = all_modes(outer)
        within = (modes < inner).all(axis=1) | (modes < box).all(axis=1)
        shells.append(_usable(modes[~within], classes, noise))
        inner = outer
    return ModeSet(blocks, tuple(shells))


def all_modes(counts: tuple[int, ...]) -> Modes:
    """Return the lowest modes of each axis, shape (modes, axes)."""
    return np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(
        -1, len(counts)
    )


def mode_blocks(
    box: tuple[int, ...], periodic: tuple[bool, ...], is_rotated: bool
) -> tuple[Modes, ...]:
    """Group a box's modes by parity along open axes, and by themselves along periodic ones.

    A rotated field is symmetrical about the middle of the image only: all parities together.
    """
    modes = all_modes(box)
    if not len(modes):
        return ()
    group = np.where(periodic, modes, modes % 2)
    if is_rotated:
        group = modes.sum(axis=1, keepdims=True) % 2
    _, which = np.unique(group, axis=0, return_inverse=True)
    which = which.reshape(-1)
    return tuple(modes[which == k] for k in range(which.max() + 1))


def _usable(modes: Modes, classes: Sequence[Fields], noise: float) -> Modes:
    loud = np.zeros(len(modes), dtype=bool)
    clean = np.ones(len(modes), dtype=bool)
    for fields in classes:
        powers = np.zeros(len(modes))
        leaked = np.zeros(len(modes))
        for variance, field in fields:
            power = variance * field.powers(modes)
            powers += power
            leaked += np.abs(power - variance * field.spectrum(modes))
        loud |= powers > _FAINTEST * noise
        clean &= leaked <= _MOST_LEAKED * powers
    return modes[loud & clean]
