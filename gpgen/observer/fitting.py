r"""The length-scales and variances that images of a class have: maximum likelihood.

Modes are taken as independent (P. Whittle, Arkiv för Matematik 2, 1953, 423): with the mean power
I and the expected power S of each cell of c modes, n images have
:math:`-2 \ln L = n \sum c (\ln S + I/S)`. What the approximation shifts is the same for images
drawn for comparison, and is taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from gpgen.observer.class_spectra import ClassSpectra

__all__ = ["ClassFit", "Fitting"]

Array = npt.NDArray[np.float64]

_REACH: Final = 0.7
_STEPS: Final = 57
_FAINTEST: Final = 1e-3
_SMALLEST: Final = math.log(1e-4)
_LARGEST: Final = 5.0


@dataclass(frozen=True)
class ClassFit:
    """Of each component of a class, against the images drawn for comparison.

    Parameters
    ----------
    scales, variances
        Logarithms of length-scale and variance, as differences.
    scale_errors, variance_errors
        Their standard errors.
    """

    scales: tuple[float, ...]
    variances: tuple[float, ...]
    scale_errors: tuple[float, ...]
    variance_errors: tuple[float, ...]


class Fitting:
    """Fits classes of a texture.

    Parameters
    ----------
    spectra
        Of its classes.
    """

    def __init__(self, spectra: ClassSpectra) -> None:
        self._spectra = spectra
        self._clean = spectra.clean > 0
        self._counts = spectra.clean[self._clean]
        self._tables: dict[tuple[int, int], Array] = {}

    def _table(self, label: int, number: int) -> Array:
        """Return a component's log power by its length-scale's logarithm, shape (steps, cells)."""
        choice = self._spectra.texture.choices_of(label)[number]
        if (number, choice) not in self._tables:
            least = _FAINTEST * self._spectra.noise
            powers = [
                self._spectra.scaled_component(label, number, math.exp(step))[self._clean]
                for step in np.linspace(-_REACH, _REACH, _STEPS)
            ]
            self._tables[number, choice] = np.log(np.array(powers) + least)
        return self._tables[number, choice]

    def fit(self, label: int, powers: Array, n: int, drawn: Array, drawn_n: int) -> ClassFit:
        """Fit a class.

        Parameters
        ----------
        label
            The class.
        powers, drawn
            Mean power in each cell of the audited images and of those drawn for comparison.
        n, drawn_n
            How many images these are.
        """
        found, expected = self._fit(label, powers), self._fit(label, drawn)
        errors = self._errors(label, expected) * math.sqrt(1 / n + 1 / drawn_n)
        difference = found - expected
        count = len(self._spectra.texture.components)
        return ClassFit(
            tuple(difference[:count]),
            tuple(difference[count:]),
            tuple(errors[:count]),
            tuple(errors[count:]),
        )

    def _model(self, label: int, parameters: Array) -> Array:
        """Return the power in each cell, for logarithms of length-scales, then of variances."""
        count = len(parameters) // 2
        whole = np.full(len(self._counts), self._spectra.noise)
        for number, (scale, variance) in enumerate(
            zip(parameters[:count], parameters[count:], strict=True)
        ):
            table = self._table(label, number)
            place = (scale + _REACH) / (2 * _REACH) * (_STEPS - 1)
            low = min(max(int(place), 0), _STEPS - 2)
            logs = table[low] + (place - low) * (table[low + 1] - table[low])
            whole += np.exp(logs + variance)
        return whole

    def _fit(self, label: int, powers: Array) -> Array:
        seen = powers[self._clean] + self._spectra.noise
        count = len(self._spectra.texture.components)
        modes = float(self._counts.sum())

        def deviance(parameters: Array) -> float:
            model = self._model(label, parameters)
            return float(self._counts @ (np.log(model) + seen / model)) / modes

        bounds = [(-_REACH, _REACH)] * count + [(_SMALLEST, _LARGEST)] * count
        options = {"ftol": 1e-13, "gtol": 1e-9}
        best = minimize(
            deviance, np.zeros(2 * count), method="L-BFGS-B", bounds=bounds, options=options
        )
        found: Array = best.x
        return found

    def _errors(self, label: int, at: Array) -> Array:
        """Return the standard errors of one image's fit, infinite for what can't be told."""
        step = 1e-3
        slopes = []
        for k in range(len(at)):
            shift = np.zeros(len(at))
            shift[k] = step
            above, below = (self._model(label, at + s) for s in (shift, -shift))
            slopes.append((np.log(above) - np.log(below)) / (2 * step))
        slope = np.array(slopes)
        information = (slope * self._counts) @ slope.T / 2
        errors = np.full(len(at), np.inf)
        known = np.flatnonzero(np.diag(information) > 1e-6)
        if len(known):
            covariance = np.linalg.pinv(information[np.ix_(known, known)], hermitian=True)
            errors[known] = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        return errors
