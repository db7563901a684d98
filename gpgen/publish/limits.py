"""What a service takes in one record: Zenodo's figures, by default."""

from __future__ import annotations

from typing import Final

__all__ = ["RECORD_BYTES", "RECORD_FILES"]

RECORD_FILES: Final = 100
RECORD_BYTES: Final = 50 * 10**9
"""Of all files together, so of one, too."""
