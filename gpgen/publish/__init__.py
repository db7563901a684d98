"""From a dataset to a citable record, and back."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpgen.description.citation import cite
    from gpgen.description.publication import Publication
    from gpgen.publish.client import Service
    from gpgen.publish.fetching import fetch
    from gpgen.publish.packaging import package
    from gpgen.publish.regenerating import regenerate
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
    "Publication": "gpgen.description.publication",
    "Service": "gpgen.publish.client",
    "cite": "gpgen.description.citation",
    "fetch": "gpgen.publish.fetching",
    "package": "gpgen.publish.packaging",
    "publish_draft": "gpgen.publish.uploading",
    "regenerate": "gpgen.publish.regenerating",
    "upload": "gpgen.publish.uploading",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: packaging needs no HTTP client."""
    if name not in _HOME:
        raise AttributeError(f"module 'gpgen.publish' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
