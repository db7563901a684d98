"""Objects on S3 and what speaks its protocol: addresses, and whole-object requests."""

from __future__ import annotations

from gpgen.io.object_path import ObjectPath

__all__ = ["ObjectPath"]
