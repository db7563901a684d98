"""PyTorch's Fourier transforms for `gpgen.exact.convolution`, on any device with float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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

    def empty_integers(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of int64, not initialized."""
        return torch.empty(shape, dtype=torch.int64, device=self.device)

    def empty_floats(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of float64, not initialized."""
        return torch.empty(shape, dtype=torch.float64, device=self.device)

    def load(self, values: npt.NDArray[np.float64]) -> Tensor:
        """Return NumPy's array as a tensor on the device."""
        return torch.from_numpy(values).to(self.device)

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
