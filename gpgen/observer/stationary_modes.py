"""A component of any stationary kernel in the modes of an image."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from gpgen.errors import UsageError
from gpgen.exact.field_kinds import scaled_kernel
from gpgen.exact.kernels import KERNELS
from gpgen.exact.marginals import MARGINALS
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.stationary import SpectralKernel
from gpgen.exact.texture import Choice, Texture
from gpgen.exact.torus_choice import torus_for
from gpgen.exact.torus_size import ImageGrid
from gpgen.observer.axis_modes import mode_powers, modes_of_axis, spectrum_of_modes
from gpgen.observer.field_modes import FieldModes, Modes, SeparableModes, box_of

__all__ = ["StationaryModes", "field_modes"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StationaryModes:
    """A field that needn't separate (`gpgen.observer.field_modes.FieldModes`).

    Parameters
    ----------
    even
        Its covariance at the distances 0 to the pixels - 1 along each axis, the shorter way round
        on a periodic one: the mean over their signs.
    odd
        Of a rotated kernel, half the difference between distances of like and of unlike signs;
        None of any other.
    periodic
        Whether the ends meet, for each axis.
    """

    even: Array
    odd: Array | None
    periodic: tuple[bool, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's pixels."""
        return self.even.shape

    @property
    def is_rotated(self) -> bool:
        """Whether it mixes modes of unlike parity."""
        return self.odd is not None

    @functools.cached_property
    def _powers(self) -> Array:
        powers = self.even
        for axis, periodic in enumerate(self.periodic):
            powers = np.moveaxis(mode_powers(np.moveaxis(powers, axis, 0), periodic), 0, axis)
        if self.odd is None or not all(self.periodic):
            return np.maximum(powers, 0.0)  # but for rounding
        # A wave and its mirror image have different powers, and two modes each: cos(a + b) and
        # sin(a + b), cos(a - b) and sin(a - b), in the place of the products of sines and cosines.
        of_waves = np.real(scipy.fft.fft2(self.odd))
        numbers = [(np.arange(pixels) + 1) // 2 for pixels in self.shape]
        sign = np.where(np.arange(self.shape[0]) % 2 == 1, 1.0, -1.0)[:, None]
        mirrored: Array = np.maximum(powers + sign * of_waves[np.ix_(*numbers)], 0.0)
        return mirrored

    @functools.cached_property
    def _spectrum(self) -> Array:
        spectrum = self.even
        for axis, periodic in enumerate(self.periodic):
            moved = spectrum_of_modes(np.moveaxis(spectrum, axis, 0), periodic)
            spectrum = np.moveaxis(moved, 0, axis)
        return np.maximum(spectrum, 0.0)

    @functools.cached_property
    def _table(self) -> Array:
        """Covariances of two modes of the box, by the two numbers of each axis in turn."""
        box = box_of(self.shape, self.periodic)
        pairs = [
            _pairs(modes_of_axis(pixels, count, periodic), periodic)
            for pixels, count, periodic in zip(self.shape, box, self.periodic, strict=True)
        ]
        table = _contract(self.even, [together for together, _ in pairs])
        if self.odd is not None:
            table = table + _contract(self.odd, [apart for _, apart in pairs])
        return table.reshape([count for count in box for _ in range(2)])

    @property
    def mean_covariance(self) -> float:
        """The mean covariance over all pairs of pixels."""
        return float(self._powers.flat[0]) / math.prod(self.shape)

    @property
    def square_powers(self) -> float:
        """The squares of all modes' variances, summed."""
        return float(np.vdot(self._powers, self._powers))

    def powers(self, modes: Modes) -> Array:
        """Return the modes' variances."""
        powers: Array = self._powers[tuple(modes.T)]
        return powers

    def spectrum(self, modes: Modes) -> Array:
        """Return the modes' variances without leakage.

        None of an open rotated field: there every mode is correlated with its mirror image.
        """
        if all(self.periodic):
            return self.powers(modes)
        if self.is_rotated:
            return np.zeros(len(modes))
        spectrum: Array = self._spectrum[tuple(modes.T)]
        return spectrum

    def matrix(self, modes: Modes) -> Array:
        """Return the covariance of modes within the box, shape (modes, modes)."""
        places = [index for k in modes.T for index in (k[:, None], k[None, :])]
        matrix: Array = self._table[tuple(places)]
        return (matrix + matrix.T) / 2


def _pairs(modes: Array, periodic: bool) -> tuple[Array, Array]:
    """Return the products of two modes of an axis, summed over pixels at each distance.

    Both signs of the distance together, and their difference: each (modes * modes, pixels).
    """
    count, pixels = modes.shape
    length = pixels if periodic else 2 * pixels
    waves = scipy.fft.rfft(modes, length, axis=1)
    sums = scipy.fft.irfft(np.conj(waves)[:, None] * waves, length, axis=-1)
    forward = sums[..., :pixels]
    if periodic:
        return forward.reshape(-1, pixels), np.zeros((count * count, pixels))
    backward = np.concatenate([np.zeros((count, count, 1)), sums[..., :pixels:-1]], axis=-1)
    apart = forward - backward
    apart[..., 0] = 0.0
    return (forward + backward).reshape(-1, pixels), apart.reshape(-1, pixels)


def _contract(covariance: Array, pairs: Sequence[Array]) -> Array:
    for axis, of_axis in enumerate(pairs):
        covariance = np.moveaxis(np.tensordot(of_axis, covariance, axes=(1, axis)), 0, axis)
    return covariance


def field_modes(
    texture: Texture, kernel: str, choice: Choice, transform: str | None = None
) -> FieldModes:
    """Return one choice of a component in modes.

    Parameters
    ----------
    texture
        Of what images.
    kernel, choice
        The component's covariance.
    transform
        What its values become, shifted and scaled to mean 0 and variance 1 (`MARGINALS`). The
        covariance is then that of two pixels, whose distribution isn't normal.

    Raises
    ------
    UsageError
        If the kernel is rotated, and one axis periodic and the other open.
    """
    periodic = tuple(boundary == "periodic" for boundary in texture.boundaries)
    scaled = scaled_kernel(texture, kernel, *choice)
    if kernel in KERNELS and not scaled.is_rotated and transform is None:
        pairs = zip(scaled.lengths, _distances(texture.shape, periodic), strict=True)
        covariances = tuple(KERNELS[kernel](length).covariance(d) for length, d in pairs)
        return SeparableModes(covariances, periodic)
    if scaled.is_rotated and any(periodic) and not all(periodic):
        raise UsageError(
            "a rotated kernel's modes aren't known where one axis is periodic and the other open",
            "use one boundary for both axes",
        )
    like, unlike = _covariances(scaled, texture.shape, periodic)
    if transform is not None:
        mean = 0.0
        if texture.standardize:
            mean = field_modes(texture, kernel, choice).mean_covariance
        correlation = MARGINALS[transform].correlation
        like, unlike = (
            correlation(np.clip((each - mean) / (1 - mean), -1.0, 1.0), 1.0)
            for each in (like, unlike)
        )
    if not scaled.is_rotated:
        return StationaryModes(like, None, periodic)
    return StationaryModes((like + unlike) / 2, (like - unlike) / 2, periodic)


def _distances(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> list[Array]:
    every = [np.arange(pixels, dtype=np.float64) for pixels in shape]
    return [
        np.minimum(d, len(d) - d) if closed else d
        for d, closed in zip(every, periodic, strict=True)
    ]


def _covariances(
    kernel: ScaledKernel, shape: tuple[int, ...], periodic: tuple[bool, ...]
) -> tuple[Array, Array]:
    """Return the covariance at distances of like signs and of unlike ones."""
    if isinstance(kernel.family, SpectralKernel):
        # It is defined on the torus that it is drawn on.
        torus = torus_for(kernel, ImageGrid(shape, periodic))
        drawn = scipy.fft.irfftn(torus.spectrum() ** 2, torus.sizes)
        drawn /= drawn.flat[0]
        places = [np.arange(pixels) for pixels in shape]
        opposite = [places[0], *(-place for place in places[1:])]
        return drawn[np.ix_(*places)], drawn[np.ix_(*opposite)]
    axes = [
        d.reshape(-1, *(1,) * (len(shape) - 1 - axis))
        for axis, d in enumerate(_signed(shape, periodic))
    ]
    family = kernel.family
    like = np.broadcast_to(family.covariance(kernel.norm(tuple(axes))), shape)
    opposite_axes = (axes[0], *(-axis for axis in axes[1:]))
    return like, np.broadcast_to(family.covariance(kernel.norm(opposite_axes)), shape)


def _signed(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> list[Array]:
    """Return distances, on a periodic axis those beyond half-way as negative ones."""
    every = [np.arange(pixels, dtype=np.float64) for pixels in shape]
    return [
        np.where(d > len(d) / 2, d - len(d), d) if closed else d
        for d, closed in zip(every, periodic, strict=True)
    ]
