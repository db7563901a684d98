"""What is said where no formula is worked out."""

from __future__ import annotations

__all__ = ["NotComputedError"]


class NotComputedError(Exception):
    """Nothing is expected of a class's power; the message says why, as a part of a sentence."""
