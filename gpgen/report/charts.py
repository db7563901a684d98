"""Charts as SVG, in the colours of the page they stand in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from gpgen.report.measuring import Curve
from gpgen.report.templates import render

__all__ = ["correlation_chart", "power_chart", "ratio_chart", "values_chart"]

Array = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 380, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 48
_TICKS: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class _Scale:
    """Values to places in the picture, linear or logarithmic."""

    low: float
    high: float
    start: float
    stop: float
    log: bool

    def __call__(self, values: Array | float) -> Array:
        array = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            array = np.log10(np.maximum(array, self.low / 10))
            low, high = math.log10(low), math.log10(high)
        places = self.start + (array - low) / (high - low) * (self.stop - self.start)
        return np.clip(places, min(self.start, self.stop), max(self.start, self.stop))

    def ticks(self) -> list[tuple[float, str]]:
        if self.log:
            decades = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            if len(decades) < 2:
                first = math.floor(math.log10(self.low))
                between = [m * 10.0**d for d in (first, first + 1) for m in (1, 2, 5)]
                return [(v, f"{v:.4g}") for v in between if self.low <= v <= self.high]
            step = 1 + len(decades) // 6
            return [(10.0**d, _power_of_ten(d)) for d in decades if d % step == 0]
        rough = (self.high - self.low) / 4
        decade = 10.0 ** math.floor(math.log10(rough))
        step_size = next(t * decade for t in _TICKS if t * decade >= rough * 0.999)
        first = math.ceil(self.low / step_size - 1e-9)
        last = math.floor(self.high / step_size + 1e-9)
        return [(k * step_size, f"{k * step_size:g}") for k in range(first, last + 1)]


def _power_of_ten(exponent: int) -> str:
    if -2 <= exponent <= 2:
        return f"{10.0**exponent:g}"
    return Markup('10<tspan dy="-5" font-size="10">{}</tspan>').format(exponent)


def power_chart(curve: Curve, axes: int) -> Markup:
    """Draw the radially averaged power spectrum, both axes logarithmic; nothing if it is 0.

    Values have no unit, so the power's is a pixel's: its length, area or volume, by `axes`.
    """
    shown = [part for part in (curve.mean, curve.theory) if part is not None]
    values = np.concatenate(shown)
    values = values[values > 0]
    if not values.size:
        return Markup()
    top = float(values.max()) * 2
    # Below a millionth of a millionth lies the rounding of the pixels.
    bottom = max(float(values.min()) / 2, top * 1e-12)
    x = _Scale(float(curve.x[0]) / 1.1, 0.55, _LEFT, _WIDTH - _RIGHT, True)
    y = _Scale(bottom, top, _HEIGHT - _BOTTOM, _TOP, True)
    unit = ("px", "px\N{SUPERSCRIPT TWO}", "px\N{SUPERSCRIPT THREE}")[axes - 1]
    return _chart(
        curve, x, y, "cycles per pixel", f"power ({unit})", lambda v: f"{v:.4g} cycles/px"
    )


def ratio_chart(curve: Curve) -> Markup:
    """Draw the power over what is expected, where it is."""
    if curve.theory is None:
        return Markup()
    here = np.isfinite(curve.theory)
    expected = curve.theory[here]
    ratio = Curve(
        curve.x[here],
        curve.mean[here] / expected,
        curve.error[here] / expected,
        curve.quantile,
        np.ones_like(expected),
    )
    reach = float(np.max(np.abs(ratio.mean - 1) + ratio.quantile * ratio.error))
    reach = min(max(1.1 * reach, 0.05), 2.0)
    x = _Scale(float(curve.x[0]) / 1.1, 0.55, _LEFT, _WIDTH - _RIGHT, True)
    y = _Scale(max(0.0, 1 - reach), 1 + reach, _HEIGHT - _BOTTOM, _TOP, False)
    return _chart(
        ratio, x, y, "cycles per pixel", "measured / expected", lambda v: f"{v:.4g} cycles/px"
    )


def correlation_chart(curve: Curve) -> Markup:
    """Draw the correlation by distance."""
    low = min(0.0, float(np.min(curve.mean - curve.quantile * curve.error)))
    x = _Scale(0.0, float(curve.x[-1]), _LEFT, _WIDTH - _RIGHT, False)
    y = _Scale(low - 0.03, 1.05, _HEIGHT - _BOTTOM, _TOP, False)
    return _chart(curve, x, y, "distance (pixels)", "correlation", lambda v: f"{v:.3g} px")


def values_chart(curve: Curve) -> Markup:
    """Draw the density of the values."""
    parts = [curve.mean] if curve.kernel is None else [curve.mean, curve.kernel]
    top = float(np.max(parts))
    x = _Scale(float(curve.x[0]), float(curve.x[-1]), _LEFT, _WIDTH - _RIGHT, False)
    y = _Scale(0.0, 1.1 * top, _HEIGHT - _BOTTOM, _TOP, False)
    return _chart(curve, x, y, "value", "density", lambda v: f"value {v:.3g}")


def _chart(
    curve: Curve, x: _Scale, y: _Scale, x_label: str, y_label: str, label: Callable[[float], str]
) -> Markup:
    margin = curve.quantile * curve.error
    upper, lower = y(curve.mean + margin), y(curve.mean - margin)
    places, heights = x(curve.x), y(curve.mean)
    words = (
        f"{label(float(value))}: {mean:.4g} \N{PLUS-MINUS SIGN} {error:.2g}"
        for value, mean, error in zip(curve.x, curve.mean, margin, strict=True)
    )
    return render(
        "chart.svg.jinja",
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        top=_TOP,
        bottom=_HEIGHT - _BOTTOM,
        x_label=x_label,
        y_label=y_label,
        x_ticks=[(f"{float(x(value)):.1f}", text) for value, text in x.ticks()],
        y_ticks=[(f"{float(y(value)):.1f}", text) for value, text in y.ticks()],
        band=_points([*places, *places[::-1]], [*upper, *lower[::-1]]),
        kernel="" if curve.kernel is None else _points(places, y(curve.kernel)),
        theory="" if curve.theory is None else _points(places, y(curve.theory)),
        points=[
            (f"{place:.1f}", f"{height:.1f}", said)
            for place, height, said in zip(places, heights, words, strict=True)
        ],
    )


def _points(xs: Iterable[float], ys: Iterable[float]) -> str:
    """Return a line's points; those that aren't numbers are left out."""
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in zip(xs, ys, strict=True) if py == py)
