"""Counts and sizes as they are given: Python's integers, NumPy's, or none at all."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from gpgen.errors import UsageError

__all__ = ["number_below", "whole_number"]


def whole_number(name: str, value: SupportsIndex, least: int = 0, hint: str | None = None) -> int:
    """Return an integer, NumPy's or Python's, that is `least` or more.

    Parameters
    ----------
    name
        What the number is called.
    value
        What was given for it.
    least
        The smallest that is allowed.
    hint
        What to give instead; by default "use `least` or more".

    Raises
    ------
    UsageError
        If it is none: a boolean and 2.0 aren't.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise UsageError(f"{name} is {value!r}", hint or f"use {least} or more")
    return number


def number_below(name: str, value: SupportsIndex, end: int) -> int:
    """Return an integer from 0 to `end` - 1, such as a label or a seed.

    Parameters
    ----------
    name
        What the number is called.
    value
        What was given for it.
    end
        The first that is too large.

    Raises
    ------
    UsageError
        If it is none, or out of range: a list would count negative ones from its end.
    """
    last = "2**64 - 1" if end == 2**64 else f"{end - 1}"
    number = whole_number(name, value, hint=f"use 0 to {last}")
    if number >= end:
        raise UsageError(f"{name} {number} is out of range", f"use 0 to {last}")
    return number
