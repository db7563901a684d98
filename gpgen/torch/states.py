"""Checking a saved state against what it is loaded into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpgen.errors import UsageError
from gpgen.whole_numbers import whole_number

__all__ = ["checked_state"]


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
