"""What a convolution needs of an FFT library, in float64; PyTorch's answer is `gpgen.torch.arrays`.

Results may differ in the last bits between libraries: `gpgen.exact.convolution` rounds that away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

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

    def load(self, values: npt.NDArray[np.float64]) -> LibraryArray:
        """Return NumPy's array as one of the library's of float64, on its device."""
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


class _OfNumpy:
    """What libraries on NumPy's arrays share."""

    block_numbers: ClassVar[int] = 2**15

    def empty_integers(self, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return an array of int64, not initialized."""
        return np.empty(shape, dtype=np.int64)

    def empty_floats(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return an array of float64, not initialized."""
        return np.empty(shape)

    def load(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the array itself."""
        return values

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
