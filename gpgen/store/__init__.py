"""Where datasets are written to and read from: one module a format."""

from __future__ import annotations

from gpgen.store.interface import Store
from gpgen.store.layout import Format

__all__ = ["store_for"]


def store_for(form: Format) -> Store:
    """Return the store of a format, importing only what it needs."""
    if form == "zarr":
        from gpgen.store.zarr import ZarrStore

        return ZarrStore()
    if form == "hdf5":
        from gpgen.store.hdf5 import Hdf5Store

        return Hdf5Store()
    if form == "webdataset":
        from gpgen.store.webdataset import WebDatasetStore

        return WebDatasetStore()
    from gpgen.store.hdf5_shards import Hdf5ShardsStore

    return Hdf5ShardsStore()
