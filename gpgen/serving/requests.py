"""What a request asks for: a range of a key's bytes, or whether they have changed.

RFC 9110, sections 13 and 14.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["asked_range", "is_current"]

_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})", re.IGNORECASE)
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


def asked_range(headers: Mapping[str, str], total: int, tag: str) -> tuple[int, int] | None:
    """Return the first byte that is asked for, and the one after the last; ``None`` for all.

    A range that is none, and several at once, are no range; so is one of a version other than
    this (``If-Range``). The two are equal, at the end, where the range has no byte.

    Parameters
    ----------
    headers
        The request's, with names in lower case.
    total
        How many bytes there are.
    tag
        The entity tag that they have.
    """
    match = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or match[0].endswith("=-") or headers.get("if-range", tag) != tag:
        return None
    first, last = match.groups()
    if not first:
        return max(0, total - int(last)), total
    if last and int(last) < int(first):
        return None
    return min(int(first), total), min(int(last) + 1, total) if last else total


def is_current(headers: Mapping[str, str], tag: str) -> bool:
    """Return whether the client has these bytes already (``If-None-Match``)."""
    wanted = headers.get("if-none-match", "")
    return wanted.strip() == "*" or tag in _TAG.findall(wanted)
