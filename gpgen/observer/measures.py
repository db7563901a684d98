"""What is measured of each image: numbers that differ where the distribution does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Texture
from gpgen.observer.cells import in_modes
from gpgen.observer.class_spectra import ClassSpectra

__all__ = ["Measured", "Measures"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]

_BANDS: Final = 8
_VALUES: Final = 4096
"""Pixels of an image whose distinct values are counted."""

_SEEN_MODES: Final = 512
"""Modes by which images are compared with each other."""

_DECIMALS: Final = 4
"""To which a measure that standardizing fixes is compared: below, it is rounding."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Images of one class, measured.

    Parameters
    ----------
    values
        Shape (images, measures).
    powers
        Shape (images, cells).
    log_likelihoods
        Of each class, shape (images, classes).
    directions
        Some modes, scaled to length 1, shape (images, modes).
    """

    values: Array
    powers: Array
    log_likelihoods: Array
    directions: Array


class Measures:
    """Measures images of a texture.

    Parameters
    ----------
    spectra
        Of its classes.

    Attributes
    ----------
    names
        What each measure is of.
    """

    def __init__(self, spectra: ClassSpectra) -> None:
        self.spectra = spectra
        texture = spectra.texture
        self._bands, self.wavelengths = _bands(spectra)
        numbers = range(1, len(texture.components) + 1)
        self.names = (
            "mean", "distance of the mean from 0", "variance", "skewness", "kurtosis",
            "kurtosis of differences", "orientation", "number of equal values",
            *(f"power at wavelengths of {low:.3g} to {high:.3g} px"
              for low, high in self.wavelengths),
            "fit of the power spectrum",
            *(f"variance of component {k}" for k in numbers),
            *(f"length-scale of component {k}" for k in numbers),
            "posterior of the label",
        )  # fmt: skip
        labels = range(texture.class_count)
        self._totals = np.stack([spectra.total(label) for label in labels])
        self._logs = np.log(self._totals) @ spectra.clean
        self._weights = [self._weights_of(label) for label in labels]
        self._scale = sum(component.rms_weight**2 for component in texture.components) ** 0.5
        self._seen = _spread_modes(texture, spectra)

    def _weights_of(self, label: int) -> Array:
        total, clean = self._totals[label], self.spectra.clean
        parts = self.spectra.components(label) + self.spectra.slopes_of(label)
        columns = [1 / total, *(part / total**2 for part in parts)]
        weights: Array = np.stack(columns, axis=1) * clean[:, None]
        return weights

    def measure(self, images: Images, label: int) -> Measured:
        """Measure images of one class, shape (images, *shape)."""
        wide = images if images.dtype == np.float64 else images.astype(np.float32, copy=False)
        modes = in_modes(wide, self.spectra.cells.periodic)
        powers = self.spectra.cells.powers(modes)
        noisy = powers + self.spectra.noise
        log_likelihoods = -0.5 * (noisy @ (self.spectra.clean / self._totals).T + self._logs)
        others = np.delete(log_likelihoods, label, axis=1)
        own = log_likelihoods[:, label]
        worst = others.max(axis=1, initial=-np.inf)
        posterior = own - worst if others.shape[1] else np.zeros(len(images))
        columns = [*_of_pixels(wide, images, self._scale), *np.log(powers @ self._bands + 1e-30).T]
        columns += [*(powers @ self._weights[label]).T, posterior]
        chosen = modes.reshape(len(images), -1)[:, self._seen].astype(np.float64)
        chosen /= np.sqrt(self._totals[label])[self._cell_of_seen]
        length = np.linalg.norm(chosen, axis=1, keepdims=True)
        directions = chosen / np.where(length > 0, length, 1.0)
        return Measured(np.stack(columns, axis=1), powers, log_likelihoods, directions)

    @property
    def _cell_of_seen(self) -> npt.NDArray[np.int64]:
        return self.spectra.cells.cell_of_mode[self._seen]


def _of_pixels(wide: Images, images: Images, scale: float) -> list[Array]:
    """Return the measures that need no modes."""
    axes = tuple(range(1, images.ndim))
    mean = wide.mean(axis=axes, dtype=np.float64)
    centred = wide - mean.reshape(-1, *(1,) * len(axes)).astype(wide.dtype)
    squares = centred * centred
    variance = squares.mean(axis=axes, dtype=np.float64)
    safe = np.maximum(variance, 1e-30)
    third = (squares * centred).mean(axis=axes, dtype=np.float64) / safe**1.5
    fourth = (squares * squares).mean(axis=axes, dtype=np.float64) / safe**2
    steps = [np.diff(wide, axis=axis) for axis in axes if images.shape[axis] > 1]
    last = steps[-1] ** 2 if steps else np.ones_like(wide)
    slope = np.maximum(last.mean(axis=axes, dtype=np.float64), 1e-30)
    edges = (last * last).mean(axis=axes, dtype=np.float64) / slope**2
    turned = np.zeros(len(images))
    if len(steps) > 1:
        down, right = steps[-2][..., :-1], steps[-1][..., :-1, :]
        turned = (down * right).mean(axis=axes, dtype=np.float64) / slope
    flat = images.reshape(len(images), -1)
    some = np.sort(flat[:, :: max(1, flat.shape[1] // _VALUES)], axis=1)
    # At the ends equal values are a matter of clipping.
    inner = (some[:, 1:] < some[:, -1:]) & (some[:, :-1] > some[:, :1])
    equal = ((some[:, 1:] == some[:, :-1]) & inner).sum(axis=1).astype(np.float64)
    # Of standardized images these are known but for rounding, which is no finding.
    fixed = [
        np.round(each, _DECIMALS)
        for each in (mean / scale, np.abs(mean) / scale, variance / scale**2)
    ]
    return [*fixed, third, fourth, edges, turned, equal]


def _bands(spectra: ClassSpectra) -> tuple[Array, list[tuple[float, float]]]:
    """Return which cells are in bands of equal steps of frequency's logarithm, and their ends."""
    cells = spectra.cells
    low, high = 0.5 / max(cells.shape), cells.frequencies.max()
    edges = np.geomspace(low, high, _BANDS + 1)
    number = np.clip(np.searchsorted(edges, cells.frequencies, side="right") - 1, 0, _BANDS - 1)
    used = [k for k in range(_BANDS) if ((number == k) & (cells.frequencies > 0)).any()]
    members = [(number == k) & (cells.frequencies > 0) for k in used]
    weights = np.stack([m * cells.counts / (m * cells.counts).sum() for m in members], axis=1)
    return weights, [(1 / edges[k + 1], 1 / edges[k]) for k in used]


def _spread_modes(texture: Texture, spectra: ClassSpectra) -> npt.NDArray[np.int64]:
    """Return modes above the noise, from low to high frequencies in equal ratios."""
    cells = spectra.cells
    loud = np.min([spectra.total(k) for k in range(texture.class_count)], axis=0)
    usable = np.flatnonzero((loud > 2 * spectra.noise)[cells.cell_of_mode])
    ordered = usable[np.argsort(cells.frequencies[cells.cell_of_mode[usable]], kind="stable")]
    places = np.unique(np.geomspace(1, len(ordered), _SEEN_MODES).astype(np.int64)) - 1
    return ordered[places]
