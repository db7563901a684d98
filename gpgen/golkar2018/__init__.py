"""The dataset of 2018 (Zenodo record 1252464): its generator, files, crosses and archive."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpgen.exact.mosaic import Mosaic, Patch, standardized, texture
    from gpgen.golkar2018.archive import Archive, ArchiveProgress, make_archive
    from gpgen.golkar2018.archive_plan import ArchivePlan, parse_plan
    from gpgen.golkar2018.crosses import Cross
    from gpgen.golkar2018.downloading import FILES as RECORD_FILES
    from gpgen.golkar2018.downloading import DownloadProgress, download
    from gpgen.golkar2018.importing import import_dataset, parse_splits
    from gpgen.golkar2018.sources import Source, open_source

__all__ = [
    "RECORD_FILES",
    "Archive",
    "ArchivePlan",
    "ArchiveProgress",
    "Cross",
    "DownloadProgress",
    "Mosaic",
    "Patch",
    "Source",
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
    "RECORD_FILES": "downloading",
    "Archive": "archive",
    "ArchivePlan": "archive_plan",
    "ArchiveProgress": "archive",
    "Cross": "crosses",
    "DownloadProgress": "downloading",
    "Mosaic": "generator",
    "Patch": "generator",
    "Source": "sources",
    "download": "downloading",
    "import_dataset": "importing",
    "make_archive": "archive",
    "open_source": "sources",
    "parse_plan": "archive_plan",
    "parse_splits": "importing",
    "standardized": "generator",
    "texture": "generator",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOME[name]}")
    value = getattr(module, "FILES" if name == "RECORD_FILES" else name)
    globals()[name] = value
    return value
