"""What the page says of the whole: is it what its recipe says, and how hard is it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpgen.errors import UsageError
from gpgen.observer import DifficultySummary
from gpgen.observer.audited import Audit
from gpgen.observer.auditing import audit
from gpgen.observer.known import summary_or_reason
from gpgen.progress import Tell
from gpgen.recipe import Recipe
from gpgen.report.content import PageContent

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """What was found out.

    Parameters
    ----------
    audit
        Of the samples that are measured; None if they weren't audited.
    why_no_audit
        In one line; empty if there is one.
    difficulty
        How well the ideal observer tells the classes apart; None if that isn't known.
    why_no_difficulty
        In one line; empty if it is known.
    """

    audit: Audit | None
    why_no_audit: str
    difficulty: DifficultySummary | None
    why_no_difficulty: str


def judge(content: PageContent, measured: Sequence[int], *, finite: bool, tell: Tell) -> Verdict:
    """Audit the samples that are measured, and look the difficulty up or compute it.

    Parameters
    ----------
    content
        The dataset or the archive.
    measured
        Indices of the samples, each once.
    finite
        Whether all of their values are finite.
    tell
        Is told how far it is.
    """
    found, why = None, "some of its images hold values that are not finite"
    if finite:
        found, why = _audit(content, measured, tell)
    description = content.description
    difficulty, unknown = description.difficulty, description.difficulty_unknown
    if difficulty is None and not unknown and isinstance(content.recipe, Recipe):
        difficulty, unknown = summary_or_reason(content.recipe, progress=tell)
    return Verdict(found, why, difficulty, unknown)


def _audit(content: PageContent, measured: Sequence[int], tell: Tell) -> tuple[Audit | None, str]:
    if content.dataset is None:
        return None, "the textures of 2018 have no recipe; `gpgen import` makes a dataset of them"
    try:
        return audit(content.dataset[sorted(measured)], progress=tell), ""
    except UsageError as error:
        return None, error.message
