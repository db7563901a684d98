"""The long run on a cluster says by its exit status whether its figures were reached."""

from __future__ import annotations

import pytest

from benchmarks.soak import figures, main, memory, tolerance_mb

# What a run of a million samples has measured (docs/reliability.md).
GOOD = {
    "n": 1_000_000,
    "verified": True,
    "different_seeds": 1_000_000,
    "workers_killed": 19,
    "driver": {"peak_mb": 91.0, "growth_in_last_half_mb": 0.7},
}
WORSE = {
    "verified": {"verified": False},
    "different": {"different_seeds": 999_999},
    "killed": {"workers_killed": 0},
    "peak": {"driver": {"peak_mb": 500.0, "growth_in_last_half_mb": 0.7}},
    "grew": {"driver": {"peak_mb": 91.0, "growth_in_last_half_mb": 2.1}},
}


def run(monkeypatch, result: dict) -> dict:
    monkeypatch.setattr("benchmarks.soak.soak", lambda **options: result)
    return main([])


def test_a_good_run_ends_well(monkeypatch) -> None:
    assert run(monkeypatch, GOOD) == GOOD
    assert all(figure.reached for figure in figures(GOOD))


@pytest.mark.parametrize("word", WORSE)
def test_a_run_that_misses_a_figure_ends_with_status_1(monkeypatch, capsys, word) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, GOOD | WORSE[word])
    assert ended.value.code == 1
    missed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("MISSED")]
    assert len(missed) == 1
    assert word in missed[0]


def test_a_driver_that_keeps_all_checksums_grows_by_more_than_is_tolerated() -> None:
    """A shard of 500 samples a second, and of each sample four bytes and as much to hold them."""
    samples = [(second, 80 + second * 500 * 8 / 1e6) for second in range(2000)]
    assert memory(samples)["growth_in_last_half_mb"] > tolerance_mb(2000 * 500)
