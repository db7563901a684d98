"""How hard a recipe is, in the sentences that metadata need.

They say "at least" where more modes would tell more (docs/difficulty.md).
"""

from __future__ import annotations

from gpgen.observer import ComponentSummary, DifficultySummary

__all__ = ["accuracy_in_words", "components_in_words", "difficulty_in_words", "in_short"]

_MOST_NAMES = 6


def difficulty_in_words(summary: DifficultySummary) -> str:
    """Return a paragraph that says how often the ideal observer is right."""
    whole = accuracy_in_words(summary.accuracy, summary.error)
    least = _least(summary)
    parts = [
        f"component {number} ({names}) in {found}"
        for number, names, found in components_in_words(summary)
    ]
    by_component = f" The components by themselves: {'; '.join(parts)}." if len(parts) > 1 else ""
    return (
        "The ideal observer, who knows the distribution of every class and names the most probable "
        f"one, is right in {least}{whole} of the images; no classifier is right more often than "
        f"it.{by_component} That is with white noise of {summary.noise:g} of the images' "
        f"deviation, in {summary.samples:,} simulated images, with standard errors."
    )


def in_short(summary: DifficultySummary) -> str:
    """Return all accuracies in one line."""
    parts = [
        f"{number} ({names}): {found}" for number, names, found in components_in_words(summary)
    ]
    whole = accuracy_in_words(summary.accuracy, summary.error)
    return f"ideal observer right in {_least(summary)}{whole}; component " + "; ".join(parts)


def components_in_words(summary: DifficultySummary) -> list[tuple[int, str, str]]:
    """Return number, choices and accuracy of each component that offers a choice."""
    return [
        (number, _choices(each), accuracy_in_words(each.accuracy, each.error))
        for number, each in enumerate(summary.components, start=1)
        if each.accuracy is not None and each.error is not None
    ]


def accuracy_in_words(accuracy: float, error: float) -> str:
    """Return an accuracy to three digits, with its standard error where that shows."""
    found = f"{accuracy:.3f}"
    return f"{found} ± {error:.3f}" if round(error, 3) > 0 else found


def _least(summary: DifficultySummary) -> str:
    return "" if summary.converged else "at least "


def _choices(component: ComponentSummary) -> str:
    if len(component.choices) > _MOST_NAMES:
        return f"{len(component.choices)} choices"
    return f"{' or '.join(component.choices)} px"
