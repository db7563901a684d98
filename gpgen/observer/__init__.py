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
from gpgen.observer.summary import ComponentSummary, DifficultySummary

__all__ = [
    "ComponentDifficulty",
    "ComponentSummary",
    "Difficulty",
    "DifficultySummary",
    "Estimate",
    "LengthScaleBound",
    "LengthScaleBounds",
    "Wished",
    "difficulty",
]
