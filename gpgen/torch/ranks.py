"""Which of the processes that train together this is."""

from __future__ import annotations

import torch.distributed as dist

from gpgen.errors import UsageError

__all__ = ["rank_and_world_size"]


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
