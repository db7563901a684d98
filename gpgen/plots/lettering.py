"""Text in figures: how wide it is, and where it is broken."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["LINE", "broken", "broken_name", "width_of"]

LINE: Final = 1.2
"""Height of a line of text, in units of the font's size."""

_NAME_ENDS: Final = re.compile(r"(?<=[-,])|(?=\()")
_WORD_ENDS: Final = re.compile(r"(?<= )")


def width_of(text: str, size: float) -> float:
    """Return the width in inches of the widest line of `text`, `size` points high."""
    from matplotlib.textpath import TextPath

    lines = [line for line in text.splitlines() if line.strip()]
    # The outlines alone are measured: the space beside the last letter is a tenth of the size.
    ends = (float(TextPath((0, 0), line, size=size).get_extents().x1) for line in lines)
    return (max(ends, default=0.0) + 0.1 * size) / 72


def broken(text: str, width: float, size: float) -> str:
    """Return `text` in lines of at most `width` inches, broken between words."""
    return _broken(_WORD_ENDS.split(text), width, size)


def broken_name(name: str, width: float, size: float) -> str:
    """Return a class name in lines of at most `width` inches, broken between its parts.

    Between components, and before what a component's parentheses hold.
    """
    return _broken(_NAME_ENDS.split(name), width, size)


def _broken(parts: list[str], width: float, size: float) -> str:
    lines = [""]
    for part in parts:
        if lines[-1] and width_of((lines[-1] + part).rstrip(), size) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
