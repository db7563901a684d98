"""A dataset that is drawn when it is read, over HTTP, and a page that shows it."""

from __future__ import annotations

from gpgen.serving.server import serve

__all__ = ["serve"]
