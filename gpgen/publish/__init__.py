"""From a dataset to a citable record, and back."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpgen.publish.citation import cite
    from gpgen.publish.fetching import fetch
    from gpgen.publish.packaging import package
    from gpgen.publish.publication import Publication
    from gpgen.publish.regenerating import regenerate
    from gpgen.publish.service import Service
    from gpgen.publish.uploading import publish_draft, upload

__all__ = [
    "Publication",
    "Service",
    "cite",
    "fetch",
    "package",
    "publish_draft",
    "regenerate",
    "upload",
]

_HOME = {
    "Publication": "publication",
    "Service": "service",
    "cite": "citation",
    "fetch": "fetching",
    "package": "packaging",
    "publish_draft": "uploading",
    "regenerate": "regenerating",
    "upload": "uploading",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: packaging needs no HTTP client."""
    if name not in _HOME:
        raise AttributeError(f"module 'gpgen.publish' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpgen.publish.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
