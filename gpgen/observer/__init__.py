"""What is possible: how often the ideal observer is right."""

from gpgen.observer.estimating import difficulty
from gpgen.observer.result import (
    ComponentDifficulty,
    Difficulty,
    Estimate,
    LengthScaleBound,
    LengthScaleBounds,
    Wished,
)

__all__ = [
    "ComponentDifficulty",
    "Difficulty",
    "Estimate",
    "LengthScaleBound",
    "LengthScaleBounds",
    "Wished",
    "difficulty",
]
