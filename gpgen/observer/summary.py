"""A recipe's difficulty in a few numbers that can be kept: rounded, and with their error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from gpgen.observer.result import Estimate

__all__ = ["DIGITS", "ComponentSummary", "DifficultySummary"]

DIGITS: Final = 3
"""After the decimal point: errors of 4,000 simulated images are 0.008 at most."""


@dataclass(frozen=True)
class ComponentSummary:
    """How well the ideal observer tells one component's choices apart.

    Parameters
    ----------
    choices
        Their names: length-scales in pixels, and what else differs.
    accuracy, error
        As in `DifficultySummary`; None if there is no choice.
    """

    choices: tuple[str, ...]
    accuracy: float | None
    error: float | None


@dataclass(frozen=True)
class DifficultySummary:
    """How well the ideal observer tells a recipe's classes apart, rounded.

    Parameters
    ----------
    accuracy, error
        How often it is right with all classes, and the standard error of that.
    components
        Each component by itself, the others unknown.
    converged
        Whether more modes would leave the accuracy alone. If not, it is at least as large as said.
    noise
        The deviation of white noise, as a part of the images' deviation.
    samples
        How many images were simulated.
    """

    accuracy: float
    error: float
    components: tuple[ComponentSummary, ...]
    converged: bool
    noise: float
    samples: int

    @classmethod
    def of(
        cls,
        estimate: Estimate,
        components: Sequence[tuple[tuple[str, ...], Estimate | None]],
        *,
        converged: bool,
        noise: float,
        samples: int,
    ) -> DifficultySummary:
        """Round estimates, each component's after the names of its choices."""
        return cls(
            round(estimate.accuracy, DIGITS),
            round(estimate.error, DIGITS),
            tuple(
                ComponentSummary(names, None, None)
                if each is None
                else ComponentSummary(
                    names, round(each.accuracy, DIGITS), round(each.error, DIGITS)
                )
                for names, each in components
            ),
            converged,
            noise,
            samples,
        )

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> DifficultySummary:
        """Read what `to_dict` gave, or ``gpgen difficulty --json``, whose figures are rounded.

        Raises
        ------
        msgspec.ValidationError
            If it is neither.
        """
        told = msgspec.convert(fields, cls)  # fields that aren't kept are passed over
        pairs = [(told.accuracy, told.error)]
        for each in told.components:
            if each.accuracy is not None and each.error is not None:
                pairs.append((each.accuracy, each.error))
            elif each.accuracy is not each.error:
                raise msgspec.ValidationError("an accuracy and its error go together")
        for pair in pairs:
            if not all(0 <= number <= 1 for number in pair):
                raise msgspec.ValidationError("accuracies and errors lie between 0 and 1")
        if not (0 < told.noise < math.inf and told.samples > 0):
            raise msgspec.ValidationError("noise and samples are above 0")
        return cls.of(
            Estimate(told.accuracy, told.error),
            [
                (
                    each.choices,
                    None
                    if each.accuracy is None or each.error is None
                    else Estimate(each.accuracy, each.error),
                )
                for each in told.components
            ],
            converged=told.converged,
            noise=told.noise,
            samples=told.samples,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        plain: dict[str, Any] = msgspec.to_builtins(asdict(self))
        return plain
