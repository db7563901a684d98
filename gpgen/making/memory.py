"""About how much memory a worker takes: a batch at work, and what is kept of the kernels."""

from __future__ import annotations

import itertools
import math
from typing import Final

from gpgen.exact.arrays import NUMPY
from gpgen.exact.axis import BLOCK, AxisFactor
from gpgen.exact.field import Field
from gpgen.exact.field_kinds import field_of
from gpgen.exact.texture import Texture
from gpgen.exact.transformed_field import transformed
from gpgen.format.image_writing import BATCH_BYTES
from gpgen.recipe import Recipe
from gpgen.sampling import KINDS_KEPT

__all__ = ["worker_memory"]

_NUMBER: Final = 8
"""Bytes of float64 and int64."""

_ALWAYS: Final = 2**22
"""What is imported and planned at the first image."""

# How many arrays of that size there are at the peak, measured (tests/test_memory.py). Some of it is
# free again, but not given back to the system.
_OF_ROWS: Final = 9
_OF_PIXELS: Final = 4
_OF_PROOF: Final = 7
_OF_KEPT_TORUS: Final = 4
_OF_TORUS: Final = 6


def worker_memory(recipe: Recipe) -> int:
    """Return about the bytes by which a process grows that draws a recipe's images.

    Workers that are threads of one process share what they keep of the kernels.
    """
    texture = recipe.texture
    components = [
        [
            transformed(field_of(texture, component.kernel, *choice), component.transform)
            for choice in itertools.chain(*component.choices)
        ]
        for component in texture.components
    ]
    fields = set(itertools.chain(*components))
    factors = {factor for field in fields for factor in field.factors}
    together = max(1, NUMPY.batch_bytes // (_NUMBER * math.prod(texture.shape)))
    pixels = math.prod(texture.shape)
    numbers = together * sum(max(_at_work(f, pixels) for f in each) for each in components)
    numbers += (2 if texture.standardize else 1) * sum(f.entries_bound for f in factors)  # Gram's
    numbers += max((_at_proof(factor) for factor in factors), default=0)
    numbers += _kinds(texture) * sum(map(_joined, components))
    tori = [field.torus_points for field in fields]
    numbers += _OF_KEPT_TORUS * sum(tori) + _OF_TORUS * max(tori)
    return _ALWAYS + 2 * max(BATCH_BYTES, recipe.image_nbytes) + _NUMBER * numbers


def _at_work(field: Field, pixels: int) -> int:
    """Return how many numbers a component of one sample takes while it is drawn."""
    factors = field.factors
    if not factors:
        return _OF_PIXELS * pixels
    # Axis by axis, columns become pixels; the last stage is the image, a block at a time.
    stages = [
        math.prod(f.pixels for f in factors[:axis]) * math.prod(f.columns for f in factors[axis:])
        for axis in range(len(factors))
    ]
    return _OF_ROWS * max(stages)


def _at_proof(factor: AxisFactor) -> int:
    """Return how many numbers the covariance error takes while it is computed."""
    return min(BLOCK, factor.pixels) * (factor.columns + _OF_PROOF * factor.pixels)


def _kinds(texture: Texture) -> int:
    """Return of how many kinds of samples the joint matrices are kept (`gpgen.sampling`)."""
    drawn = math.prod(component.drawn_count for component in texture.components)
    return min(texture.class_count * drawn, max(texture.class_count, KINDS_KEPT))


def _joined(fields: list[Field]) -> int:
    """Return how many numbers a component has in a joint matrix, in the mean."""
    last = [field.last_factor for field in fields]
    return sum(factor.entries_bound for factor in last if factor is not None) // len(fields)
