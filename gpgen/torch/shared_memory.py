"""Shared memory that DataLoader workers use again and again.

A worker hands its batches over in shared memory. New pages of it cost several times what
filling them does, and a batch of 32 images of 1024 x 1024 has 32,768. So a worker keeps its
blocks: a batch is lent to the main process, which gives its memory back when the last tensor
that looks at it is gone. A block's first byte says whose it is, in the memory itself, so that
nothing has to be sent. The blocks are files without names, which nobody needs to remove.
"""

from __future__ import annotations

import mmap
import os
import weakref
from multiprocessing.reduction import DupFd
from typing import Any, Final

import numpy as np
import torch
from torch.multiprocessing.reductions import reduce_tensor

__all__ = ["CAN_LEND", "shared_images"]

CAN_LEND: Final = hasattr(os, "memfd_create")
"""Whether the system has files without names: Linux."""

_HEADER: Final = mmap.PAGESIZE
_HERE, _LENT, _KEPT = range(3)

Shape = tuple[int, ...]
_reduce: Any = reduce_tensor


class _Block:
    """Shared memory of a worker, for one batch at a time."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.file = os.memfd_create("gpgen-batch")
        os.ftruncate(self.file, _HEADER + nbytes)
        self.memory = mmap.mmap(self.file, _HEADER + nbytes)
        self.in_use = False

    def __del__(self) -> None:
        os.close(self.file)

    @property
    def is_free(self) -> bool:
        return not self.in_use and self.memory[0] == _HERE

    @property
    def is_lost(self) -> bool:
        return not self.in_use and self.memory[0] == _KEPT

    def use(self, shape: Shape) -> _Images:
        """Return the memory as a tensor, which occupies the block until its last view is gone."""
        self.in_use = True
        tensor, array = _map(self.memory, shape)
        self.address = tensor.data_ptr()
        weakref.finalize(array, self._unuse).atexit = False
        images = tensor.as_subclass(_Images)
        images.block = self
        return images

    def _unuse(self) -> None:
        self.in_use = False


class _Images(torch.Tensor):
    """A batch in a block; a plain tensor wherever it arrives, as is all that is made from it."""

    block: _Block
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:  # noqa: ANN401 - as `torch.Tensor` has it
        memory = self.block.memory
        if memory[0] != _HERE or not self._fills_block():  # sent before, or no longer the block
            return _reduce(self.as_subclass(torch.Tensor))
        memory[0] = _LENT
        return _receive, (DupFd(self.block.file), len(memory), tuple(self.shape))

    def _fills_block(self) -> bool:
        return self.data_ptr() == self.block.address and self.is_contiguous()


_blocks: list[_Block] = []
"""This process's, if it is a DataLoader's worker."""


def shared_images(shape: Shape) -> torch.Tensor:
    """Return uninitialized shared memory that a DataLoader's worker can send without a copy.

    Parameters
    ----------
    shape
        Of the tensor, not empty.

    Returns
    -------
    Tensor
        float32.
    """
    nbytes = 4 * int(np.prod(shape))
    _blocks[:] = [block for block in _blocks if not block.is_lost]
    free = [block for block in _blocks if block.is_free]
    fitting = [block for block in free if block.nbytes >= nbytes]
    if fitting:
        return fitting[0].use(shape)
    for block in free:  # too small for what comes now
        _blocks.remove(block)
    _blocks.append(_Block(nbytes))
    return _blocks[-1].use(shape)


_borrowed: dict[int, Any] = {}
"""For each block that this process borrows, the finalizer that gives it back."""


def _receive(file: Any, size: int, shape: Shape) -> torch.Tensor:  # noqa: ANN401 - a DupFd
    """Map a lent block in the process that it was sent to."""
    descriptor = file.detach()
    try:
        memory = mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
    tensor, array = _map(memory, shape)
    finalizer = weakref.finalize(array, _give_back, memory)
    finalizer.atexit = False
    _borrowed[id(memory)] = finalizer
    return tensor


def _give_back(memory: mmap.mmap) -> None:
    _borrowed.pop(id(memory), None)
    memory[0] = _HERE


def _keep_borrowed() -> None:
    """Never give back what a child that is about to be forked will see too."""
    while _borrowed:
        _, finalizer = _borrowed.popitem()
        detached = finalizer.detach()
        if detached is not None:
            (memory,) = detached[2]
            memory[0] = _KEPT


os.register_at_fork(before=_keep_borrowed)


def _map(memory: mmap.mmap, shape: Shape) -> tuple[torch.Tensor, Any]:
    """Return a tensor, and the array that lives as long as any view of the tensor does."""
    array = np.frombuffer(memory, np.float32, int(np.prod(shape)), _HEADER)
    return torch.from_numpy(array).view(shape), array
