"""A recipe read as a stored dataset, with no storage: what is asked for is drawn."""

from __future__ import annotations

from gpgen.virtual_store.opening import virtual

__all__ = ["virtual"]
