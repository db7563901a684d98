"""The random numbers that masks are drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gpgen.errors import UsageError

__all__ = ["draw_uniform"]


def draw_uniform(
    shape: Sequence[int], device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Draw numbers in [0, 1): float32, so that a seed gives the same ones beside any dtype."""
    if generator is None:
        # Not generator=None: that names an overload without symbolic shapes.
        return torch.rand(shape, device=device, dtype=torch.float32)
    if generator.device.type != device.type:
        raise UsageError(
            f"the generator is on {generator.device}, the input on {device}",
            f"make it with torch.Generator(device={device.type!r})",
        )
    return torch.rand(shape, generator=generator, device=device, dtype=torch.float32)
