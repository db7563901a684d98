"""PyTorch's Fourier transforms for `gpgen.exact.convolution`, on any device with float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpgen.torch.normal import short_normal

__all__ = ["TorchFourier"]


@dataclass(frozen=True)
class TorchFourier:
    """`torch.fft` (MKL on a CPU, cuFFT on a GPU); see `gpgen.exact.fourier.Fourier`.

    Parameters
    ----------
    device
        Where to transform.
    """

    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable

    @property
    def block_numbers(self) -> int | None:
        """All at a time on a GPU."""
        return 2**15 if self.device.type == "cpu" else None

    @property
    def noise_numbers(self) -> int:
        """Enough to pay for starting a GPU's kernels."""
        return 2**15 if self.device.type == "cpu" else 2**24

    def short_normal(
        self, seeds: npt.NDArray[np.uint64], stream: int, count: int, bits: int
    ) -> Tensor:
        """Draw on the device."""
        return short_normal(seeds, stream, count, bits, self.device)

    def load(self, values: npt.NDArray[Any]) -> Tensor:
        """Return NumPy's array as a tensor on the device."""
        return torch.from_numpy(values).to(self.device)

    def to_numpy(self, x: Tensor) -> npt.NDArray[Any]:
        """Return a tensor as NumPy's array."""
        array: npt.NDArray[Any] = x.cpu().numpy()
        return array

    def empty_integers(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of int64, not initialized."""
        return torch.empty(shape, dtype=torch.int64, device=self.device)

    def empty_floats(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of float64, not initialized."""
        return torch.empty(shape, dtype=torch.float64, device=self.device)

    def rfft(self, x: Tensor, axis: int) -> Tensor:
        """Transform real numbers along an axis."""
        transform: Tensor = torch.fft.rfft(x, dim=axis)
        return transform

    def fft(self, x: Tensor, axis: int) -> Tensor:
        """Transform complex numbers along an axis."""
        transform: Tensor = torch.fft.fft(x, dim=axis)
        return transform

    def ifft(self, x: Tensor, axis: int) -> Tensor:
        """Transform complex numbers back."""
        transform: Tensor = torch.fft.ifft(x, dim=axis)
        return transform

    def irfft(self, x: Tensor, n: int, axis: int) -> Tensor:
        """Transform back to n real numbers."""
        transform: Tensor = torch.fft.irfft(x, n, dim=axis)
        return transform

    def floats(self, x: Tensor) -> Tensor:
        """Return integers as float64."""
        return x.to(torch.float64)

    def dot(self, whole: Tensor, weights: Tensor) -> Tensor:
        """Return each row's sum of products, modulo 2**64, as int64."""
        return (whole.to(torch.int64) * weights).sum(1)

    def ends(self, x: Tensor) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the least and the largest number of each row, as NumPy's arrays."""
        low, high = x.aminmax(dim=1)
        return self.to_numpy(low), self.to_numpy(high)
