"""Timing several things side by side, so that a slow minute hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

__all__ = ["Timing", "interleaved"]


@dataclass(frozen=True)
class Timing:
    """Wall and CPU seconds of every repeat of one contender."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def seconds(self, clock: Literal["wall", "cpu"] = "wall") -> float:
        """Median time of one call, in seconds."""
        return median(self.wall if clock == "wall" else self.cpu)

    @property
    def threads(self) -> float:
        """CPU seconds over wall seconds: about 1 for a single thread."""
        return sum(self.cpu) / max(sum(self.wall), 1e-12)


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    repeats: int,
    slow: frozenset[str] = frozenset(),
    slow_repeats: int = 3,
) -> dict[str, Timing]:
    """Call every contender once a round, for `repeats` rounds after one to warm up.

    Parameters
    ----------
    contenders
        What to call, by name.
    repeats
        Rounds that count.
    slow
        Names that take part in only the first `slow_repeats` rounds.
    slow_repeats
        Rounds for the slow ones.

    Returns
    -------
    dict
        A `Timing` for each name.
    """
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(-1, repeats):
        for name, call in contenders.items():
            if name in slow and turn >= slow_repeats:
                continue
            started, worked = time.perf_counter(), time.process_time()
            call()
            took, spent = time.perf_counter() - started, time.process_time() - worked
            if turn >= 0:
                wall[name].append(took)
                cpu[name].append(spent)
    return {name: Timing(tuple(wall[name]), tuple(cpu[name])) for name in contenders}
