"""The keys as zarr-python's store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

import zarr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import MissingPackageError
from gpgen.virtual_store.drawing import drawn
from gpgen.virtual_store.keys import VirtualKeys
from gpgen.virtual_store.path import VirtualPath

if TYPE_CHECKING:
    import xarray

__all__ = ["VirtualStore"]


class VirtualStore(Store):
    """A dataset that is drawn when it is read, as a read-only Zarr store.

    It pickles, survives a fork, and may be read by several threads. Its images are drawn in as
    many threads as there are cores, with one BLAS thread each; the last 64 MB of chunks are kept.

    Attributes
    ----------
    keys : VirtualKeys
        What it holds.
    path : VirtualPath
        It, for `gpgen.open_dataset` and `gpgen.verify`, if it comes from a deposit.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, keys: VirtualKeys) -> None:
        super().__init__(read_only=True)
        self.keys = keys
        self.path = VirtualPath(keys)

    def to_zarr(self) -> zarr.Group:
        """Open it with zarr-python."""
        return zarr.open_group(self, mode="r")

    def to_xarray(self) -> xarray.Dataset:
        """Open it with xarray; images, labels and all else are computed when they are needed.

        Returns
        -------
        xarray.Dataset
            With the names and values of `Dataset.to_xarray`; but ``sample`` has no index, which
            would be an array in memory.

        Raises
        ------
        MissingPackageError
            If xarray isn't installed.
        """
        try:
            import xarray

            from gpgen.dataset.in_xarray import virtual_to_xarray
        except ImportError as error:
            raise MissingPackageError(
                "to_xarray needs xarray, which isn't installed",
                "install it with `pip install 'gpgen[xarray]'`",
            ) from error
        # Not in Dask's chunks, of which it would make a list.
        found: xarray.Dataset = xarray.open_zarr(self, chunks=None)
        return virtual_to_xarray(found, self.keys.recipe, self)

    def to_dataset(self) -> Dataset:
        """Open it as gpgen opens a stored dataset, each image compared with its checksum.

        Raises
        ------
        DatasetError
            If it doesn't come from a deposit, so that there are no checksums.
        """
        return open_dataset(self.path)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of a key, ``None`` if there is none."""
        total = self.keys.nbytes(key)
        if total is None:
            return None
        start, stop = _bounds(byte_range, total)
        parts = [part async for part in drawn(self.keys.pieces(key, start, stop))]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of several keys."""
        return await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))

    async def exists(self, key: str) -> bool:
        """Return whether there is a key."""
        return self.keys.nbytes(key) is not None

    async def getsize(self, key: str) -> int:
        """Return the bytes of a key.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        nbytes = self.keys.nbytes(key)
        if nbytes is None:
            raise FileNotFoundError(key)
        return nbytes

    async def set(self, key: str, value: Buffer) -> None:  # noqa: ARG002
        """Refuse."""
        self._check_writable()

    async def delete(self, key: str) -> None:  # noqa: ARG002
        """Refuse."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys, of which there may be billions."""
        for key in self.keys.keys():  # noqa: SIM118 - it is no mapping
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin so."""
        folder, slash, _ = prefix.partition("/")
        names = (
            (f"{folder}/{name}" for name in self.keys.folder(folder)) if slash else self.keys.keys()
        )
        for key in names:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder."""
        for name in self.keys.folder(prefix.rstrip("/")):
            yield name

    def with_read_only(self, read_only: bool = False) -> VirtualStore:
        """Return the store itself, which can't be written to.

        Raises
        ------
        ValueError
            If it shall be.
        """
        if not read_only:
            self._check_writable()
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VirtualStore) and other.keys == self.keys

    def __hash__(self) -> int:
        return hash(self.keys)

    def __reduce__(self) -> tuple[Callable[..., VirtualStore], tuple[VirtualKeys]]:
        return VirtualStore, (self.keys,)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        recipe, n = self.keys.recipe, self.keys.layout.n
        shape, kind = (
            " x ".join(map(str, recipe.shape)),
            "as deposited" if self.keys.checksums else "unsealed",
        )
        return f"<VirtualStore of {recipe.name}: {n} samples {shape}, {kind}>"


def _bounds(part: ByteRequest | None, total: int) -> tuple[int, int]:
    """Return where a part begins and ends, within what there is."""
    if isinstance(part, RangeByteRequest):
        return min(part.start, total), min(part.end, total)
    if isinstance(part, OffsetByteRequest):
        return min(part.offset, total), total
    if isinstance(part, SuffixByteRequest):
        return max(0, total - part.suffix), total
    return 0, total
