"""The torus that a field is drawn on: its size, the kernel's root, and how exact it is.

White noise on a torus, convolved with the inverse transform of the square root of the
covariance's transform (its *root*), has that covariance. If the torus is so large that an image
doesn't notice its being closed, the image's covariance is the kernel's. The root is rounded to
multiples of ``2**-ROOT_BITS``, and the covariance error computed after that.

Everything here is computed once a kernel and length-scale, by operations that are the same on
every machine (`gpgen.exact.reproducible_fft`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from gpgen.exact.reproducible_fft import symmetric_transform
from gpgen.exact.scaled_kernel import ScaledKernel, root_of_squares
from gpgen.exact.stationary import SpectralKernel
from gpgen.exact.torus_size import ImageGrid

__all__ = ["ROOT_BITS", "Torus"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

ROOT_BITS: Final = 28
"""Values of a root are multiples of ``2**-ROOT_BITS``."""


@dataclass(frozen=True)
class Torus:
    """A kernel on a torus.

    Arrays over half a torus have the shape (1 or 2, sizes[0] // 2 + 1, ...) that
    `gpgen.exact.reproducible_fft.symmetric_transform` explains.

    Parameters
    ----------
    kernel
        The kernel.
    grid
        The image.
    sizes
        Points of each axis.
    """

    kernel: ScaledKernel
    grid: ImageGrid
    sizes: tuple[int, ...]

    @property
    def points(self) -> int:
        """How many points there are."""
        return math.prod(self.sizes)

    # The kernel and its root

    def _signed(self, axes: list[Array]) -> list[tuple[Array, ...]]:
        """Return the axes' coordinates, broadcastable, for each half that is kept."""
        count = len(axes)
        shaped = [x.reshape(-1, *(1,) * (count - 1 - axis)) for axis, x in enumerate(axes)]
        if not self.kernel.is_rotated:
            return [tuple(shaped)]
        return [(shaped[0], shaped[1]), (shaped[0], -shaped[1])]

    def _meant(self, distances: list[Array]) -> Array:
        """Return the kernel at distances along each axis: shape (1 or 2, *their lengths)."""
        assert not isinstance(self.kernel.family, SpectralKernel)  # noqa: S101 - narrows the type
        parts = [
            self.kernel.family.covariance(self.kernel.norm(axes))
            for axes in self._signed(distances)
        ]
        return self._same_on_the_border(np.stack(parts))

    def _same_on_the_border(self, half: Array) -> Array:
        """Give a point half-way round, where x and -x are one, the mean of its two values."""
        if len(half) == 2:
            for axis, size in enumerate(self.sizes):
                if half.shape[axis + 1] == size // 2 + 1 and size % 2 == 0:
                    border = half[(slice(None),) * (axis + 1) + (-1,)]
                    border[:] = (border[0] + border[1]) * 0.5
        return half

    @cached_property
    def _half(self) -> tuple[Array, Array]:
        """The covariance to be drawn, and its spectrum, over half a torus."""
        places = [np.arange(m // 2 + 1, dtype=np.float64) for m in self.sizes]
        if isinstance(self.kernel.family, SpectralKernel):
            cycles = [place / m for place, m in zip(places, self.sizes, strict=True)]
            parts = []
            for axes in self._signed(cycles):
                k = self.kernel.norm(axes, inverse=True)
                parts.append(self.kernel.family.spectrum(k, root_of_squares(list(axes))))
            spectrum = self._same_on_the_border(np.stack(parts))
            covariance = self._transform(spectrum)
            variance = float(covariance.flat[0])
            return covariance / variance, spectrum * (self.points / variance)
        bent = [
            d if closed else _bent(d, n, m / 2)
            for d, m, n, closed in zip(
                places, self.sizes, self.grid.pixels, self.grid.periodic, strict=True
            )
        ]
        covariance = self._meant(bent)
        return covariance, self._transform(covariance)

    def _transform(self, half: Array) -> Array:
        return symmetric_transform(half, self.sizes)

    @cached_property
    def negative_part(self) -> float:
        """How much variance negative values of the spectrum would carry; they are cut off.

        That is the error of the variance, before the root is rounded.
        """
        spectrum = self._half[1]
        weight = np.full(1, 1 / len(spectrum))
        for m in self.sizes:
            count = np.full(m // 2 + 1, 2.0)
            count[0] = 1.0
            if m % 2 == 0:
                count[-1] = 1.0
            weight = weight[..., None] * count
        cut = np.maximum(-spectrum, 0.0) * (weight / self.points)
        # Integers add up to the same in any order.
        return float(np.rint(cut * 2.0**50).astype(np.int64).sum()) * 2.0**-50

    @cached_property
    def root(self) -> Integers:
        """The root over half a torus, in units of ``2**-ROOT_BITS``."""
        amplitude = np.sqrt(np.maximum(self._half[1], 0.0))
        root = self._transform(amplitude) / self.points
        return np.rint(root * 2.0**ROOT_BITS).astype(np.int64)

    @cached_property
    def half_spectrum(self) -> Array:
        """The transform of the rounded root over half a torus, in its units."""
        return self._transform(self.root.astype(np.float64))

    # How exact it is

    @cached_property
    def covariance_error(self) -> float:
        """The largest difference between what is drawn and the kernel, over all pairs of pixels.

        A field is stationary on its torus, so that the pairs are the distances in an image.
        """
        drawn = self._drawn()
        distances = [
            np.arange(n // 2 + 1 if closed else n)
            for n, closed in zip(self.grid.pixels, self.grid.periodic, strict=True)
        ]
        opposite = [distances[0], *(-d for d in distances[1:])]
        signs = (distances, opposite)[: len(drawn)]
        if self._holds_all_pairs:
            meant = [self._at(self._half[0], d) for d in signs]
        else:
            meant = list(self._meant([d.astype(np.float64) for d in distances]))
        errors = [self._at(drawn, d) - part for d, part in zip(signs, meant, strict=True)]
        self.__dict__.pop("_half", None)  # as large as what is kept, and not needed again
        return max(float(np.abs(error).max()) for error in errors)

    @property
    def _holds_all_pairs(self) -> bool:
        """Whether the kernel itself, at all distances in an image, is what `_half` begins with."""
        if isinstance(self.kernel.family, SpectralKernel):
            return True
        room = zip(self.sizes, self.grid.pixels, self.grid.periodic, strict=True)
        return all(closed or m >= 2 * n for m, n, closed in room)

    def _drawn(self) -> Array:
        """Return the covariance of what is drawn, over half a torus."""
        amplitude = self.half_spectrum * 2.0**-ROOT_BITS
        return self._transform(amplitude * amplitude) / self.points

    def drawn_covariance(self, places: list[Integers]) -> Array:
        """Return the covariance of what is drawn, at lags of either sign.

        Parameters
        ----------
        places
            Along each axis, in pixels.

        Returns
        -------
        ndarray of float64, shape (len(place) for each of `places`)
        """
        return self._at(self._drawn(), places)

    @cached_property
    def mean_covariance(self) -> float:
        """The kernel's mean over all pairs of pixels: the expected square of an image's mean."""
        distances = [
            np.arange(n // 2 + 1 if closed else n, dtype=np.float64)
            for n, closed in zip(self.grid.pixels, self.grid.periodic, strict=True)
        ]
        if isinstance(self.kernel.family, SpectralKernel):
            within = tuple(slice(len(d)) for d in distances)
            covariance = self._half[0][:, *within]
        else:
            covariance = self._meant(distances)
        weight = np.ones(())
        for d, n, closed in zip(distances, self.grid.pixels, self.grid.periodic, strict=True):
            # Pairs at this distance, of both signs.
            count = np.full_like(d, 2.0 * n) if closed else 2 * (n - d)
            count[0] /= 2
            if closed and n % 2 == 0:
                count[-1] /= 2
            weight = weight[..., None] * (count / (float(n) * n))
        # Integers add up to the same in any order.
        scaled = np.rint(covariance * weight * 2.0**60 / len(covariance)).astype(np.int64)
        return float(scaled.sum()) * 2.0**-60

    # The whole torus, for drawing

    def whole_root(self) -> Integers:
        """Return the root over the torus, shape `sizes`, in units of ``2**-ROOT_BITS``."""
        return self._at(self.root, [np.arange(m) for m in self.sizes])

    def spectrum(self) -> Array:
        """Return the rounded root's transform as a real transform lays it out.

        Returns
        -------
        ndarray of float64, shape (*sizes[:-1], sizes[-1] // 2 + 1)
            In units of ``2**-ROOT_BITS``.
        """
        shape = (*self.sizes[:-1], self.sizes[-1] // 2 + 1)
        return self._at(self.half_spectrum, [np.arange(count) for count in shape])

    def _at(self, half: npt.NDArray[T], places: list[Integers]) -> npt.NDArray[T]:
        """Return what half a torus says of the points with these coordinates, of either sign."""
        around = [place % m for place, m in zip(places, self.sizes, strict=True)]
        beyond = [j > m // 2 for j, m in zip(around, self.sizes, strict=True)]
        folded = [np.minimum(j, m - j) for j, m in zip(around, self.sizes, strict=True)]
        if len(half) == 1:
            whole: npt.NDArray[T] = half[0][np.ix_(*folded)]
            return whole
        which = (beyond[0][:, None] != beyond[1]).astype(np.intp)
        signed: npt.NDArray[T] = half[which, folded[0][:, None], folded[1]]
        return signed


def _bent(d: Array, pixels: int, half: float) -> Array:
    """Return distances that grow ever slower beyond the image, and not at all half-way round.

    A covariance of them has no kink there, and so no negative values in its transform that a
    smooth kernel doesn't have itself. Their slope is 1 - (10 t^3 - 15 t^4 + 6 t^5), with t from
    0 at the image's end to 1.
    """
    room = half - pixels
    if room <= 0:
        return d
    t = np.clip((d - pixels) / room, 0.0, 1.0)
    t4 = t * t * t * t
    beyond = pixels + room * (t - t4 * (2.5 - 3 * t + t * t))
    return np.where(d <= pixels, d, beyond)
