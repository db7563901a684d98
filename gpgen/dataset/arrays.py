"""Arrays on the disk that are indexed as NumPy's are; the first axis counts samples."""

from __future__ import annotations

import threading
import weakref
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

from gpgen.errors import DatasetError
from gpgen.format.base import Reader
from gpgen.format.manifest import VERIFY, SmallArray
from gpgen.format.pixels import PixelReader
from gpgen.format.pixels_ahead import pixel_reader
from gpgen.format.replacing import check_unchanged, same_dataset
from gpgen.indexing import samples_of_key
from gpgen.sampling import SAMPLING_VERSION
from gpgen.splits import Split

__all__ = ["ChosenArray", "ImageArray", "LazyArray", "SampleArray"]

_ROWS_AT_ONCE: Final = 2**16


class LazyArray(NDArrayOperatorsMixin):
    """What lazy arrays share: the first axis counts samples and is read on demand.

    They are indexed, compared and calculated with as NumPy's arrays are, but never changed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the rows at indices from 0 to ``len(self) - 1``, in their order."""
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
        return self.read(samples)[rest]

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
        if any(isinstance(x, LazyArray) for x in options.get("out", ())):
            return NotImplemented
        arrays = [np.asarray(x) if isinstance(x, LazyArray) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} shape {self.shape}, {self.dtype}, read on demand>"


class ImageArray(LazyArray):
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

    def read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the rows at indices from 0 to ``len(self) - 1``, in their order."""
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


class SampleArray(LazyArray):
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

    def read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the rows at indices from 0 to ``len(self) - 1``, in their order."""
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


class ChosenArray(LazyArray):
    """Some samples of another lazy array.

    Parameters
    ----------
    array
        The array of all samples.
    chosen
        Which of them.
    """

    def __init__(self, array: LazyArray, chosen: Split) -> None:
        self._array = array
        self._chosen = chosen
        self.shape = (len(chosen), *array.shape[1:])
        self.dtype = array.dtype

    def read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the rows at indices from 0 to ``len(self) - 1``, in their order."""
        return self._array.read(self._chosen.indices(indices))
