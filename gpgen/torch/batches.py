"""A batch without copies: read into one tensor, which a plain DataLoader hands on as it is.

A DataLoader joins samples by stacking them, a second copy of every pixel; in a worker into
shared memory, from which the main process takes the batch. Here a batch is one tensor from
the start, in a worker in shared memory already (`gpgen.torch.shared_memory`), and the samples are
views of it. Joining them again then costs nothing. A batch of 32 images of 1024 x 1024 is
128 MiB, so this is half of the time of loading it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any, NamedTuple

import torch
from torch.utils.data import default_collate, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from gpgen.torch.shared_memory import CAN_LEND, shared_images

__all__ = ["Batch", "View", "empty_images"]


class View(NamedTuple):
    """A sample whose image is a view of its batch's tensor."""

    image: torch.Tensor
    target: Any


class Batch(list[View]):
    """Samples as views of a batch, and the batch that they are views of.

    Parameters
    ----------
    images
        float32, shape (samples, 1, *shape).
    targets
        What a DataLoader makes of the samples' targets.
    each
        The samples' targets, one by one.
    """

    def __init__(self, images: torch.Tensor, targets: Any, each: Sequence[Any]) -> None:  # noqa: ANN401
        super().__init__(map(View, images.unbind(0), each))
        self.images = images
        self.targets = targets
        self._views = tuple(self)

    @property
    def is_whole(self) -> bool:
        """Whether it is still what it was: a collate function may sort, drop or add samples."""
        return len(self) == len(self._views) and all(map(is_, self, self._views))


def _join(batch: list[View], *, collate_fn_map: object = None) -> list[Any]:  # noqa: ARG001
    if isinstance(batch, Batch) and batch.is_whole:
        return [batch.images, batch.targets]
    joined: list[Any] = default_collate([tuple(view) for view in batch])
    return joined


# PyTorch's documented way to teach `default_collate`, and so every DataLoader, a type of ours.
default_collate_fn_map[View] = _join


def empty_images(count: int, shape: tuple[int, ...], lent: bool) -> torch.Tensor:
    """Return room for images.

    Parameters
    ----------
    count, shape
        Of the images.
    lent
        In shared memory if this is a DataLoader's worker.

    Returns
    -------
    Tensor
        float32 on the CPU, whatever PyTorch's default device; shape (count, 1, *shape), not
        initialized.
    """
    size = (count, 1, *shape)
    if lent and CAN_LEND and count and get_worker_info() is not None:
        return shared_images(size)
    return torch.empty(size, dtype=torch.float32, device="cpu")
