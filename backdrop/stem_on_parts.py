"""A stem that is run on parts of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from backdrop.crops import Crop
from backdrop.patches import StemGeometry
from gpgen.errors import UsageError

__all__ = ["Stem"]


def _led(values: Tensor, lead: Sequence[int]) -> Tensor:
    """Put positions before the first: copies of it, which no layer fails on that it passes."""
    for dim, n in enumerate(lead, 2):
        if n:
            first = values.narrow(dim, 0, 1).detach()
            values = torch.cat([*[first] * n, values], dim)
    return values


class Stem(nn.Module):
    """A stem to be run on parts of images."""

    def __init__(self, stem: nn.Module, geometry: StemGeometry) -> None:
        super().__init__()
        self.stem = stem
        self.segments = geometry.segments

    def forward(self, values: Tensor, steps: Sequence[tuple[list[int], Crop]]) -> Tensor:
        """Return the needed positions of the output, given `Patches.steps`."""
        for segment, (lead, crop) in zip(self.segments, steps, strict=True):
            values = _led(values, lead)
            for name in segment.names:
                values = self.stem.get_submodule(name)(values)
            needed = [along.stop - along.start for along in crop[2:]]
            if list(values.shape[2:]) != needed:
                values = values[crop]
            if list(values.shape[2:]) != needed:
                raise UsageError(
                    f"for a part of the image the stem's layer {segment.names[-1]!r} returns "
                    "fewer positions than its strides say",
                    "put layers that fit their output to the image behind the stem, after the mask",
                )
        return values

    def learned(self) -> list[nn.Parameter]:
        """Return the parameters that get a gradient."""
        return [p for p in self.stem.parameters() if p.requires_grad]

    @contextmanager
    def stand_ins(self) -> Iterator[list[Tensor]]:
        """Let others, of the same memory, take the place of the parameters of `learned`.

        A gradient of the parameters themselves would run their hooks for each part, and in the
        end again. (`torch.func.functional_call` leaves its tensors behind in a layer that stands
        in two places.)
        """
        own = {id(p): p.detach().requires_grad_() for p in self.learned()}
        kept = []
        for module in self.stem.modules():
            for name, parameter in module._parameters.items():
                if id(parameter) in own:
                    kept.append((module._parameters, name, parameter))
        try:
            for parameters, name, parameter in kept:
                parameters[name] = own[id(parameter)]  # type: ignore[assignment]
            yield list(own.values())
        finally:
            for parameters, name, parameter in kept:
                parameters[name] = parameter
