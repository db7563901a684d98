"""The random numbers of `gpgen.exact.normal`, drawn on any device: the same, bit for bit.

Philox is integer arithmetic, and the table's parabolas are separate additions and multiplications,
which every device rounds correctly. The few numbers that the table leaves in doubt are computed by
NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpgen.exact.normal import (
    EXPONENTS,
    NORMAL_BITS,
    OUTERMOST,
    PART_BITS,
    TABLE_ERROR,
    computed_normal,
    computed_short,
    quantile_table,
)

__all__ = ["philox", "short_normal", "standard_normal"]

Seeds = npt.NDArray[np.uint64]

# Of J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
# 1, 2, 3", SC11, 2011: Philox4x64-10.
_FACTORS: Final = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_KEY_STEPS: Final = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS: Final = 10

_LOWER: Final = 2**32 - 1

_COUNTERS: Final = {"cpu": 2**12, "cuda": 2**22}
"""Counters at a time. On a CPU what they need stays in the cache; on a GPU they pay for starting
300 kernels, with 1 GB of its memory. On an H100 2**19 were two thirds as fast."""


def philox(seeds: Tensor, stream: int, first: int, last: int) -> Tensor:
    """Return words ``4 * first`` to ``4 * last - 1`` of each sample's stream.

    Parameters
    ----------
    seeds
        int64, the bits of the samples' seeds, shape (samples,).
    stream
        Which stream.
    first, last
        The first counter, and the one after the last.

    Returns
    -------
    Tensor of int64, shape (samples, 4 * (last - first)): the words' bits
    """
    device, shape = seeds.device, (2, len(seeds), last - first)
    # NumPy counts before it makes words.
    counters = torch.arange(first + 1, last + 1, device=device)
    even = torch.zeros(shape, dtype=torch.int64, device=device)  # words 0 and 2
    even[0] = counters
    odd = torch.zeros_like(even)  # words 1 and 3
    key = torch.stack([seeds, torch.full_like(seeds, _signed(stream))])[..., None]
    steps = _column(_KEY_STEPS, device)
    factors = _column(_FACTORS, device)
    for _ in range(_ROUNDS):
        high, low = _high_product(even, factors).flip(0), (even * factors).flip(0)
        even, odd = high.bitwise_xor_(odd).bitwise_xor_(key), low
        key = key + steps
    words = torch.stack([even[0], odd[0], even[1], odd[1]], dim=-1)
    return words.reshape(len(seeds), -1)


def _high_product(x: Tensor, factors: Tensor) -> Tensor:
    """Return the upper 64 bits of the 128 of a product of unsigned numbers, by their halves."""
    low, high = x & _LOWER, _upper(x)
    factor_low, factor_high = factors & _LOWER, _upper(factors)
    first = (low * factor_low).bitwise_right_shift_(32).bitwise_and_(_LOWER)
    first += high * factor_low
    low *= factor_high
    low += first & _LOWER
    high *= factor_high
    high += _upper(first)
    high += _upper(low)
    return high


def _upper(x: Tensor) -> Tensor:
    return (x >> 32).bitwise_and_(_LOWER)


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _column(words: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor([_signed(word) for word in words], device=device).reshape(-1, 1, 1)


def short_normal(seeds: Seeds, stream: int, count: int, bits: int, device: torch.device) -> Tensor:
    """Return `gpgen.exact.normal.short_normal` of each sample.

    Returns
    -------
    Tensor of float64 on the device, shape (samples, count)
    """
    z = torch.empty((len(seeds), count), dtype=torch.float64, device=device)
    for some, first, words in _words(seeds, stream, -(-count // 2), device):
        halves = words.view(torch.int32)[:, : count - 2 * first]
        out = z[some, 2 * first : 2 * first + halves.shape[1]]
        rows, columns = _look_up(halves, 21, bits, out)
        doubtful = halves[rows, columns].cpu().numpy()
        which, where = rows.cpu().numpy(), columns.cpu().numpy() + 2 * first
        numbers = computed_short(seeds[some][which], stream, where, doubtful, bits)
        out[rows, columns] = torch.from_numpy(numbers).to(device)
    return z


def standard_normal(seeds: Seeds, stream: int, count: int, device: torch.device) -> Tensor:
    """Return `gpgen.exact.normal.standard_normal` of each sample's stream.

    Returns
    -------
    Tensor of float64 on the device, shape (samples, count)
    """
    z = torch.empty((len(seeds), count), dtype=torch.float64, device=device)
    for some, first, words in _words(seeds, stream, count, device):
        out = z[some, first : first + words.shape[1]]
        rows, columns = _look_up(words >> 11, 0, NORMAL_BITS, out)
        doubtful = words[rows, columns].cpu().numpy().view(np.uint64)
        out[rows, columns] = torch.from_numpy(computed_normal(doubtful)).to(device)
    return z


def _words(
    seeds: Seeds, stream: int, count: int, device: torch.device
) -> Iterator[tuple[slice, int, Tensor]]:
    """Yield which samples, the first word's place, and the words: (samples, at most `count`)."""
    keys = torch.from_numpy(seeds.view(np.int64)).to(device)
    most, counters = _COUNTERS.get(device.type, 2**22), -(-count // 4)
    together = max(1, most // max(counters, 1))
    for start in range(0, len(seeds), together):
        some = slice(start, start + together)
        for first in range(0, counters, most):
            words = philox(keys[some], stream, first, min(first + most, counters))
            yield some, 4 * first, words[:, : count - 4 * first]


def _look_up(whole: Tensor, shift: int, bits: int, out: Tensor) -> tuple[Tensor, Tensor]:
    """Write normal numbers to out, and return which are to be computed: their rows and columns.

    Parameters are those of `gpgen.exact.normal`'s function of this name.
    """
    x = -0.5 - whole.to(torch.float64)
    v = x.abs()
    part = v.view(torch.int64) >> (52 - PART_BITS)
    part -= (1023 + EXPONENTS[0] - shift) << PART_BITS
    constant, linear, square = _table(shift, whole.device)
    # One operation at a time: a fused multiplication and addition would round once, not twice.
    z = square[part].mul_(v).add_(linear[part]).mul_(v).add_(constant[part])
    z.copysign_(x)
    shifter = 1.5 * 2.0 ** (52 - bits)
    torch.add(z, shifter, out=x)
    out.copy_(x.sub_(shifter))
    doubtful = z.sub_(x).abs_() > 2.0 ** -(bits + 1) - TABLE_ERROR
    if shift:
        doubtful |= v < OUTERMOST
    rows, columns = doubtful.nonzero(as_tuple=True)
    return rows, columns


@lru_cache(maxsize=16)
def _table(shift: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    constant, linear, square = (torch.from_numpy(c).to(device) for c in quantile_table(shift))
    return constant, linear, square
