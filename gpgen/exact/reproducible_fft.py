"""A Fourier transform that is the same, bit for bit, on every machine.

FFT libraries disagree in the last bits: they order their sums differently and may fuse a product
with a sum. Here each step is one elementwise ``+ - *`` of real arrays, which IEEE 754 rounds
correctly, in an order that depends on the length alone. That is too slow to draw with, and fast
enough for what is computed once a kernel and length-scale (`gpgen.exact.torus`).

The algorithm is Stockham's (W. T. Cochran et al., "What is the fast Fourier transform?",
Proceedings of the IEEE 55, 1967; C. Van Loan, "Computational Frameworks for the Fast Fourier
Transform", 1992, section 1.7): decimation in frequency in radices 4, 2, 3, 5, sorted on the way.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST_PRIME", "cos_sin_degrees", "prime_factors", "symmetric_transform"]

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]

LARGEST_PRIME: Final = 127
"""Lengths with a larger prime factor are not transformed: a step takes its square."""

_COLUMNS: Final = 16
"""Columns at a time, so that a step's arrays stay in a core's second cache."""


def prime_factors(n: int) -> list[int]:
    """Return the prime factors of n, ascending."""
    factors = []
    divisor = 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        divisor += 1
    return [*factors, n] if n > 1 else factors


def symmetric_transform(quadrants: Array, sizes: tuple[int, ...]) -> Array:
    r"""Transform a real array on a torus that is the same at x and -x.

    .. math:: F(k) = \sum_x f(x) \cos(2 \pi (k_1 x_1 / M_1 + k_2 x_2 / M_2 + ...))

    The result has the same symmetry, and transforming it again gives f times the points.

    Parameters
    ----------
    quadrants
        float64, shape (1 or 2, M_1 // 2 + 1, M_2 // 2 + 1, ...): f at 0 <= x_i <= M_i / 2. If
        there is a second one, it is f at (x_1, -x_2), on two axes; otherwise f is the same with
        any x_i negated.
    sizes
        M, the points of each axis.

    Returns
    -------
    ndarray of float64, the shape of `quadrants`
    """
    if len(quadrants) == 1:
        return _along_axes(quadrants[0], sizes, odd=False)[None]
    # f is the sum of a part that is even and one that is odd along both axes.
    even = _along_axes((quadrants[0] + quadrants[1]) * 0.5, sizes, odd=False)
    odd = _along_axes((quadrants[0] - quadrants[1]) * 0.5, sizes, odd=True)
    return np.stack([even - odd, even + odd])


def _along_axes(quadrant: Array, sizes: tuple[int, ...], odd: bool) -> Array:
    for axis, size in enumerate(sizes):
        moved = np.moveaxis(quadrant, axis, 0)
        sums = _half_sums(moved.reshape(len(moved), -1), size, odd)
        quadrant = np.moveaxis(sums.reshape(moved.shape), 0, axis)
    return np.ascontiguousarray(quadrant)


def _half_sums(half: Array, size: int, odd: bool) -> Array:
    """Transform real columns of an even or odd sequence, given for 0..size/2; two make a complex.

    Returns
    -------
    ndarray of float64, the shape of `half`
        Sums of cosines of an even sequence, of sines of an odd one.
    """
    rows, columns = half.shape
    sums = np.empty_like(half)
    for start in range(0, columns, 2 * _COLUMNS):
        block = half[:, start : start + 2 * _COLUMNS]
        width = block.shape[1]
        first = -(-width // 2)
        real, imaginary = np.empty((size, first)), np.zeros((size, first))
        for part, given in ((real, block[:, :first]), (imaginary, block[:, first:])):
            used = part[:, : given.shape[1]]
            used[:rows] = given
            mirrored = given[size - rows : 0 : -1]
            np.multiply(mirrored, -1.0 if odd else 1.0, out=used[rows:])
            if odd:
                used[0] = 0.0
                if size % 2 == 0:
                    used[rows - 1] = 0.0
        real, imaginary = _fft(real, imaginary)
        if odd:  # -i times the sine sums
            real, imaginary = -imaginary, real
        sums[:, start : start + first] = real[:rows]
        sums[:, start + first : start + width] = imaginary[:rows, : width - first]
    if odd:  # exactly, so that the symmetry holds on the border
        sums[0] = 0.0
        if size % 2 == 0:
            sums[-1] = 0.0
    return sums


def _fft(real: Array, imaginary: Array) -> Pair:
    """Return the discrete Fourier transform along the first axis, exp(-2 pi i j k / n)."""
    size, columns = real.shape
    length, done = size, 1
    for radix in _radices(size):
        rest = length // radix
        re, im = (x.reshape(radix, rest, done * columns) for x in (real, imaginary))
        real, imaginary = np.empty((2, rest, radix, done * columns))
        cosine, sine = (x[:, None] for x in _roots_of_unity(length))
        for k, (a, b) in enumerate(_butterfly(re, im, radix)):
            if k == 0 or rest == 1:
                real[:, k], imaginary[:, k] = a, b
                continue
            c, s = cosine[: k * rest : k], sine[: k * rest : k]
            scratch = b * s
            np.multiply(a, c, out=real[:, k])
            real[:, k] += scratch
            np.multiply(a, s, out=scratch)
            np.multiply(b, c, out=imaginary[:, k])
            imaginary[:, k] -= scratch
        length, done = rest, done * radix
    return real.reshape(size, columns), imaginary.reshape(size, columns)


def _butterfly(re: Array, im: Array, radix: int) -> list[Pair]:
    """Return the transforms of `radix` numbers, without twiddle factors."""
    if radix == 2:
        return [(re[0] + re[1], im[0] + im[1]), (re[0] - re[1], im[0] - im[1])]
    if radix == 4:
        a, b = re[0] + re[2], im[0] + im[2]
        c, d = re[0] - re[2], im[0] - im[2]
        e, f = re[1] + re[3], im[1] + im[3]
        g, h = re[1] - re[3], im[1] - im[3]
        return [(a + e, b + f), (c + h, d - g), (a - e, b - f), (c - h, d + g)]
    # An odd prime: numbers j and radix - j share their products.
    cosine, sine = _roots_of_unity(radix)
    half = range(1, radix // 2 + 1)
    sums = [(re[j] + re[-j], im[j] + im[-j]) for j in half]
    differences = [(re[j] - re[-j], im[j] - im[-j]) for j in half]
    out = [(re[0], im[0])] * radix
    for sum_re, sum_im in sums:
        out[0] = out[0][0] + sum_re, out[0][1] + sum_im
    for k in half:
        a, b = re[0], im[0]
        c, d = np.zeros_like(a), np.zeros_like(a)
        for j, plus, minus in zip(half, sums, differences, strict=True):
            co, si = cosine[j * k % radix], sine[j * k % radix]
            a, b = a + plus[0] * co, b + plus[1] * co
            c, d = c + minus[1] * si, d + minus[0] * si
        out[k], out[-k] = (a + c, b - d), (a - c, b + d)
    return out


def _radices(size: int) -> list[int]:
    factors = prime_factors(size)
    fours, two = divmod(factors.count(2), 2)
    return [4] * fours + [2] * two + [f for f in factors if f > 2]


@lru_cache(maxsize=256)
def _roots_of_unity(n: int) -> Pair:
    """Return cos and sin of 2 pi k / n for k = 0..n-1, to a unit in the last place."""
    octant, rest = np.divmod(8 * np.arange(n, dtype=np.int64), n)
    return _cos_sin(octant, np.where(octant % 2, n - rest, rest) / n)


def cos_sin_degrees(angle: float) -> tuple[float, float]:
    """Return the cosine and sine of an angle in degrees, the same everywhere."""
    turned = angle - 360 * math.floor(angle / 360)
    octant = min(int(turned // 45), 7)
    rest = (turned - 45 * octant) / 45
    part = np.array([1 - rest if octant % 2 else rest])
    cosine, sine = _cos_sin(np.array([octant]), part)
    return float(cosine[0]), float(sine[0])


def _cos_sin(octant: npt.NDArray[np.int64], part: Array) -> Pair:
    """Return cos and sin of an angle, from its octant and how far it is from a right angle's side.

    Parameters
    ----------
    octant
        0 to 7.
    part
        The distance from the next multiple of 90 degrees, in octants, 0 to 1.
    """
    x = part * (math.pi / 4)
    x2 = x * x
    # Taylor series: what is left out is below 2e-21.
    sine, cosine = np.full_like(x, _INVERSE[19]), np.full_like(x, _INVERSE[18])
    for n in range(8, -1, -1):
        sine = _INVERSE[2 * n + 1] - sine * x2
        cosine = _INVERSE[2 * n] - cosine * x2
    sine = sine * x
    swap = octant % 2 == 1
    within_cosine, within_sine = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    quadrant = octant // 2
    choices = [quadrant == q for q in range(4)]
    return (
        np.select(choices, [within_cosine, -within_sine, -within_cosine, within_sine]),
        np.select(choices, [within_sine, within_cosine, -within_sine, -within_cosine]),
    )


_INVERSE: Final = [1 / math.factorial(n) for n in range(20)]
