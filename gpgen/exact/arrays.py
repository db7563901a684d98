"""What drawing needs of an array library: NumPy's answer here, PyTorch's in `gpgen.torch.arrays`.

Libraries that compute in float64 draw the random numbers, too; for others NumPy does, and finds
means and deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from gpgen.exact.finite import all_finite
from gpgen.exact.fourier import SCIPY, Fourier, LibraryArray
from gpgen.exact.normal import random_words, standard_normal

__all__ = ["NUMPY", "Arrays", "LibraryArray", "NumpyArrays", "round_samples"]

Shape = tuple[int, ...]


class Arrays(Protocol):
    """The operations of one array library, on one device, in one floating-point type.

    Frozen and hashable. The library's arrays must offer what NumPy's and PyTorch's have in
    common: slices, `reshape`, ``+=``, ``-=``.
    """

    def __hash__(self) -> int: ...

    @property
    def exact(self) -> bool:
        """Whether numbers are float64, so that rounding to a grid makes products exact."""
        ...

    @property
    def banded(self) -> bool:
        """Whether a banded matrix is multiplied block by block, or as one dense matrix."""
        ...

    @property
    def batch_bytes(self) -> int:
        """Images are drawn together up to about this many bytes of float64."""
        ...

    @property
    def block_numbers(self) -> int | None:
        """How many pixels to compute at a time; None for all."""
        ...

    @property
    def fourier(self) -> Fourier:
        """The transforms of the library in float64; NumPy's arrays if it doesn't compute so."""
        ...

    def standard_normal(
        self, seeds: npt.NDArray[np.uint64], stream: int, count: int
    ) -> LibraryArray:
        """Return `gpgen.exact.normal.standard_normal` of each sample's stream.

        float64, shape (samples, count). Only where `exact`, as `take` and `row_products`.
        """
        ...

    def take(self, x: LibraryArray, places: npt.NDArray[np.int64], axis: int) -> LibraryArray:
        """Return the entries at some places of an axis."""
        ...

    def row_products(self, x: LibraryArray, y: LibraryArray) -> LibraryArray:
        """Return the sums of ``x * y``, rounded to whole numbers, over all axes but the first.

        int64, shape (samples,); the sums are below 2**63.
        """
        ...

    def load(self, values: npt.NDArray[np.float64]) -> LibraryArray:
        """Return NumPy's array as one of the library; it may share its memory."""
        ...

    def empty(self, shape: Shape) -> LibraryArray:
        """Return an array to compute in, not initialized."""
        ...

    def matmul(self, a: LibraryArray, b: LibraryArray, out: LibraryArray) -> None:
        """Write the matrix product to `out`; leading axes broadcast."""
        ...

    def concatenate(
        self, parts: Sequence[LibraryArray], axis: int, out: LibraryArray = None
    ) -> LibraryArray:
        """Join arrays along an axis, into `out` if it is given."""
        ...

    def empty_images(self, shape: Shape, dtype: str) -> LibraryArray:
        """Return an array for finished images, not initialized; `dtype` is the recipe's."""
        ...

    def store(self, pixels: LibraryArray, images: LibraryArray, dtype: str) -> None:
        """Write `pixels` to `images`, rounded once, to the nearest number of `dtype`."""
        ...

    def all_finite(self, images: LibraryArray) -> bool:
        """Return whether every pixel is a finite number."""
        ...

    def to_numpy(self, images: LibraryArray) -> npt.NDArray[Any]:
        """Return images as NumPy's array."""
        ...


@dataclass(frozen=True)
class NumpyArrays:
    """NumPy's float64 arrays."""

    exact: bool = True
    banded: bool = True
    batch_bytes: int = 2**20  # stays in a core's cache
    block_numbers: int | None = 2**15
    fourier: Fourier = SCIPY

    def standard_normal(
        self, seeds: npt.NDArray[np.uint64], stream: int, count: int
    ) -> npt.NDArray[np.float64]:
        """Turn the samples' random words into normal numbers, all together."""
        words = np.empty((len(seeds), count), dtype=np.uint64)
        for row, seed in zip(words, seeds.tolist(), strict=True):
            row[:] = random_words(seed, stream, count)
        return standard_normal(words)

    def take(
        self, x: npt.NDArray[np.float64], places: npt.NDArray[np.int64], axis: int
    ) -> npt.NDArray[np.float64]:
        """Return the entries at some places of an axis."""
        taken: npt.NDArray[np.float64] = np.take(x, places, axis=axis)
        return taken

    def row_products(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Multiply and add up as integers."""
        products = x.astype(np.int64) * np.rint(y).astype(np.int64)
        sums: npt.NDArray[np.int64] = products.reshape(len(x), -1).sum(axis=1)
        return sums

    def load(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the array itself."""
        return values

    def empty(self, shape: Shape) -> npt.NDArray[np.float64]:
        """Return an array of float64, not initialized."""
        return np.empty(shape)

    def matmul(self, a: LibraryArray, b: LibraryArray, out: LibraryArray) -> None:
        """Write the matrix product to `out`."""
        np.matmul(a, b, out=out)

    def concatenate(
        self, parts: Sequence[LibraryArray], axis: int, out: LibraryArray = None
    ) -> LibraryArray:
        """Join arrays along an axis."""
        return np.concatenate(parts, axis=axis, out=out)

    def empty_images(self, shape: Shape, dtype: str) -> npt.NDArray[Any]:
        """Return an array of the recipe's type, little-endian, not initialized."""
        return np.empty(shape, np.dtype(dtype).newbyteorder("<"))

    def store(self, pixels: LibraryArray, images: LibraryArray, dtype: str) -> None:  # noqa: ARG002
        """Write `pixels` to `images`, whose type is the recipe's."""
        images[...] = pixels

    def all_finite(self, images: LibraryArray) -> bool:
        """Return whether every pixel is a finite number."""
        return all_finite(images)

    def to_numpy(self, images: LibraryArray) -> npt.NDArray[Any]:
        """Return the array itself."""
        found: npt.NDArray[Any] = images
        return found


NUMPY: Final = NumpyArrays()


def round_samples(arrays: Arrays, x: LibraryArray, bits: npt.NDArray[np.int64]) -> None:
    """Round each sample in place to multiples of ``2**-bits``, ties to even.

    Parameters
    ----------
    arrays
        The library of `x`. Unless it computes in float64, `x` is left alone.
    x
        Shape (samples, ...); values below ``2**(51 - bits)``.
    bits
        Shape (samples,).
    """
    if arrays.exact:  # as `gpgen.exact.fixed_point.round_to_grid`
        shifter = arrays.load(np.ldexp(1.5, 52 - bits)).reshape(-1, *(1,) * (x.ndim - 1))
        x += shifter
        x -= shifter
