from __future__ import annotations

import numpy as np
import pytest

from gpgen.exact import normal

torch = pytest.importorskip("torch")

from gpgen.torch.normal import philox, short_normal, standard_normal  # noqa: E402

SEEDS = np.array([0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF], dtype=np.uint64)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stream", [0, 7, 2**33 + 1])
@pytest.mark.parametrize("first", [0, 5, 2**31 + 3])
def test_words_are_numpys(stream: int, first: int, device: str) -> None:
    seeds = torch.from_numpy(SEEDS.view(np.int64)).to(device)
    words = philox(seeds, stream, first, first + 101).cpu().numpy().view(np.uint64)
    expected = [normal.random_words(int(s), stream, 404, 4 * first) for s in SEEDS]
    np.testing.assert_array_equal(words, np.stack(expected))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [1, 7, 40_001])
def test_normal_numbers_are_numpys(count: int, device: str) -> None:
    z = standard_normal(SEEDS, 3, count, torch.device(device)).cpu().numpy()
    words = np.stack([normal.random_words(int(s), 3, count) for s in SEEDS])
    np.testing.assert_array_equal(z, normal.standard_normal(words))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [1, 9, 1_200_001])
@pytest.mark.parametrize("bits", [14, 20])
def test_short_numbers_are_numpys(count: int, bits: int, device: str) -> None:
    """Among six million are a dozen in the tails, which take further bits."""
    z = short_normal(SEEDS, 3, count, bits, torch.device(device)).cpu().numpy()
    expected = [normal.short_normal(int(s), 3, count, bits) for s in SEEDS]
    np.testing.assert_array_equal(z, np.stack(expected))
    assert count < 10**6 or np.abs(z).max() > 4.9


def test_with_the_tables_error_raised_all_numbers_are_computed(monkeypatch) -> None:
    before = standard_normal(SEEDS, 0, 3000, torch.device("cpu"))
    monkeypatch.setattr("gpgen.torch.normal.TABLE_ERROR", 1.0)
    assert torch.equal(standard_normal(SEEDS, 0, 3000, torch.device("cpu")), before)
