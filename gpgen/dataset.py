"""Opening and reading a finished dataset."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

from gpgen.errors import DatasetError, UsageError
from gpgen.format import store_for
from gpgen.format.base import Reader
from gpgen.format.layout import Format
from gpgen.format.manifest import VERIFY, Manifest, SmallArray, derived_arrays
from gpgen.format.pixels import PixelReader
from gpgen.format.pixels_ahead import pixel_reader
from gpgen.format.replacing import check_unchanged, same_dataset
from gpgen.indexing import sample_indices, samples_of_key
from gpgen.io.paths import AnyPath, Given
from gpgen.sampling import SAMPLING_VERSION
from gpgen.workspace.unfinished import find

__all__ = ["Dataset", "ImageArray", "SampleArray", "open_dataset"]

_ROWS_AT_ONCE: Final = 2**16

Indices = Sequence[int] | npt.NDArray[Any]


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


class _Lazy(NDArrayOperatorsMixin):
    """What lazy arrays share: the first axis counts samples and is read on demand.

    They are indexed, compared and calculated with as NumPy's arrays are, but never changed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def _read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes in memory when read as a whole."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - like an ndarray
        """Return what NumPy would, having read no other samples than the key asks for."""
        samples, rest = samples_of_key(key, self.shape)
        return self._read(samples)[rest]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:  # noqa: ANN401
        if copy is False:
            raise ValueError("a lazy array can't be taken without a copy")
        return np.asarray(self[:], dtype=dtype)

    def __array_ufunc__(
        self,
        ufunc: np.ufunc,
        method: str,
        *inputs: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Calculate with all values, so that ``ds.label == 0`` is a mask."""
        if any(isinstance(x, _Lazy) for x in options.get("out", ())):
            return NotImplemented
        arrays = [np.asarray(x) if isinstance(x, _Lazy) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} shape {self.shape}, {self.dtype}, read on demand>"


class ImageArray(_Lazy):
    """The images ``(sample, *shape)``: read when indexed, each one's checksum verified.

    Files stay open until it is closed, or is gone, or the thread that reads them is.

    Parameters
    ----------
    reader
        The dataset's files.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.shape = (reader.manifest.n, *reader.recipe.shape)
        self.dtype = reader.recipe.numpy_dtype
        self._opened: weakref.WeakSet[PixelReader] = weakref.WeakSet()
        self._opening = threading.Lock()
        self._local = threading.local()

    def _read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        out = np.empty((len(indices), *self.shape[1:]), self.dtype)
        self._pixels().read_into(indices, out)
        return out

    def _pixels(self) -> PixelReader:
        """Return this thread's reader."""
        reader: PixelReader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = pixel_reader(self._reader)
            with self._opening:
                self._opened.add(reader)
        return reader

    def __reduce__(self) -> tuple[type[ImageArray], tuple[Reader]]:
        return ImageArray, (self._reader,)

    def close(self) -> None:
        """Close all files. They are opened again if images are read again."""
        with self._opening:
            opened = list(self._opened)
        for reader in opened:
            reader.close()


class SampleArray(_Lazy):
    """One value (or row) a sample: read when indexed, and compared with the recipe.

    Parameters
    ----------
    reader
        The dataset's files.
    expected
        The array as it follows from the recipe.
    """

    def __init__(self, reader: Reader, expected: SmallArray) -> None:
        self._reader = reader
        self._expected = expected
        self.shape = expected.shape
        self.dtype = expected.dtype

    def _read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        out = np.empty((len(indices), *self.shape[1:]), self.dtype)
        ascending = bool((indices[1:] >= indices[:-1]).all())
        order = None if ascending else np.argsort(indices, kind="stable")
        ordered, done = indices if order is None else indices[order], 0
        with same_dataset(self._reader):
            while done < len(ordered):
                start = int(ordered[done])
                end = int(np.searchsorted(ordered, start + _ROWS_AT_ONCE))
                part: Any = slice(done, end) if order is None else order[done:end]
                rows = self._rows(start, int(ordered[end - 1]) + 1)
                out[part] = rows[ordered[done:end] - start]
                done = end
        return out

    def _rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        name = self._expected.name
        values = self._reader.rows(name, start, stop)
        if self._reader.manifest.sampling_version != SAMPLING_VERSION:
            check_unchanged(self._reader)
        else:
            expected = self._expected.rows(start, stop)
            if not np.array_equal(values, expected):
                differs = (values != expected).reshape(stop - start, -1).any(axis=1)
                sample = start + int(differs.argmax())
                file = self._reader.array_file(name, sample)
                raise DatasetError(f"{file}: the {name} of sample {sample} is damaged", VERIFY)
        return values


class Dataset:
    """A finished dataset. Pickles, survives a fork, and may be read by several threads.

    Use it as a context manager, or `close` it, to give back its open files.

    Its arrays are indexed as NumPy's are, so ``dataset.image[dataset.label == 0]`` is the first
    class; only the samples that a key names are read. A single boolean is no index.

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
    length_scale : SampleArray
        float64 pixels, shape ``(sample, component)``, or ``(sample, component, axis)``.
    seed : SampleArray
        uint64, shape ``(sample,)``.
    split : SampleArray
        uint8, shape ``(sample,)``: a position in `splits`.
    """

    image: ImageArray
    label: SampleArray
    length_scale: SampleArray
    seed: SampleArray
    split: SampleArray

    def __init__(self, reader: Reader, form: Format) -> None:
        self._reader = reader
        self.format = form
        self.path: AnyPath = reader.path
        self.recipe = reader.recipe
        self.manifest: Manifest = reader.manifest
        self.n = reader.manifest.n
        self._add_arrays()

    def _add_arrays(self) -> None:
        self.image = ImageArray(self._reader)
        for array in derived_arrays(self.recipe, self.n):
            setattr(self, array.name, SampleArray(self._reader, array))

    def __getattr__(self, name: str) -> SampleArray:
        if name == "seed" and self.__dict__.get("recipe") is not None:
            raise AttributeError(f"{self.path} was imported, so its samples have no seeds")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names, by label."""
        return tuple(self.manifest.class_names)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits' names, by code."""
        return tuple(self.manifest.split_names)

    def indices(self, split: str) -> npt.NDArray[np.int64]:
        """Return the indices of a split's samples, ascending.

        Raises
        ------
        UsageError
            If there is no split of that name.
        """
        if split not in self.splits:
            raise UsageError(f"there is no split {split!r}", f"use one of {', '.join(self.splits)}")
        return self.recipe.split_indices(split, self.n)

    def read(self, indices: Indices) -> npt.NDArray[Any]:
        """Read images, in the order asked for, and verify the checksum of each.

        Parameters
        ----------
        indices
            Whole numbers from ``-n`` to ``n - 1``, repeats allowed, or a mask of n booleans.

        Returns
        -------
        ndarray, shape (len(indices), *recipe.shape), the recipe's dtype

        Raises
        ------
        IndexError
            If an index is out of range.
        DatasetError
            If a file is missing or damaged, or the dataset was replaced since it was opened.
        StorageError
            If a disk or an object store fails.
        """
        return self.image._read(sample_indices(indices, self.n))

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
        return Dataset, (self._reader, self.format)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.recipe.shape))
        return f"<Dataset {self.path}: {self.n} samples {shape}, {len(self.class_names)} classes>"
