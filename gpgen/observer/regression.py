r"""How exactly a length-scale can be told from one image: the Cramér-Rao bound.

For normal modes of covariance C, with the derivative :math:`C_i` by a parameter, Fisher's
information is

.. math:: F_{ij} = \tfrac12 \operatorname{tr}(C^{-1} C_i \, C^{-1} C_j),

and no unbiased estimate has a smaller covariance than :math:`F^{-1}` (S. M. Kay, Fundamentals of
Statistical Signal Processing, 1993, sections 3.7 and 3.9). Parameters are the logarithms of all
length-scales that are drawn and, of standardized images, those of all components' variances: that
standardizing fixes powers is not used.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.linalg

from gpgen.exact.field_kinds import scaled_kernel
from gpgen.exact.stationary import SpectralKernel
from gpgen.exact.texture import Choice, Texture
from gpgen.observer.class_modes import ComponentModes, variance_of
from gpgen.observer.component_spectra import scaled_choice
from gpgen.observer.field_modes import SeparableModes, box_of
from gpgen.observer.mode_set import ModeSet, all_modes, mode_blocks
from gpgen.observer.result import ComponentBounds, LengthScaleBound, LengthScaleBounds
from gpgen.observer.stationary_modes import field_modes
from gpgen.progress import Progress, Tell

__all__ = ["information", "length_scale_bounds"]

Array = npt.NDArray[np.float64]

_STEP: Final = 0.02
"""Of a length-scale's logarithm, for a derivative."""

_MOST_MODES: Final = 2**22
_WIDEST: Final = 2**23
"""Pixels of a kernel that doesn't separate, up to which its covariance is taken."""


def length_scale_bounds(
    texture: Texture, noise: float, share: float, tell: Tell
) -> LengthScaleBounds:
    """Bound the error of each drawn length-scale, at the ends and in the middle of its range.

    The other components have their middle length-scales, which are unknown, too.

    Parameters
    ----------
    texture
        One class, in which length-scales are drawn.
    noise
        The variance of white noise in a pixel.
    share
        The deviation of that noise, as a part of the images' deviation.
    tell
        Told how far it is: its unit is "estimate".
    """
    drawn = [k for k, each in enumerate(texture.components) if each.drawn_count > 1]
    middle = {k: _three(texture, k)[1] for k in drawn}
    modes = _mode_set(texture)
    total, done, components = 3 * len(drawn), 0, []
    for number, component in enumerate(texture.components):
        bounds = []
        for scale in _three(texture, number) if number in drawn else ():
            tell(Progress(done, total, "estimate"))
            fixed = _fixed(texture, {**middle, number: scale})
            covariance = np.linalg.pinv(information(fixed, modes, drawn, noise), hermitian=True)
            which = drawn.index(number)
            bounds.append(LengthScaleBound(scale, math.sqrt(covariance[which, which])))
            done += 1
        name = component.name_of(component.choices[0])
        components.append(ComponentBounds(name, tuple(bounds)))
    tell(Progress(total, total, "estimate"))
    count = sum(map(len, modes.blocks)) + len(modes.single)
    return LengthScaleBounds(tuple(components), count, share)


def _three(texture: Texture, number: int) -> tuple[float, float, float]:
    scales = texture.components[number].all_length_scales
    values = [each for each in scales if isinstance(each, float | int)]
    return values[0], values[len(values) // 2], values[-1]


def _fixed(texture: Texture, scales: dict[int, float]) -> Texture:
    """Return a texture whose length-scales are no longer drawn."""
    components = [
        msgspec.structs.replace(each, length_scales=(scales[k],)) if k in scales else each
        for k, each in enumerate(texture.components)
    ]
    return dataclasses.replace(texture, components=tuple(components))


def _mode_set(texture: Texture) -> ModeSet:
    """Return all modes, of an image of more than 2^22 pixels the lowest ones."""
    counts = list(texture.shape)
    while math.prod(counts) > _MOST_MODES:
        longest = counts.index(max(counts))
        counts[longest] //= 2
    periodic = tuple(boundary == "periodic" for boundary in texture.boundaries)
    box = box_of(texture.shape, periodic)
    modes = all_modes(tuple(counts))
    single = modes[~(modes < box).all(axis=1)]
    is_rotated = any("angle" in component.offers for component in texture.components)
    return ModeSet(mode_blocks(box, periodic, is_rotated), (single,))


def information(texture: Texture, modes: ModeSet, unknown: Sequence[int], noise: float) -> Array:
    """Return Fisher's information about a texture's parameters in one image.

    Parameters
    ----------
    texture
        One class, one length-scale a component.
    modes
        What is seen.
    unknown
        Components whose length-scales are unknown.
    noise
        The variance of white noise in a pixel.

    Returns
    -------
    ndarray of float64, shape (parameters, parameters)
        Logarithms of the unknown length-scales; then, of standardized images, of all variances.
    """
    chosen = [alternatives[0] for alternatives in texture.chosen(0)]
    components = [_in_modes(texture, k, choice, modes) for k, choice in enumerate(chosen)]
    slopes = []
    for number in unknown:
        above, below = (
            _in_modes(texture, number, scaled_choice(chosen[number], math.exp(step)), modes)
            for step in (_STEP / 2, -_STEP / 2)
        )
        blocks = [(a - b) / _STEP for a, b in zip(above.blocks, below.blocks, strict=True)]
        single = (above.single - below.single) / _STEP
        slopes.append(ComponentModes(tuple(blocks), single, None))
    return _of_covariances(components, slopes + components * texture.standardize, noise)


def _in_modes(texture: Texture, number: int, choice: Choice, modes: ModeSet) -> ComponentModes:
    """Project a component; single modes without leakage, which correlates them, if it is known."""
    component = texture.components[number]
    field = field_modes(texture, component.kernel, choice)
    found = ComponentModes.of(field, component.rms_weight, texture.standardize, modes)
    family = scaled_kernel(texture, component.kernel, *choice).family
    twice = np.array([1 if closed else 2 for closed in field.periodic])
    wide = tuple((twice * field.shape).tolist())
    if (
        field.is_rotated
        or isinstance(family, SpectralKernel)
        or (not isinstance(field, SeparableModes) and math.prod(wide) > _WIDEST)
    ):
        return found
    # On twice as long an axis, at whose end a covariance is nearly 0.
    wider = field_modes(dataclasses.replace(texture, shape=wide), component.kernel, choice)
    variance = variance_of(field, component.rms_weight, texture.standardize)
    single = variance * wider.spectrum(modes.single * twice)
    return dataclasses.replace(found, single=single)


def _of_covariances(
    components: Sequence[ComponentModes], slopes: Sequence[ComponentModes], noise: float
) -> Array:
    whole = np.sum([each.single for each in components], axis=0) + noise
    relative = np.stack([each.single / whole for each in slopes])
    found: Array = relative @ relative.T / 2
    for k, block in enumerate(components[0].blocks):
        total = np.sum([each.blocks[k] for each in components], axis=0) + noise * np.eye(len(block))
        factor = scipy.linalg.cho_factor(total, lower=True, check_finite=False)
        solved = [scipy.linalg.cho_solve(factor, each.blocks[k]) for each in slopes]
        flat = np.stack([each.reshape(-1) for each in solved])
        turned = np.stack([each.T.reshape(-1) for each in solved])
        found += flat @ turned.T / 2
    return found
