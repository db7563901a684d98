"""Recipes with ``algorithm = "golkar2018"``: sums of the 2018 generator's textures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError, UsageError
from gpgen.exact.arrays import Arrays
from gpgen.exact.field import Contribution, Grid
from gpgen.exact.fixed_point import fraction_bits
from gpgen.exact.mosaic import Mosaic, Patch, texture
from gpgen.exact.normal import LARGEST
from gpgen.exact.texture import LengthScale, Texture

__all__ = ["MosaicField", "check"]


def check(what: Texture) -> None:
    """Raise `RecipeError` for what the 2018 generator can't draw."""
    square = len(what.shape) == 2 and what.shape[0] == what.shape[1]
    if not square or what.boundary != "open" or not what.standardize:
        raise RecipeError(
            'algorithm "golkar2018" draws square, standardized images with an open boundary only',
            'mend shape, standardize and boundary, or use algorithm = "exact"',
        )
    for number, component in enumerate(what.components, start=1):
        for scale in component.all_length_scales:
            if component.kernel != "rbf" or isinstance(scale, tuple):
                raise RecipeError(
                    f'component {number}: algorithm "golkar2018" knows the rbf kernel only, with '
                    "one number for a length-scale",
                    'use these, or algorithm = "exact"',
                )
            try:
                texture(scale, what.shape[0])
            except UsageError as error:
                raise RecipeError(f"component {number}: {error.message}", error.hint) from None


@dataclass(frozen=True)
class MosaicField:
    """A `gpgen.exact.field.Field`: a texture of the 2018 generator.

    Parameters
    ----------
    source
        What draws it.
    """

    source: Patch | Mosaic
    factors: tuple[()] = ()
    last_factor: None = None
    torus_points: int = 0

    @classmethod
    def of(cls, scale: LengthScale, size: int) -> MosaicField:
        """Return the field of a length-scale, in an image of `size` pixels an axis."""
        assert not isinstance(scale, tuple)  # noqa: S101 - checked with the recipe
        return cls(texture(scale, size))

    @property
    def patch(self) -> Patch:
        """What the image is, or what it is filled with."""
        return self.source.patch if isinstance(self.source, Mosaic) else self.source

    @property
    def gain(self) -> float:
        """The largest value that noise of at most one in absolute value can become."""
        return self.patch.axis_factor.row_sum**2

    @property
    def grid(self) -> Grid:
        """On what grid the patches' sums are exact."""
        bound = LARGEST * self.gain
        bits = fraction_bits(bound) - self.patch.axis_factor.bits
        return Grid(math.log2(bound) + bits + self.patch.axis_factor.bits, 2.0**-bits)

    @property
    def covariance_error(self) -> float:
        """The largest difference from the 2018 program's, over all pairs of pixels of a patch."""
        return self.patch.covariance_error

    @property
    def relative_deviation(self) -> float:
        """1: `gpgen.exact.mosaic.texture` refuses what is nearly constant."""
        return 1.0

    def draw(
        self,
        arrays: Arrays,
        seeds: npt.NDArray[np.uint64],
        stream: int,
        weights: npt.NDArray[np.float64],
        standardize: bool,  # noqa: ARG002 - always, as `check` has seen to
    ) -> Contribution:
        """Draw the component: all its pixels."""
        images = [
            self.source.standardized(seed, stream) * weight
            for seed, weight in zip(seeds.tolist(), weights.tolist(), strict=True)
        ]
        none = np.zeros(len(seeds))
        return Contribution(None, none, none, pixels=arrays.load(np.stack(images)))
