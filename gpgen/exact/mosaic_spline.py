"""Cubic interpolating splines on equally spaced points, the same on every machine.

The 2018 program upsamples with SciPy's ``interp2d(kind="cubic")``: a tensor
product of cubic splines with the not-a-knot end condition. On equally spaced
points that condition makes the second derivatives next to both ends plain
second differences, and leaves one tridiagonal system with 4 on its diagonal.
It is solved here elementwise in a fixed order, without linear algebra from a
library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError

__all__ = ["cubic_spline"]

Array = npt.NDArray[np.float64]


def cubic_spline(values: Array, points: int) -> Array:
    """Interpolate each column, and evaluate at equally spaced points from end to end.

    Parameters
    ----------
    values
        float64 of shape (n, columns), n >= 4: what the spline goes through.
    points
        At how many points to evaluate; the first and the last are those of `values`.

    Returns
    -------
    ndarray of float64, shape (points, columns)

    Raises
    ------
    UsageError
        With fewer than four values or two points.
    """
    n = len(values)
    if n < 4 or points < 2:
        raise UsageError(
            f"a cubic spline through {n} points evaluated at {points} isn't defined",
            "use at least 4 and 2",
        )
    curvature = _second_derivatives(values)
    # Integers keep every position exact: i + f with f = remainder / (points - 1).
    interval, remainder = np.divmod(np.arange(points) * (n - 1), points - 1)
    last = interval == n - 1
    interval[last] -= 1
    right = (np.where(last, points - 1, remainder) / (points - 1))[:, None]
    left = 1.0 - right
    result: Array = left * values[interval] + right * values[interval + 1]
    result += (left * left * left - left) / 6.0 * curvature[interval]
    result += (right * right * right - right) / 6.0 * curvature[interval + 1]
    return result


def _second_derivatives(values: Array) -> Array:
    """Return M with M[i-1] + 4 M[i] + M[i+1] = 6 (second difference at i), not-a-knot ends."""
    n = len(values)
    second = np.zeros_like(values)
    second[1:-1] = (values[:-2] - 2.0 * values[1:-1]) + values[2:]
    m = np.zeros_like(values)
    # Not-a-knot, M[0] = 2 M[1] - M[2], turns the first equation into 6 M[1] = 6 (difference).
    m[1], m[n - 2] = second[1], second[n - 2]
    if n > 4:
        right_side = 6.0 * second[2 : n - 2]
        right_side[0] -= m[1]
        right_side[-1] -= m[n - 2]
        diagonal = np.full(n - 4, 4.0)
        for i in range(1, n - 4):
            factor = 1.0 / diagonal[i - 1]
            diagonal[i] -= factor
            right_side[i] -= factor * right_side[i - 1]
        right_side[-1] /= diagonal[-1]
        for i in range(n - 6, -1, -1):
            right_side[i] = (right_side[i] - right_side[i + 1]) / diagonal[i]
        m[2 : n - 2] = right_side
    m[0] = 2.0 * m[1] - m[2]
    m[n - 1] = 2.0 * m[n - 2] - m[n - 3]
    return m
