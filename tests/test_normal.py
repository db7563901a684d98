from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from gpgen.exact import normal
from gpgen.exact.normal import (
    LARGEST,
    NORMAL_BITS,
    computed_normal,
    normal_quantile,
    quantile_table,
    random_words,
    short_normal,
    standard_normal,
)


def test_quantile_agrees_with_scipy_over_every_branch() -> None:
    lower = np.concatenate([np.linspace(1e-3, 0.5, 4001)[:-1], 2.0 ** -np.arange(2, 54.0)])
    # Above, 1/2 + q would lose the tail, so the upper half is tested by symmetry.
    q = lower - 0.5
    exactly = lower == q + 0.5
    ours, theirs = normal_quantile(q), special.ndtri(lower)
    np.testing.assert_allclose(ours[exactly], theirs[exactly], rtol=1e-13)
    assert (normal_quantile(-q) == -ours).all()


def test_extreme_words_stay_below_the_bound_that_exactness_rests_on() -> None:
    z = standard_normal(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert z[0] == -z[1]
    assert 8 < z[1] < LARGEST


def test_numbers_lie_on_their_grid() -> None:
    z = standard_normal(random_words(3, 0, 10_000))
    assert (z * 2**NORMAL_BITS == np.rint(z * 2**NORMAL_BITS)).all()


def test_numbers_are_standard_normal() -> None:
    z = standard_normal(random_words(20261123, 0, 1_000_000))
    # Fixed seed; a correct generator fails this with probability 1e-4 at most.
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_streams_and_seeds_differ_and_repeat() -> None:
    first = random_words(1, 0, 8)
    assert (random_words(1, 0, 8) == first).all()
    assert (random_words(1, 0, 5) == first[:5]).all()
    assert not np.isin(random_words(1, 1, 8), first).any()
    assert not np.isin(random_words(2, 0, 8), first).any()
    assert len(random_words(2**64 - 1, 0, 1)) == 1


def test_the_table_gives_the_numbers_that_define_the_stream() -> None:
    words = random_words(7, 0, 3_000_000)
    for bits in (NORMAL_BITS, 14):
        z = standard_normal(words, bits)
        np.testing.assert_array_equal(z, computed_normal(words, bits))
        assert (z * 2**bits == np.rint(z * 2**bits)).all()


def test_the_table_gives_the_tails_bit_for_bit() -> None:
    """Both ends, where random words hardly ever lie: each number there, and each power of two."""
    first = np.arange(2**19, dtype=np.uint64)
    powers = 2 ** np.arange(53, dtype=np.uint64)
    near = (powers[:, None] + np.arange(-40, 40)).ravel().astype(np.uint64) % np.uint64(2**53)
    k = np.concatenate([first, near])
    words = np.concatenate([k, np.uint64(2**53 - 1) - k]) << np.uint64(11)
    z = standard_normal(words)
    np.testing.assert_array_equal(z, computed_normal(words))
    assert not np.signbit(z[z == 0]).any()


def test_no_parabola_of_the_table_errs_by_what_is_held_for_doubtful() -> None:
    """At the ends of each part and between its three points, where a parabola errs most."""
    constant, linear, square = quantile_table()
    part = np.arange(constant.size)
    worst = 0.0
    for place in (0.0, 0.25, 0.75, 1 - 2**-40):
        v = np.ldexp(1 + (part % 128 + place) / 128, part // 128 - 1)
        worst = max(
            worst, np.abs(constant + v * (linear + v * square) - special.ndtri(v / 2**53)).max()
        )
    assert worst < 4e-9 / 1.3


def test_numbers_keep_the_shape_of_their_words() -> None:
    words = random_words(3, 0, 60).reshape(3, 4, 5)
    flat = standard_normal(words.ravel())
    np.testing.assert_array_equal(standard_normal(words), flat.reshape(3, 4, 5))
    np.testing.assert_array_equal(standard_normal(words.ravel()[::2]), flat[::2])
    assert standard_normal(words[:0]).shape == (0, 4, 5)


def test_short_numbers_are_the_quantiles_of_their_half_words() -> None:
    """The words are Philox's for 20,000 numbers; the quantile is SciPy's."""
    z = short_normal(5, 1, 20_001, 14)
    halves = random_words(5, 1, 10_001).astype("<u8").view("<u4")[:20_001]
    exact = special.ndtri((halves + 0.5) / 2**32)
    assert np.abs(z - exact).max() <= 2.0**-15 + 1e-9
    assert (z * 2**14 == np.rint(z * 2**14)).all()
    np.testing.assert_array_equal(z[:777], short_normal(5, 1, 777, 14))
    assert short_normal(5, 1, 1, 14) == z[0]


def test_short_numbers_are_standard_normal() -> None:
    z = short_normal(20261126, 0, 1_000_000, 20)
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_the_table_gives_short_numbers_bit_for_bit(monkeypatch) -> None:
    """With the table's error raised all numbers are in doubt, and so computed."""
    expected = short_normal(9, 2, 300_000, 14)
    monkeypatch.setattr(normal, "TABLE_ERROR", 1.0)
    np.testing.assert_array_equal(short_normal(9, 2, 300_000, 14), expected)


@pytest.mark.parametrize("k", [0, 1, 2047, 2048, 5000])
@pytest.mark.parametrize("upper", [False, True])
def test_the_tails_of_short_numbers_take_more_bits(monkeypatch, k, upper) -> None:
    """The stream is replaced by one half word of a tail; what follows it is real."""
    half = 2**32 - 1 - k if upper else k
    real = normal.random_words

    def words(seed: int, stream: int, count: int, start: int = 0) -> np.ndarray:
        if start == 0:
            return np.full(count, half | half << 32, dtype=np.uint64)
        return real(seed, stream, count, start)

    monkeypatch.setattr(normal, "random_words", words)
    z = short_normal(4, 0, 2000, 20) * (-1 if upper else 1)
    low, high = special.ndtri(np.array([max(k, 2.0**-23), k + 1]) / 2**32)
    assert (z >= low - 2.0**-20).all()
    assert (z <= high + 2.0**-20).all()
    if k < 2048:
        assert len(np.unique(z)) > (1000 if k < 2 else 10)
    else:
        assert len(np.unique(z)) == 1
    assert np.abs(z).max() < LARGEST
