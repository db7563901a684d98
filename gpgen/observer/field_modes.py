"""A component in the modes of an image, where its covariance is a product over the axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from gpgen.observer.axis_modes import mode_matrix, mode_powers, spectrum_of_modes

__all__ = ["FieldModes", "Modes", "SeparableModes", "box_of"]

Array = npt.NDArray[np.float64]
Modes = npt.NDArray[np.int64]
"""Numbers of modes along each axis, shape (modes, axes)."""

_BOX: Final = {1: 256, 2: 32, 3: 12}
"""By the image's axes: modes of an axis whose correlations are taken into account."""


class FieldModes(Protocol):
    """A field of variance one, in the modes of an image."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's pixels."""
        ...

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Whether the ends meet, for each axis."""
        ...

    @property
    def is_rotated(self) -> bool:
        """Whether its covariance depends on the signs of distances: it mixes parities."""
        ...

    @property
    def mean_covariance(self) -> float:
        """The mean covariance over all pairs of pixels."""
        ...

    @property
    def square_powers(self) -> float:
        """The squares of all modes' variances, summed."""
        ...

    def powers(self, modes: Modes) -> Array:
        """Return the modes' variances."""
        ...

    def spectrum(self, modes: Modes) -> Array:
        """Return the variances that the modes would have on endless axes: without leakage."""
        ...

    def matrix(self, modes: Modes) -> Array:
        """Return the covariance of modes within the box, shape (modes, modes)."""
        ...


@dataclass(frozen=True, eq=False)
class SeparableModes:
    """A field whose covariance is a product over the axes (`FieldModes`).

    Parameters
    ----------
    covariances
        Along each axis, at the distances 0 to its pixels - 1.
    periodic
        Whether the ends meet, for each axis.
    """

    covariances: tuple[Array, ...]
    periodic: tuple[bool, ...]
    is_rotated: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's pixels."""
        return tuple(map(len, self.covariances))

    @functools.cached_property
    def _powers(self) -> list[Array]:
        pairs = zip(self.covariances, self.periodic, strict=True)
        return [np.maximum(mode_powers(*each), 0.0) for each in pairs]  # but for rounding

    @functools.cached_property
    def _spectra(self) -> list[Array]:
        pairs = zip(self.covariances, self.periodic, strict=True)
        return [np.maximum(spectrum_of_modes(*each), 0.0) for each in pairs]

    @functools.cached_property
    def _matrices(self) -> list[Array]:
        box = box_of(self.shape, self.periodic)
        return [
            np.diag(powers[:count]) if periodic else mode_matrix(covariance, count)
            for covariance, powers, periodic, count in zip(
                self.covariances, self._powers, self.periodic, box, strict=True
            )
        ]

    @property
    def mean_covariance(self) -> float:
        """The mean covariance over all pairs of pixels."""
        return math.prod(float(powers[0]) for powers in self._powers) / math.prod(self.shape)

    @property
    def square_powers(self) -> float:
        """The squares of all modes' variances, summed."""
        return math.prod(float(powers @ powers) for powers in self._powers)

    def powers(self, modes: Modes) -> Array:
        """Return the modes' variances."""
        return _product(powers[k] for powers, k in zip(self._powers, modes.T, strict=True))

    def spectrum(self, modes: Modes) -> Array:
        """Return the variances that the modes would have on endless axes: without leakage."""
        return _product(spectrum[k] for spectrum, k in zip(self._spectra, modes.T, strict=True))

    def matrix(self, modes: Modes) -> Array:
        """Return the covariance of modes within the box, shape (modes, modes)."""
        return _product(
            matrix[np.ix_(k, k)] for matrix, k in zip(self._matrices, modes.T, strict=True)
        )


def _product(factors: Iterable[Array]) -> Array:
    product: Array = functools.reduce(np.multiply, factors)
    return product


def box_of(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> tuple[int, ...]:
    """Return how many of each axis's modes have correlations that count."""
    if all(periodic):
        return (0,) * len(shape)
    return tuple(min(_BOX[len(shape)], count) for count in shape)
