"""A component of any stationary kernel, drawn by an exact convolution on a torus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gpgen.exact.arrays import Arrays
from gpgen.exact.convolution import PIXEL_BITS, Convolution, standardized
from gpgen.exact.field import Contribution, Grid
from gpgen.exact.normal import LARGEST
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.torus import ROOT_BITS, Torus
from gpgen.exact.torus_choice import torus_for
from gpgen.exact.torus_size import TORUS_FACTORS, ImageGrid, sizes_for

__all__ = ["ConvolvedField"]


@dataclass(frozen=True)
class ConvolvedField:
    """A `gpgen.exact.field.Field` that needs no separable kernel.

    Its torus is chosen, and its covariance error computed, when that is asked for.

    Parameters
    ----------
    kernel
        The covariance.
    image
        The pixels.
    """

    kernel: ScaledKernel
    image: ImageGrid
    factors: tuple[()] = ()
    last_factor: None = None

    @cached_property
    def convolution(self) -> Convolution:
        """What draws it."""
        return Convolution(torus_for(self.kernel, self.image))

    @property
    def torus_points(self) -> int:
        """Points of the smallest torus that may do."""
        return math.prod(sizes_for(self.kernel, self.image, TORUS_FACTORS[0]))

    @property
    def grid(self) -> Grid:
        """The integers that pixels are multiples of; the largest is 8.5 standard deviations."""
        return Grid(PIXEL_BITS + math.log2(LARGEST), 2.0**-PIXEL_BITS)

    @property
    def covariance_error(self) -> float:
        """The largest absolute error of the covariance, over all pairs of pixels."""
        return self.convolution.torus.covariance_error

    @property
    def gain(self) -> float:
        """The largest value that noise of at most one in absolute value can become."""
        root = np.abs(self.convolution.torus.whole_root())
        return float(root.sum()) * 2.0**-ROOT_BITS

    @cached_property
    def relative_deviation(self) -> float:
        """Root of the expected variance over the pixels of one image; at most about 1."""
        # Of any torus, so that none need be chosen for an image that is nearly constant.
        sizes = sizes_for(self.kernel, self.image, TORUS_FACTORS[0])
        return math.sqrt(max(0.0, 1 - Torus(self.kernel, self.image, sizes).mean_covariance))

    def draw(
        self,
        arrays: Arrays,
        seeds: npt.NDArray[np.uint64],
        stream: int,
        weights: npt.NDArray[np.float64],
        standardize: bool,
    ) -> Contribution:
        """Draw the component: all its pixels."""
        fourier = arrays.fourier
        fields = []
        scale = weights * 2.0**-PIXEL_BITS
        for some in self.convolution.parts(len(seeds), fourier):
            noise = self.convolution.noise(seeds[some], stream, fourier)
            pixels = self.convolution.draw(noise, fourier)
            if standardize:
                values, deviation = standardized(pixels, fourier)
                with np.errstate(divide="ignore"):  # of equal pixels
                    scale[some] = weights[some] / deviation
            else:
                values = fourier.floats(pixels)
            fields.append(values if arrays.exact else arrays.load(values))
        # A large image is drawn alone, and not copied.
        images = fields[0] if len(fields) == 1 else arrays.concatenate(fields, axis=0)
        none = np.zeros(len(seeds))
        return Contribution(None, none, none, pixels=images, scale=scale)
