"""Images drawn in mode space: the modes that an observer looks at, and no pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpgen.observer.class_modes import ClassModes, ComponentModes
from gpgen.observer.mode_set import ModeSet

__all__ = ["SeenImages", "draw", "joined"]

Array = npt.NDArray[np.float64]


class SeenImages(NamedTuple):
    """What an observer sees of some images.

    Parameters
    ----------
    blocks
        Amplitudes of the modes of each block, shape (images, modes).
    squares
        Squares of the amplitudes of single modes, float32, shape (images, modes).
    """

    blocks: tuple[Array, ...]
    squares: npt.NDArray[np.float32]

    def taken(self, positions: npt.NDArray[np.int64]) -> SeenImages:
        """Return some of the images."""
        return SeenImages(tuple(block[positions] for block in self.blocks), self.squares[positions])


def draw(
    components: ClassModes, modes: ModeSet, noise: float, count: int, seed: Sequence[int]
) -> SeenImages:
    """Draw images of one class.

    What is drawn of a mode doesn't depend on how many modes there are, nor an image on how many
    are drawn.

    Parameters
    ----------
    components
        The class.
    modes
        Where its modes are.
    noise
        The variance of white noise in a pixel.
    count
        How many images.
    seed
        Of the random numbers, which are of use for this class alone.
    """
    blocks = [np.zeros((count, len(block))) for block in modes.blocks]
    single = np.zeros((count, len(modes.single)), dtype=np.float32)
    for number, component in enumerate(components):
        own_blocks = []
        for k, root in enumerate(component.roots):
            z = np.random.default_rng([*seed, number, 0, k]).standard_normal((count, len(root)))
            own_blocks.append(z @ root.T)
        own_single = _normal(modes, count, [*seed, number, 1])
        own_single *= np.sqrt(component.single).astype(np.float32)
        scale = _scale(component, own_blocks, own_single, [*seed, number, 2])
        for block, own in zip(blocks, own_blocks, strict=True):
            block += own * scale
        single += own_single * scale.astype(np.float32)
    last = len(components)
    for k, block in enumerate(blocks):
        rng = np.random.default_rng([*seed, last, 0, k])
        block += noise**0.5 * rng.standard_normal(block.shape)
    single += np.float32(noise**0.5) * _normal(modes, count, [*seed, last, 1])
    single *= single
    return SeenImages(tuple(blocks), single)


def joined(parts: Sequence[SeenImages]) -> SeenImages:
    """Return the images of several classes as one."""
    blocks = zip(*(part.blocks for part in parts), strict=True)
    return SeenImages(
        tuple(np.concatenate(block) for block in blocks),
        np.concatenate([part.squares for part in parts]),
    )


def _normal(modes: ModeSet, count: int, seed: Sequence[int]) -> npt.NDArray[np.float32]:
    out = np.empty((count, len(modes.single)), dtype=np.float32)
    start = 0
    for number, shell in enumerate(modes.shells):
        rng = np.random.default_rng([*seed, number])
        z = rng.standard_normal((count, len(shell)), dtype=np.float32)
        out[:, start : start + len(shell)] = z
        start += len(shell)
    return out


def _scale(
    component: ComponentModes,
    blocks: Sequence[Array],
    single: npt.NDArray[np.float32],
    seed: Sequence[int],
) -> Array:
    """Return what standardizing multiplies each image by, shape (images, 1).

    Modes that nobody looks at have a power of their own: a sum of squares, drawn as a gamma
    variate of its mean and variance.
    """
    count = len(single)
    if component.power is None:
        return np.ones((count, 1))
    squares = np.einsum("ij,ij->i", single, single).astype(np.float64)
    for block in blocks:
        squares += np.einsum("ij,ij->i", block, block)
    variance = 2 * component.unseen_squares
    if component.unseen and variance:
        rng = np.random.default_rng([*seed])
        squares += rng.gamma(component.unseen**2 / variance, variance / component.unseen, count)
    scale: Array = np.sqrt(component.power / squares)
    return scale[:, None]
