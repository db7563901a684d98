r"""The length-scales and variances that images of a class have: maximum likelihood.

Modes are taken as independent (P. Whittle, Arkiv för Matematik 2, 1953, 423): with the mean power
I and the expected power S of each cell of c modes, n images have
:math:`-2 \ln L = n \sum c (\ln S + I/S)`. What the approximation shifts is the same for images
drawn for comparison, and is taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize

from gpgen.observer.class_spectra import ClassSpectra

__all__ = ["ClassFit", "Fitting"]

Array = npt.NDArray[np.float64]

_REACH: Final = 0.7
_STEPS: Final = 29
_FAINTEST: Final = 1e-3
_SMALLEST: Final = math.log(1e-4)
_WALL: Final = 1e6


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
        self._spline = lru_cache(maxsize=None)(self._make_spline)

    def _make_spline(self, label_of_choice: int, number: int) -> CubicSpline:
        """Return a component's log power by its length-scale's logarithm."""
        steps = np.linspace(-_REACH, _REACH, _STEPS)
        least = _FAINTEST * self._spectra.noise
        logs = []
        for step in steps:
            power = self._spectra.scaled_component(label_of_choice, number, math.exp(step))
            logs.append(np.log(power[self._clean] + least))
        return CubicSpline(steps, np.array(logs))

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

    def _splines(self, label: int) -> list[CubicSpline]:
        texture = self._spectra.texture
        choices = texture.choices_of(label)
        splines = []
        for number, choice in enumerate(choices):
            # Classes that share a choice share its spline.
            first = next(
                k for k in range(texture.class_count) if texture.choices_of(k)[number] == choice
            )
            splines.append(self._spline(first, number))
        return splines

    def _model(self, splines: list[CubicSpline], parameters: Array) -> Array:
        count = len(splines)
        scales = np.clip(parameters[:count], -_REACH, _REACH)
        variances = np.clip(parameters[count:], _SMALLEST, 5.0)
        parts = [
            np.exp(spline(scale) + variance)
            for spline, scale, variance in zip(splines, scales, variances, strict=True)
        ]
        whole: Array = np.sum(parts, axis=0) + self._spectra.noise
        return whole

    def _fit(self, label: int, powers: Array) -> Array:
        splines, seen = self._splines(label), powers[self._clean]

        def deviance(parameters: Array) -> float:
            model = self._model(splines, parameters)
            outside = np.abs(parameters[: len(splines)]) - _REACH
            penalty = float(np.maximum(outside, 0.0).sum())
            return float(self._counts @ (np.log(model) + seen / model)) + _WALL * penalty

        start = np.zeros(2 * len(splines))
        options = {"xatol": 1e-4, "fatol": 1e-4, "maxiter": 4000, "adaptive": True}
        best = minimize(deviance, start, method="Nelder-Mead", options=options)
        again = minimize(deviance, best.x, method="Nelder-Mead", options=options)
        found: Array = again.x
        return found

    def _errors(self, label: int, at: Array) -> Array:
        """Return the standard errors of one image's fit, infinite for what can't be told."""
        splines, step = self._splines(label), 1e-3
        slopes = []
        for k in range(len(at)):
            shift = np.zeros(len(at))
            shift[k] = step
            above, below = (self._model(splines, at + s) for s in (shift, -shift))
            slopes.append((np.log(above) - np.log(below)) / (2 * step))
        slope = np.array(slopes)
        information = (slope * self._counts) @ slope.T / 2
        errors = np.full(len(at), np.inf)
        known = np.flatnonzero(np.diag(information) > 1e-6)
        if len(known):
            covariance = np.linalg.pinv(information[np.ix_(known, known)], hermitian=True)
            errors[known] = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        return errors
