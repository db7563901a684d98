"""Which part of an image is enough to compute given positions of a network's output exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

from backdrop.geometry import ReceptiveField, receptive_field
from gpgen.errors import UsageError

__all__ = ["Box", "Patch", "StemGeometry", "stem_geometry"]

Box = tuple[slice, ...]
"""A range of positions, or of pixels, along each spatial axis."""

_TRIAL_SIDE = {1: 512, 2: 64, 3: 32}


@dataclass(frozen=True)
class Patch:
    """What must be computed for a box of output positions.

    Attributes
    ----------
    pixels
        The part of the image.
    local
        Where the positions are in the output of that part.
    """

    pixels: Box
    local: Box


@dataclass(frozen=True)
class StemGeometry:
    """What a stem's output positions see, independent of the image's size.

    Attributes
    ----------
    field
        The receptive field of the output; its `shape` is that of a trial image.
    inner
        Stride of the map that each module returns, by the module's name.
    align
        Along each axis: where a patch begins must be a multiple of it, so that the positions of
        every layer lie on the same pixels in the patch as in the image.
    """

    field: ReceptiveField
    inner: dict[str, tuple[int | Fraction, ...]]
    align: tuple[int, ...]

    def patch(self, positions: Box, image_shape: Sequence[int]) -> Patch:
        """Return the part of an image that is enough for a box of positions.

        A position whose field of view lies inside the part is not reached by padding at the
        part's edges, in any layer. A field that crosses the image's edge needs the padding that
        is there, so its part reaches to that edge.
        """
        field = self.field
        pixels, local = [], []
        first = field.span(*(box.start for box in positions))
        last = field.span(*(box.stop - 1 for box in positions))
        for axis, (box, n) in enumerate(zip(positions, image_shape, strict=True)):
            start = max(first[axis][0], 0) // self.align[axis] * self.align[axis]
            stop = min(last[axis][1] + 1, n)
            shift = int(start / Fraction(field.stride[axis]))
            pixels.append(slice(start, stop))
            local.append(slice(box.start - shift, box.stop - shift))
        return Patch(tuple(pixels), tuple(local))


def stem_geometry(stem: nn.Module, channels: int, image_shape: Sequence[int]) -> StemGeometry:
    """Find what a stem's output positions see.

    Parameters
    ----------
    stem
        A module that takes ``(sample, channel, *axes)`` and returns as many axes.
    channels
        Channels of its input.
    image_shape
        Pixels of each axis of the image.

    Raises
    ------
    UsageError
        If the output is no map, or its positions see all of the image or don't move along
        with the pixels.
    """
    side = _TRIAL_SIDE[len(image_shape)]
    while True:
        # On a part of the image: tracing takes as long as a forward pass over what is traced.
        trial = tuple(min(side, n) for n in image_shape)
        whole = trial == tuple(image_shape)
        try:
            fields = receptive_field(_Ended(stem), (channels, *trial))
        except UsageError:
            if whole:
                raise
            fields = {}
        field = fields.get("end")
        # Fields are trusted where some of them don't reach an edge.
        if whole or (field and all(2 * s < n for s, n in zip(field.size, trial, strict=True))):
            break
        side *= 2
    name = type(stem).__name__
    if field is None or field.axis != 2:
        raise UsageError(
            f"the output of the stem {name} is no map (sample, channel, *axes)",
            "end the stem where its output still has the image's axes",
        )
    if not all(stride > 0 for stride in field.stride):
        raise UsageError(
            f"each output position of the stem {name} sees the whole image, or an unknown part",
            "put global pooling, attention and flips behind the stem, after the mask",
        )
    inner = {
        layer.removeprefix("stem."): seen.stride for layer, seen in fields.items() if seen.local
    }
    strides = [Fraction(s[axis]) for axis in range(len(trial)) for s in inner.values()]
    count = len(inner)
    align = tuple(
        math.lcm(*(abs(s.numerator) for s in strides[axis * count : (axis + 1) * count]))
        for axis in range(len(trial))
    )
    return StemGeometry(field, inner, align)


class _Ended(nn.Module):
    """A stem with a last layer, under whose name its output's field is found."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.end = nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.end(self.stem(image))
        return output
