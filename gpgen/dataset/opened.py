"""Opening a finished dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from gpgen.dataset.arrays import ImageArray, SampleArray
from gpgen.dataset.samples import Samples
from gpgen.errors import MissingPackageError, UsageError
from gpgen.format import store_for
from gpgen.format.base import Reader
from gpgen.format.layout import Format
from gpgen.format.manifest import Manifest, derived_arrays
from gpgen.format.zarr_zip import ZippedZarrReader
from gpgen.io.paths import AnyPath, Given
from gpgen.workspace.unfinished import find

if TYPE_CHECKING:
    import zarr

__all__ = ["Dataset", "open_dataset"]

_ATTRIBUTES: Final = {
    "length_scale": "length_scales",
    "weight": "weights",
    "split": "split_code",
}
"""What an array is called here, where that isn't its name in the file."""


def open_dataset(path: Given) -> Dataset:
    """Open a finished dataset; nothing but its manifest is read.

    Parameters
    ----------
    path
        A Zarr folder, an HDF5 file, or for HDF5 shards their pattern
        (``data-{shard:05d}.h5``), their folder, or their manifest file; or a Zarr group on an
        object store, ``s3://bucket/data.zarr``.

    Raises
    ------
    DatasetError
        If there is none, it is unfinished (the error says how far it is and the command
        that finishes it), or its manifest is damaged.
    StorageError
        If a disk or an object store fails or refuses.
    """
    manifest, form = find(path)
    return Dataset(store_for(form).reader(manifest), form)


class Dataset(Samples):
    """A finished dataset. Pickles, survives a fork, and may be read by several threads.

    Use it as a context manager, or `close` it, to give back its open files.

    Its arrays are indexed as NumPy's are, so ``dataset.image[dataset.label == 0]`` is the first
    class; only the samples that a key names are read. A single boolean is no index. The dataset
    itself is indexed by samples: ``dataset[7]`` is a `gpgen.Sample`, ``dataset[7:9]`` a view, and
    ``for sample in dataset`` reads a few MiB at a time.

    Attributes
    ----------
    path : Path or ObjectPath
        The Zarr folder, the HDF5 file, or the shards' manifest file.
    format : {"zarr", "hdf5", "hdf5-shards", "webdataset"}
        How it is stored.
    recipe : Recipe
        What was drawn.
    manifest : Manifest
        All that the dataset says about itself.
    image : ImageArray
        Shape ``(sample, *recipe.shape)``, the recipe's dtype.
    label : SampleArray
        int64, shape ``(sample,)``.
    length_scales : SampleArray
        float64 pixels, shape ``(sample, component)``, or ``(sample, component, axis)``.
    weights : SampleArray
        float64, shape ``(sample, component)``; only where the recipe draws weights.
    seed : SampleArray
        uint64, shape ``(sample,)``: each sample's own, not the recipe's. Imported ones have none.
    split_code : SampleArray
        uint8, shape ``(sample,)``: a position in `splits`.
    """

    chosen = None
    image: ImageArray

    def __init__(self, reader: Reader, form: Format) -> None:
        self.reader = reader
        self.format = form
        self.path: AnyPath = reader.path
        self.recipe = reader.recipe
        self.manifest: Manifest = reader.manifest
        self.n = reader.manifest.n
        self.image = ImageArray(reader)
        for array in derived_arrays(self.recipe, self.n):
            name = _ATTRIBUTES.get(array.name, array.name)
            setattr(self, name, SampleArray(reader, array))

    @property
    def _whole(self) -> Dataset:
        return self

    def to_zarr(self) -> zarr.Group:
        """Open a dataset in Zarr's format with zarr-python, to be read only.

        Checksums are then not compared, as they are by `image` and `read`.

        Returns
        -------
        zarr.Group
            With the arrays ``image``, ``label``, ``length_scale``, ``seed``, ``split`` and the
            checksums, as docs/format.md describes them.

        Raises
        ------
        UsageError
            If the dataset has another format, or lies on an object store.
        MissingPackageError
            If zarr isn't installed.
        """
        if self.format != "zarr":
            raise UsageError(
                f"{self.path} is in the format {self.format}, which zarr-python can't read",
                f"use its own arrays, or gpgen.convert({str(self.path)!r}, 'copy.zarr')",
            )
        if not isinstance(self.path, Path):
            raise UsageError(
                f"{self.path} is on an object store, for which zarr-python needs its own access",
                "use the dataset's own arrays, or zarr.open_group with a store of zarr.storage",
            )
        try:
            import zarr
            import zarr.storage
        except ImportError as error:
            raise MissingPackageError(
                "to_zarr needs zarr-python, which isn't installed",
                "install it with `pip install 'gpgen[zarr]'`",
            ) from error
        if self.path.is_dir():
            return zarr.open_group(self.path, mode="r")
        folder = self.reader.folder if isinstance(self.reader, ZippedZarrReader) else ""
        store = zarr.storage.ZipStore(self.path, mode="r")
        return zarr.open_group(store, path=folder.rstrip("/"), mode="r")

    def close(self) -> None:
        """Close all files. They are opened again if the dataset is used again."""
        self.image.close()

    def __len__(self) -> int:
        return self.n

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Dataset], tuple[Reader, Format]]:
        return Dataset, (self.reader, self.format)

    def __repr__(self) -> str:
        return f"<Dataset {self.path}: {self._description()}>"
