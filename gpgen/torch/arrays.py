"""PyTorch's tensors for `gpgen.exact.drawing`, on any device.

In float64 every product is exact (`gpgen.exact.fixed_point`), so that a GPU gives the CPU's bits.
In float32, for GPUs whose float64 is slow, the same products are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpgen.exact.fourier import SCIPY, Fourier
from gpgen.torch.fourier import TorchFourier
from gpgen.torch.normal import standard_normal

__all__ = ["TorchArrays", "to_float16"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TorchArrays:
    """Tensors of one device and type; see `gpgen.exact.arrays.Arrays`.

    Parameters
    ----------
    device
        Where to draw, and where the images end.
    dtype
        torch.float64 or torch.float32.
    """

    device: torch.device
    dtype: torch.dtype
    banded: bool = False  # one launch costs a GPU more than multiplications by zero
    batch_bytes: int = 2**30
    block_numbers: int | None = None

    @property
    def exact(self) -> bool:
        """Whether products on a grid are exact."""
        return self.dtype == torch.float64

    @property
    def fourier(self) -> Fourier:
        """The device's transforms in float64; SciPy's, which are as good, for float32."""
        return TorchFourier(self.device) if self.exact else SCIPY

    def standard_normal(self, seeds: npt.NDArray[np.uint64], stream: int, count: int) -> Tensor:
        """Draw on the device."""
        return standard_normal(seeds, stream, count, self.device)

    def take(self, x: Tensor, places: npt.NDArray[np.int64], axis: int) -> Tensor:
        """Return the entries at some places of an axis."""
        return x.index_select(axis, torch.from_numpy(places).to(self.device))

    def row_products(self, x: Tensor, y: Tensor) -> Tensor:
        """Multiply and add up as integers."""
        products = x.to(torch.int64) * y.round().to(torch.int64)
        return products.reshape(len(x), -1).sum(1)

    def load(self, values: npt.NDArray[np.float64]) -> Tensor:
        """Return NumPy's array as a tensor on the device."""
        return torch.from_numpy(values).to(self.device, self.dtype)

    def empty(self, shape: Shape) -> Tensor:
        """Return a tensor to compute in."""
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def matmul(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Write the matrix product to `out`."""
        torch.matmul(a, b, out=out)

    def concatenate(self, parts: Sequence[Tensor], axis: int, out: Tensor | None = None) -> Tensor:
        """Join tensors along an axis."""
        return torch.cat(list(parts), dim=axis, out=out)

    def empty_images(self, shape: Shape, dtype: str) -> Tensor:  # noqa: ARG002
        """Return a tensor of float32, which holds float16's numbers too."""
        return torch.empty(shape, dtype=torch.float32, device=self.device)

    def store(self, pixels: Tensor, images: Tensor, dtype: str) -> None:
        """Write `pixels` to `images`, rounded to the recipe's type."""
        images.copy_(to_float16(pixels) if dtype == "float16" else pixels)

    def all_finite(self, images: Tensor) -> bool:
        """Return whether every pixel is a finite number."""
        return bool(images.isfinite().all())

    def to_numpy(self, images: Tensor) -> npt.NDArray[Any]:
        """Return images as NumPy's array."""
        array: npt.NDArray[Any] = images.cpu().numpy()
        return array


def to_float16(x: Tensor) -> Tensor:
    """Round to float16 and return float32; PyTorch's own way rounds twice, by way of float32."""
    exponent = (x.to(torch.float64).view(torch.int64) >> 52) & 0x7FF
    # float16 has 11 significant bits, and no finer spacing than 2**-24; 1023 is the bias.
    spacing = ((exponent - 10).clamp(min=1023 - 24) << 52).view(torch.float64)
    rounded = (torch.round(x / spacing) * spacing).to(torch.float32)
    return torch.where(rounded.abs() <= 65504, rounded, rounded * torch.inf)
