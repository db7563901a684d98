"""The masks are distributed as those of the authors' layer of 2018.

The counts below are what ``python benchmarks/backdrop_layer.py masks --reference
backdrop.py`` printed for the file of that name in the repository golkar/backdrop at
commit 5e42191 (the 2018 layer, run under torch 2.13 and NumPy 2.4): 100,000 masks each
over dimensions 2 and 3 of a (1, 1, 4, 4) tensor, how many of the 16 positions each kept,
and which survived alone. Its factors were 16 / kept exactly.
"""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from backdrop import Backdrop

KEPT_2018 = {
    0.5: [
        *(31, 172, 909, 2698, 6709, 12266, 17575, 19753),
        *(17326, 12025, 6628, 2802, 886, 195, 22, 3),
    ],
    0.9: [51383, 27543, 14170, 5183, 1396, 279, 39, 7, 0, 0, 0, 0, 0, 0, 0, 0],
}
ALONE_2018 = [3204, 3247, 3156, 3269, 3183, 3209, 3308, 3287]
ALONE_2018 += [3208, 3238, 3170, 3201, 3106, 3196, 3250, 3151]


def masks(p: float) -> torch.Tensor:
    """100,000 masks of this layer: one sample each, which is what it draws them for."""
    layer = Backdrop(p, generator=torch.Generator().manual_seed(0))
    x = torch.ones(100_000, 1, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    return gradient.reshape(-1, 16)


def pooled(*rows: list[int]) -> list[list[int]]:
    """Join the rare counts at both ends, so that the chi-square statistic is one."""
    total = [sum(column) for column in zip(*rows, strict=True)]
    frequent = [i for i, count in enumerate(total) if count >= 20]
    low, high = frequent[0], frequent[-1]
    return [[sum(r[: low + 1]), *r[low + 1 : high], sum(r[high:])] for r in rows]


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_as_many_positions_are_kept(p):
    found = masks(p)
    kept = (found != 0).sum(1)
    ours = torch.bincount(kept, minlength=17)[1:].tolist()
    assert stats.chi2_contingency(pooled(ours, KEPT_2018[p])).pvalue > 1e-3
    # Both are the binomial distribution, with the empty mask moved to one survivor.
    exact = stats.binom.pmf(range(1, 17), 16, 1 - p)
    exact[0] += p**16
    for counts in (ours, KEPT_2018[p]):
        seen, expected = pooled(counts, (1e5 * exact).tolist())
        assert stats.chisquare(seen, expected, sum_check=False).pvalue > 1e-3
    largest = found.max(1).values
    torch.testing.assert_close(largest, 16 / kept, rtol=2e-7, atol=0)


def test_the_lone_survivor_is_anywhere_as_often():
    found = masks(0.9) != 0
    alone = found[found.sum(1) == 1].sum(0).tolist()
    assert stats.chisquare(alone).pvalue > 1e-3
    assert stats.chi2_contingency([alone, ALONE_2018]).pvalue > 1e-3
