"""What an audit found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Audit", "Comparison", "Finding"]


@dataclass(frozen=True)
class Comparison:
    """One test.

    Parameters
    ----------
    what
        What was compared.
    of
        The class's name, or "all classes".
    p
        Its p-value, before it is multiplied by the number of tests; 0 if it can't be by chance.
    """

    what: str
    of: str
    p: float


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Parameters
    ----------
    kind
        "length-scale", "component", "labels", "repeated", "pixels", "clipped", "rounded",
        "dependent", or "statistics" for what has no other name.
    text
        What, in one line.
    samples
        The samples it is about, by their index in the dataset: at most 1,000; none if it is about
        a class.
    """

    kind: str
    text: str
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Parameters
    ----------
    p
        The verdict: the smallest p-value times the number of tests, at most 1. Of right data it is
        below any number x at most a part x of the time.
    level
        Below it the dataset is wrong.
    findings
        What is wrong, by name; empty if `ok`.
    comparisons
        All tests, the smallest p-value first.
    samples, drawn
        How many images were audited, and how many drawn for comparison.
    redrawn
        How many of the samples were drawn again and compared pixel by pixel.
    recipe
        The name of the recipe.
    measured
        How many of the samples were measured closely. Of the others the mean, variance, extremes,
        rounding and repeats are known.
    """

    p: float
    level: float
    findings: tuple[Finding, ...]
    comparisons: tuple[Comparison, ...]
    samples: int
    drawn: int
    redrawn: int
    recipe: str
    measured: int

    @property
    def ok(self) -> bool:
        """Whether the dataset may be what its recipe says."""
        return self.p >= self.level

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``gpgen audit --json`` prints them."""
        return {"ok": self.ok, **asdict(self)}
