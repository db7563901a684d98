"""What a convolution needs of an array library; PyTorch's answer is `gpgen.torch.fourier`.

Transforms may differ in the last bits between libraries: `gpgen.exact.convolution` rounds that
away. All else is exact. The first axis of every array is that of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

from gpgen.exact.normal import short_normal

__all__ = ["SCIPY", "Fourier", "LibraryArray", "NumpyFourier", "ScipyFourier"]

LibraryArray = Any
"""An array of the library in question: of NumPy or PyTorch."""


class Fourier(Protocol):
    """The transforms of one library, on one device. Frozen and hashable.

    `x` is the library's array. A transform may use its memory for the result.
    """

    def __hash__(self) -> int: ...

    @property
    def block_numbers(self) -> int | None:
        """How many numbers to work on at a time; None for all."""
        ...

    @property
    def noise_numbers(self) -> int:
        """How many random numbers to draw at a time; of one sample at least."""
        ...

    def short_normal(
        self, seeds: npt.NDArray[np.uint64], stream: int, count: int, bits: int
    ) -> LibraryArray:
        """Return `gpgen.exact.normal.short_normal` of each sample: float64, (samples, count)."""
        ...

    def load(self, values: npt.NDArray[Any]) -> LibraryArray:
        """Return NumPy's array as one of the library's, on its device."""
        ...

    def to_numpy(self, x: LibraryArray) -> npt.NDArray[Any]:
        """Return an array as NumPy's."""
        ...

    def empty_integers(self, shape: tuple[int, ...]) -> LibraryArray:
        """Return an array of int64, not initialized."""
        ...

    def empty_floats(self, shape: tuple[int, ...]) -> LibraryArray:
        """Return an array of float64, not initialized."""
        ...

    def rfft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform real numbers along an axis."""
        ...

    def fft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform complex numbers along an axis."""
        ...

    def ifft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform complex numbers back."""
        ...

    def irfft(self, x: LibraryArray, n: int, axis: int) -> LibraryArray:
        """Transform back to n real numbers."""
        ...

    def floats(self, x: LibraryArray) -> LibraryArray:
        """Return int64, below 2**53, as float64."""
        ...

    def dot(self, whole: LibraryArray, weights: LibraryArray) -> LibraryArray:
        """Return each row's sum of products with `weights`, modulo 2**64, as int64.

        `whole` holds whole numbers as float64, shape (rows, n); `weights` int64, shape (n,).
        """
        ...

    def ends(self, x: LibraryArray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the least and the largest number of each row, as NumPy's arrays."""
        ...


class _OfNumpy:
    """What libraries on NumPy's arrays share."""

    block_numbers: ClassVar[int] = 2**15
    noise_numbers: ClassVar[int] = 2**15

    def short_normal(
        self, seeds: npt.NDArray[np.uint64], stream: int, count: int, bits: int
    ) -> npt.NDArray[np.float64]:
        """Draw sample by sample."""
        numbers = [short_normal(seed, stream, count, bits) for seed in seeds.tolist()]
        return numbers[0][None] if len(numbers) == 1 else np.stack(numbers)

    def empty_integers(self, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return an array of int64, not initialized."""
        return np.empty(shape, dtype=np.int64)

    def empty_floats(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return an array of float64, not initialized."""
        return np.empty(shape)

    def load(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array itself."""
        return values

    def to_numpy(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array itself."""
        return x

    def dot(
        self, whole: npt.NDArray[np.float64], weights: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Add up in blocks, unsigned, since overflow is meant."""
        totals = np.zeros(len(whole), np.uint64)
        for start in range(0, len(weights), self.block_numbers):
            part = slice(start, start + self.block_numbers)
            integers = whole[:, part].astype(np.int64)
            totals += integers.view(np.uint64) @ weights[part].view(np.uint64)
        return totals.view(np.int64)

    def ends(self, x: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the least and the largest number of each row."""
        return x.min(axis=1), x.max(axis=1)

    def floats(self, x: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return integers as float64."""
        return x.astype(np.float64)


@dataclass(frozen=True)
class NumpyFourier(_OfNumpy):
    """`numpy.fft`."""

    def rfft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform real numbers along an axis."""
        return np.fft.rfft(x, axis=axis)

    def fft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform complex numbers along an axis."""
        return np.fft.fft(x, axis=axis)

    def ifft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform complex numbers back."""
        return np.fft.ifft(x, axis=axis)

    def irfft(self, x: LibraryArray, n: int, axis: int) -> LibraryArray:
        """Transform back to n real numbers."""
        return np.fft.irfft(x, n, axis=axis)


@dataclass(frozen=True)
class ScipyFourier(_OfNumpy):
    """`scipy.fft`: the fastest on a CPU of those that are always there.

    Imported by the first transform: it takes 0.2 s, and recipes of separable kernels need none.
    """

    def rfft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform real numbers along an axis."""
        import scipy.fft

        return scipy.fft.rfft(x, axis=axis)

    def fft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform complex numbers along an axis, in place."""
        import scipy.fft

        return scipy.fft.fft(x, axis=axis, overwrite_x=True)

    def ifft(self, x: LibraryArray, axis: int) -> LibraryArray:
        """Transform complex numbers back, in place."""
        import scipy.fft

        return scipy.fft.ifft(x, axis=axis, overwrite_x=True)

    def irfft(self, x: LibraryArray, n: int, axis: int) -> LibraryArray:
        """Transform back to n real numbers."""
        import scipy.fft

        return scipy.fft.irfft(x, n, axis=axis)


SCIPY: Final = ScipyFourier()
