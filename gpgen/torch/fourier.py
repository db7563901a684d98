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

    def integers(self, x: Tensor) -> Tensor:
        """Return whole numbers as int64."""
        return x.to(torch.int64)

    def floats(self, x: Tensor) -> Tensor:
        """Return integers as float64."""
        return x.to(torch.float64)
