"""Checking numbers, and a saved state against what it is loaded into."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

from gpgen.errors import UsageError

__all__ = ["checked_state", "whole_number"]


def whole_number(name: str, value: SupportsIndex, least: int = 0) -> int:
    """Return an integer, NumPy's or Python's, that is `least` or more.

    Raises
    ------
    UsageError
        If it is none.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise UsageError(f"{name} is {value!r}", f"use {least} or more")
    return number


def checked_state(
    state: dict[str, Any],
    numbers: Sequence[str],
    identity: dict[str, Any],
    owner: object,
) -> list[int]:
    """Return a state's numbers, if it is of the same order of samples.

    Parameters
    ----------
    state
        What was saved.
    numbers
        Names of the integers to return, all 0 or more.
    identity
        What else it must hold.
    owner
        What it is loaded into.

    Raises
    ------
    UsageError
        If it is another object's state, or of another order.
    """
    name = type(owner).__name__
    try:
        found = [whole_number(number, state[number]) for number in numbers]
        theirs = {key: state[key] for key in identity}
    except (KeyError, TypeError) as error:
        raise UsageError(f"the state is not {name}'s", "give what state_dict returned") from error
    differences = [
        f"{key} {theirs[key]!r}, here {value!r}"
        for key, value in identity.items()
        if theirs[key] != value
    ]
    if differences:
        raise UsageError(
            f"the state is of another order: {'; '.join(differences)}",
            f"make the {name} as it was when the state was saved",
        )
    return found
