"""Batches of images that are read part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from backdrop.crops import Crop, Crops
from gpgen.errors import UsageError

__all__ = ["ImageParts", "ImageRows", "PartReader"]


class ImageParts(Protocol):
    """A batch of images that is read part by part, as a Zarr array is: (sample, channel, *axes)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, channels, and pixels of each axis."""
        ...

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401
        """Return a part as an array or tensor, for an index of slices."""
        ...


class ImageRows:
    """Some rows of an array of images without channels, as a batch with one channel.

    Parameters
    ----------
    array
        What is indexed as a Zarr array is, ``(row, *axes)``: that of a dataset, say
        (``dataset.image``, ``dataset.to_zarr()["image"]``). Whether a part of a row can be read
        without the rest depends on its chunks.
    rows
        The samples of the batch.

    Raises
    ------
    UsageError
        For rows that the array doesn't have.
    """

    def __init__(self, array: Any, rows: Sequence[int]) -> None:  # noqa: ANN401
        self.array = array
        self.rows = [int(row) for row in rows]
        n = array.shape[0]
        if not self.rows or not all(0 <= row < n for row in self.rows):
            raise UsageError(f"rows are {self.rows}", f"name some of the {n} rows, from 0 on")

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, one channel, and pixels of each axis."""
        return (len(self.rows), 1, *self.array.shape[1:])

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Return a part, for an index of slices."""
        samples, channels, *axes = index
        parts = [np.asarray(self.array[(row, *axes)]) for row in self.rows[samples]]
        return np.stack(parts)[:, None][:, channels]


class PartReader:
    """Reads parts of images to the device and dtype of `like`; tensors as they are."""

    def __init__(self, images: Tensor | ImageParts, like: Tensor) -> None:
        self.images = images
        self.shape = tuple(images.shape)
        self._like = like

    def read(self, crops: Crops) -> Tensor:
        """Return parts of samples with all channels: (part, channel, *axes).

        The memory is new: a stem may begin in place.
        """
        if isinstance(self.images, Tensor):
            return crops.of(self.images.detach())
        return torch.cat([self._one(index) for index in crops])

    def _one(self, index: Crop) -> Tensor:
        part = self.images[index]
        if not isinstance(part, Tensor):
            part = torch.from_numpy(np.array(part))
        return part.to(self._like)
