"""Which of the processes that train together this is."""

from __future__ import annotations

import sys

import torch.distributed as dist

from gpgen.errors import UsageError

__all__ = ["check_dealt_once", "rank_and_world_size", "settled"]


def rank_and_world_size(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return rank and world size, by default what torch.distributed says, or 0 and 1.

    Raises
    ------
    UsageError
        If only one is given, or the rank is none of the world's.
    """
    if (rank is None) != (world_size is None):
        raise UsageError("only one of rank and world_size is given", "give both or neither")
    if rank is None or world_size is None:
        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
        return 0, 1
    if not 0 <= rank < world_size:
        raise UsageError(
            f"rank is {rank} and world_size is {world_size}", "use 0 <= rank < world_size"
        )
    return rank, world_size


def settled(rank: int | None, world_size: int | None) -> tuple[int | None, int | None]:
    """Return rank and world size for a process that isn't one of torch.distributed's."""
    if dist.is_available() and dist.is_initialized():
        return rank_and_world_size(rank, world_size)
    return rank, world_size


def check_dealt_once(world_size: int) -> None:
    """Refuse to share samples among ranks where accelerate shares out the batches too.

    Its prepared loaders give each process some of the batches of any sampler; of a sampler that
    knows ranks, which then has a part of the samples only, the rest would never come.

    Raises
    ------
    UsageError
        If it does.
    """
    accelerate = sys.modules.get("accelerate.state")
    if world_size == 1 or accelerate is None or not accelerate.is_initialized():
        return
    if accelerate.PartialState().num_processes > 1:
        raise UsageError(
            f"accelerate shares out batches, and this sampler among {world_size} ranks too",
            "give the sampler rank=0 and world_size=1, and its loader to accelerator.prepare",
        )
