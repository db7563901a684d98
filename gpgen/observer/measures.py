"""What is measured of each image: numbers that differ where the distribution does."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Texture
from gpgen.observer.cells import Cells, in_modes
from gpgen.observer.class_spectra import ClassSpectra
from gpgen.observer.component_spectra import ComponentSpectra
from gpgen.observer.pixel_measures import PIXEL_NAMES, pixel_measures

__all__ = ["Kinds", "Measured", "Measures", "kinds_of"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]

_BANDS: Final = 8
_KINDS_KEPT: Final = 64

_SEEN_MODES: Final = 512
"""Modes by which images are compared with each other."""

Kinds = dict[tuple[int, tuple[int, ...]], Numbers]
"""By label and what each component has drawn, the places of the images of that kind."""


def kinds_of(labels: Numbers, drawn: Numbers) -> Kinds:
    """Put images of one kind together.

    Parameters
    ----------
    labels
        Shape (images,).
    drawn
        Which of its alternatives each component is, shape (images, components).
    """
    rows = np.column_stack([labels, drawn])
    found: Kinds = {}
    for row in np.unique(rows, axis=0):
        label, *positions = row.tolist()
        found[label, tuple(positions)] = np.flatnonzero((rows == row).all(axis=1))
    return found


@dataclass(frozen=True, eq=False)
class Measured:
    """Images, measured.

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
    scores
        Derivatives of the log-likelihood by the logarithms of all length-scales, then of all
        variances, shape (images, 2 components).
    information
        Their covariance in theory, shape (images, 2 components, 2 components).
    """

    values: Array
    powers: Array
    log_likelihoods: Array
    directions: Array
    scores: Array
    information: Array


class _Expected(NamedTuple):
    """What is expected of images that have drawn certain length-scales.

    Parameters
    ----------
    spectra
        Of all classes.
    logs
        Of each class, the logarithm of the determinant.
    bands
        Of each class, the logarithm of the power in each band.
    slopes
        Of each class, derivatives of the power's logarithm by those of all length-scales, then of
        all variances, shape (cells, 2 components).
    information
        Of each class, the covariance of the scores, (2 components, 2 components).
    """

    spectra: ClassSpectra
    logs: Array
    bands: Array
    slopes: list[Array]
    information: list[Array]


class Measures:
    """Measures images of a texture.

    Parameters
    ----------
    texture
        What they should be.

    Attributes
    ----------
    names
        What each measure is of.
    """

    def __init__(self, texture: Texture) -> None:
        self.texture = texture
        self.components = ComponentSpectra(texture)
        self.cells = self.components.cells
        self._bands, self.wavelengths = _bands(self.cells)
        numbers = range(1, len(texture.components) + 1)
        self._drawn = [k for k in numbers if texture.components[k - 1].drawn_count > 1]
        self.names = (
            *PIXEL_NAMES,
            *(f"power at wavelengths of {low:.3g} to {high:.3g} px"
              for low, high in self.wavelengths),
            "fit of the power spectrum",
            *(f"length-scale of component {k}" for k in numbers),
            *(f"variance of component {k}" for k in numbers),
            "posterior of the label",
            *(f"length-scale of component {k}, by its distance from the one said"
              for k in self._drawn),
        )  # fmt: skip
        self._expected = functools.lru_cache(_KINDS_KEPT)(self._expected_of)
        middle = tuple(component.drawn_count // 2 for component in texture.components)
        self._seen = _spread_modes(self.spectra(middle))

    def spectra(self, positions: tuple[int, ...] | None = None) -> ClassSpectra:
        """Return the expected powers, if each component has drawn one of its alternatives."""
        if positions is None:
            positions = (0,) * len(self.texture.components)
        return ClassSpectra.of(self.components, positions)

    def _expected_of(self, positions: tuple[int, ...]) -> _Expected:
        spectra = self.spectra(positions)
        slopes, information = [], []
        for label, total in enumerate(spectra.totals):
            of_class = spectra.powers_of(label)
            parts = [*(each.slope for each in of_class), *(each.power for each in of_class)]
            slopes.append(np.stack(parts, axis=1) / total[:, None])
            information.append((slopes[-1].T * spectra.clean) @ slopes[-1] / 2)
        logs = np.log(spectra.totals) @ spectra.clean
        return _Expected(spectra, logs, np.log(spectra.totals @ self._bands), slopes, information)

    def measure(self, images: Images, kinds: Kinds) -> Measured:
        """Measure images, shape (images, *shape)."""
        wide = images if images.dtype == np.float64 else images.astype(np.float32, copy=False)
        modes = in_modes(wide, self.cells.periodic)
        powers = self.cells.powers(modes)
        flat = modes.reshape(len(images), -1)
        count, parameters = len(images), 2 * len(self.texture.components)
        spectral = np.empty((count, len(self.names) - len(PIXEL_NAMES)))
        log_likelihoods = np.empty((count, self.texture.class_count))
        directions = np.empty((count, len(self._seen)))
        scores = np.empty((count, parameters))
        information = np.empty((count, parameters, parameters))
        by_band = np.log(powers @ self._bands + 1e-30)
        for (label, positions), which in kinds.items():
            expected = self._expected(positions)
            spectra, slopes = expected.spectra, expected.slopes[label]
            totals, noisy = spectra.totals, powers[which] + spectra.noise
            found = -0.5 * (noisy @ (spectra.clean / totals).T + expected.logs)
            log_likelihoods[which] = found
            excess = (noisy / totals[label] - 1) * spectra.clean
            scores[which] = excess @ slopes / 2
            information[which] = expected.information[label]
            scale = np.sqrt(np.maximum(np.diag(expected.information[label]), 1e-30))
            relative = scores[which] / scale
            spectral[which] = np.column_stack(
                [
                    by_band[which] - expected.bands[label],
                    excess.sum(axis=1) / np.sqrt(max(spectra.clean.sum(), 1.0)),
                    relative,
                    _odds(found, label),
                    *(np.abs(relative[:, k - 1]) for k in self._drawn),
                ]
            )
            chosen = flat[which][:, self._seen].astype(np.float64)
            chosen /= np.sqrt(totals[label])[self.cells.cell_of_mode[self._seen]]
            length = np.linalg.norm(chosen, axis=1, keepdims=True)
            directions[which] = chosen / np.where(length > 0, length, 1.0)
        values = np.column_stack([pixel_measures(wide), spectral])
        return Measured(values, powers, log_likelihoods, directions, scores, information)


def _odds(log_likelihoods: Array, label: int) -> Array:
    """Return how much likelier the label's class is than the next one; 0 without another."""
    others = np.delete(log_likelihoods, label, axis=1)
    if not others.shape[1]:
        return np.zeros(len(log_likelihoods))
    found: Array = log_likelihoods[:, label] - others.max(axis=1)
    return found


def _bands(cells: Cells) -> tuple[Array, list[tuple[float, float]]]:
    """Return which cells are in bands of equal steps of frequency's logarithm, and their ends."""
    low, high = 0.5 / max(cells.shape), cells.frequencies.max()
    edges = np.geomspace(low, high, _BANDS + 1)
    number = np.clip(np.searchsorted(edges, cells.frequencies, side="right") - 1, 0, _BANDS - 1)
    used = [k for k in range(_BANDS) if ((number == k) & (cells.frequencies > 0)).any()]
    members = [(number == k) & (cells.frequencies > 0) for k in used]
    weights = np.stack([m * cells.counts / (m * cells.counts).sum() for m in members], axis=1)
    return weights, [(1 / edges[k + 1], 1 / edges[k]) for k in used]


def _spread_modes(spectra: ClassSpectra) -> Numbers:
    """Return modes above the noise, from low to high frequencies in equal ratios."""
    cells = spectra.cells
    loud = spectra.totals.min(axis=0)
    usable = np.flatnonzero((loud > 2 * spectra.noise)[cells.cell_of_mode])
    ordered = usable[np.argsort(cells.frequencies[cells.cell_of_mode[usable]], kind="stable")]
    places = np.unique(np.geomspace(1, len(ordered), _SEEN_MODES).astype(np.int64)) - 1
    return ordered[places]
