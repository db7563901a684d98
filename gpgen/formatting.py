"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["count", "duration", "nbytes", "plural", "rate", "size"]


def count(number: int, noun: str = "") -> str:
    """Return ``10,000 samples``; the noun in the singular for one."""
    return f"{number:,} {plural(number, noun)}" if noun else f"{number:,}"


def plural(number: int, noun: str) -> str:
    """Return the noun, in the plural unless `number` is one or the noun a unit."""
    if number == 1 or noun.isupper():
        return noun
    return noun + ("es" if noun.endswith("s") else "s")


def nbytes(number: float) -> str:
    """Return bytes in decimal units, as disks are sold: ``41.9 GB``."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    digits = 0 if unit == "bytes" or number >= 99.95 else 1
    return f"{number:,.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """Return ``12.3 s``, ``4 min 10 s`` or ``2 h 05 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    seconds = math.floor(seconds + 0.5)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def rate(per_second: float) -> str:
    """Return a rate with three digits: ``1,240/s``, ``61.5/s``, ``0.42/s``."""
    digits = 0 if per_second >= 100 else 1 if per_second >= 10 else 2
    return f"{per_second:,.{digits}f}/s"


def size(shape: Sequence[int]) -> str:
    """Return ``1024 x 1024 px``."""
    return " x ".join(str(pixels) for pixels in shape) + " px"
