"""The dataset of 2018 (Zenodo record 1252464): its files made anew, downloaded and imported."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpgen.exact.mosaic import Mosaic, Patch, standardized, texture
    from gpgen.golkar2018.archive import Archive, make_archive
    from gpgen.golkar2018.archive_plan import ArchivePlan, parse_plan
    from gpgen.golkar2018.downloading import RECORD_FILES, download
    from gpgen.golkar2018.import_source import LabelledFiles, open_source
    from gpgen.golkar2018.importing import import_dataset, parse_splits
    from gpgen.golkar2018.texture_sums import Cross

__all__ = [
    "RECORD_FILES",
    "Archive",
    "ArchivePlan",
    "Cross",
    "LabelledFiles",
    "Mosaic",
    "Patch",
    "download",
    "import_dataset",
    "make_archive",
    "open_source",
    "parse_plan",
    "parse_splits",
    "standardized",
    "texture",
]

_HOME = {
    "RECORD_FILES": "gpgen.golkar2018.downloading",
    "Archive": "gpgen.golkar2018.archive",
    "ArchivePlan": "gpgen.golkar2018.archive_plan",
    "Cross": "gpgen.golkar2018.texture_sums",
    "Mosaic": "gpgen.exact.mosaic",
    "Patch": "gpgen.exact.mosaic",
    "LabelledFiles": "gpgen.golkar2018.import_source",
    "download": "gpgen.golkar2018.downloading",
    "import_dataset": "gpgen.golkar2018.importing",
    "make_archive": "gpgen.golkar2018.archive",
    "open_source": "gpgen.golkar2018.import_source",
    "parse_plan": "gpgen.golkar2018.archive_plan",
    "parse_splits": "gpgen.golkar2018.importing",
    "standardized": "gpgen.exact.mosaic",
    "texture": "gpgen.exact.mosaic",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
