"""Where datasets are written to and read from: one module a format."""

from __future__ import annotations

from gpgen.format.base import Store
from gpgen.format.layout import Format
from gpgen.io.paths import AnyPath

__all__ = ["store_for"]


def store_for(form: Format, target: AnyPath | None = None) -> Store:
    """Return the store of a format, importing only what it needs.

    Parameters
    ----------
    form
        The format.
    target
        Where a dataset is made, if one is made.
    """
    if target is not None and target.is_remote:
        from gpgen.format.zarr_objects import ZarrObjectsStore

        return ZarrObjectsStore()
    if form == "zarr":
        from gpgen.format.zarr import ZarrStore

        return ZarrStore()
    if form == "hdf5":
        from gpgen.format.hdf5 import Hdf5Store

        return Hdf5Store()
    if form == "webdataset":
        from gpgen.format.tar import WebDatasetStore

        return WebDatasetStore()
    from gpgen.format.hdf5_shards import Hdf5ShardsStore

    return Hdf5ShardsStore()
