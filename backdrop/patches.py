"""Which part of an image is enough to compute given positions of a stem's output exactly.

A stem is taken apart into *segments*, where it is a chain of modules: each has a convolution of
its own. What a box of output positions needs is found segment by segment, from the last to the
first, so that each map is computed as far as it is needed and no further.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from backdrop.crops import Crop, Crops, Indices
from backdrop.geometry import ReceptiveField, receptive_field
from gpgen.errors import UsageError

__all__ = ["Patches", "StemGeometry", "stem_geometry"]

_TRIAL_SIDES = {1: (512, 1 << 14), 2: (64, 1024), 3: (32, 128)}
"""Smallest and largest side of the images on which a receptive field is looked for."""


@dataclass(frozen=True)
class Patches:
    """The parts of images that boxes of output positions need: arrays (box, segment, axis).

    Attributes
    ----------
    start, size
        The part of each segment's input; for the first segment, pixels of the image.
    lead
        Positions before the part that the segment must be given too, so that its strides fall
        where they fall in the whole. No needed position depends on them.
    local
        Where the needed positions begin in the segment's output for that part.
    needed
        How many are needed.
    """

    start: Indices
    size: Indices
    lead: Indices
    local: Indices
    needed: Indices

    def __len__(self) -> int:
        return len(self.start)

    def pixels(self, samples: Indices, boxes: Indices) -> Crops:
        """Return what boxes of samples need of the images; all of them need the same size."""
        return Crops(samples, self.start[boxes, 0], self.size[boxes[0], 0])

    def steps(self, box: int) -> list[tuple[list[int], Crop]]:
        """Return each segment's lead, and what of its output for its part is needed."""
        crops = [_crop(*both) for both in zip(self.local[box], self.needed[box], strict=True)]
        return list(zip(self.lead[box].tolist(), crops, strict=True))

    def corner(self, box: int, segment: int) -> list[int]:
        """Return where what a segment is given begins in its whole input."""
        corner: list[int] = (self.start[box, segment] - self.lead[box, segment]).tolist()
        return corner

    def alike(self) -> list[Indices]:
        """Return the boxes in groups whose parts have the same sizes, to be computed together."""
        shapes = np.concatenate([self.size[:, :1], self.lead, self.local, self.needed], axis=1)
        _, group = np.unique(shapes.reshape(len(self), -1), axis=0, return_inverse=True)
        return [np.flatnonzero(group == one) for one in range(group.max() + 1)]


def _crop(start: Indices, size: Indices) -> Crop:
    ranges = (slice(int(low), int(low + n)) for low, n in zip(start, size, strict=True))
    return (slice(None), slice(None), *ranges)


@dataclass(frozen=True)
class _Segment:
    """Modules that run one after the other.

    Attributes
    ----------
    names
        Of the modules in the stem.
    field
        The receptive field of the output in the input; its `shape` is that of a trial.
    inner
        Stride of the map that each module returns, by its name in the stem.
    align
        Along each axis: where what it is given begins must be a multiple of it, so that the
        positions of every layer lie on the same input positions in the part as in the whole.
    """

    names: tuple[str, ...]
    field: ReceptiveField
    inner: dict[str, tuple[int | Fraction, ...]]
    align: tuple[int, ...]

    def part(
        self, start: Indices, stop: Indices, whole: Sequence[int]
    ) -> tuple[Indices, Indices, Indices, Indices]:
        """Return the input's part for output positions, its lead, and where they lie in its output.

        A position whose field lies inside the part is not reached by padding at the part's
        edges, in any layer. A field that crosses the map's edge needs the padding that is there,
        so its part reaches to that edge.
        """
        field, n = self.field, np.array(whole)
        stride = [Fraction(s) for s in field.stride]
        over = np.array([s.numerator for s in stride])
        under = np.array([s.denominator for s in stride])
        offset, align = np.array(field.offset), np.array(self.align)
        last = offset + (stop - 1) * over // under + np.array(field.size) + np.array(field.slack)
        first = (offset + start * over // under).clip(0, n - 1)
        lead = first % align
        # At least one: a position may see nothing but padding.
        stop = np.minimum(last, n).clip(first + 1)
        return first, stop, lead, start - (first - lead) * under // over


@dataclass(frozen=True)
class StemGeometry:
    """What a stem's output positions see, for images of one size.

    Attributes
    ----------
    segments
        The parts of the stem, in their order.
    shapes
        Positions along each axis of each segment's input (the image first), and of the output.
    maps
        Positions along each axis of the map that each layer returns, by its name in the stem.
    """

    segments: tuple[_Segment, ...]
    shapes: tuple[tuple[int, ...], ...]
    maps: dict[str, tuple[int, ...]]

    @property
    def stride(self) -> tuple[Fraction, ...]:
        """Pixels between neighbouring output positions, along each axis."""
        strides = [segment.field.stride for segment in self.segments]
        along = zip(*strides, strict=True)
        return tuple(math.prod(map(Fraction, one), start=Fraction(1)) for one in along)

    def size(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Return how many pixels a box of so many output positions sees along each axis."""
        sizes = list(positions)
        for segment in reversed(self.segments):
            field = segment.field
            for axis, n in enumerate(sizes):
                seen = math.ceil((n - 1) * Fraction(field.stride[axis])) + field.size[axis]
                sizes[axis] = seen + field.slack[axis]
        return tuple(min(n, whole) for n, whole in zip(sizes, self.shapes[0], strict=True))

    def patches(self, start: Indices, stop: Indices) -> Patches:
        """Return the parts that are enough for boxes of output positions: arrays (box, axis)."""
        found = []
        for segment, whole in zip(reversed(self.segments), self.shapes[-2::-1], strict=True):
            first, last, lead, local = segment.part(start, stop, whole)
            if segment is self.segments[0]:  # the image is there to be read
                first, lead = first - lead, np.zeros_like(lead)
            found.append((first, last - first, lead, local, stop - start))
            start, stop = first, last
        return Patches(*(np.stack(kind, 1) for kind in zip(*found[::-1], strict=True)))

    def layer(self, name: str) -> tuple[int, tuple[int | Fraction, ...]] | None:
        """Return a layer's segment, and the stride of its output in that segment's input."""
        for number, segment in enumerate(self.segments):
            if name in segment.inner:
                return number, segment.inner[name]
        return None


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
    segments, shapes = [], [tuple(image_shape)]
    maps: dict[str, tuple[int, ...]] = {}
    for names in _chain(stem):
        part = _Part(stem, names)
        segment = _segment(stem, part, channels, len(image_shape))
        channels, shape, inner = _output_shape(stem, part, segment, channels, shapes[-1])
        segments.append(segment)
        shapes.append(shape)
        maps |= inner
    return StemGeometry(tuple(segments), tuple(shapes), maps)


def _chain(stem: nn.Module) -> list[tuple[str, ...]]:
    """Group the modules of a chain so that each group has a convolution."""
    groups: list[tuple[str, ...]] = []
    waiting: tuple[str, ...] = ()
    for name, module in _links("", stem):
        convolves = any(isinstance(one, _ConvNd) for one in module.modules())
        if convolves or not groups:
            waiting = (*waiting, name)
            if convolves:
                groups.append(waiting)
                waiting = ()
        else:
            groups[-1] = (*groups[-1], name)
    return groups or [waiting or ("",)]


def _links(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    hooked = module._forward_hooks or module._forward_pre_hooks
    hooked = hooked or module._backward_hooks or module._backward_pre_hooks
    if type(module).forward is nn.Sequential.forward and not hooked:
        # Not named_children, which leaves out a layer's second place.
        for child, link in module._modules.items():
            if link is not None:
                yield from _links(f"{name}.{child}" if name else child, link)
    else:
        yield name, module


class _Part(nn.Module):
    """Modules of a stem, with a last layer under whose name their output's field is found."""

    def __init__(self, stem: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.links = nn.ModuleList(stem.get_submodule(name) for name in names)
        self.end = nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        for link in self.links:
            values = link(values)
        return self.end(values)  # type: ignore[no-any-return]


def _segment(stem: nn.Module, part: _Part, channels: int, axes: int) -> _Segment:
    field, fields = _traced(stem, part, channels, axes)
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
    inner = {}
    for path, seen in fields.items():
        if path != "end" and seen.local:
            _, number, *below = path.split(".")
            inner[".".join(filter(None, (part.names[int(number)], *below)))] = seen.stride
    strides = [*inner.values(), field.stride]
    align = (math.lcm(*(abs(Fraction(s[a]).numerator) for s in strides)) for a in range(axes))
    return _Segment(part.names, field, inner, tuple(align))


def _traced(
    stem: nn.Module, part: _Part, channels: int, axes: int
) -> tuple[ReceptiveField | None, dict[str, ReceptiveField]]:
    """Return the fields of a part's output and layers, from the smallest image that shows them."""
    side, largest = _TRIAL_SIDES[axes]
    while True:
        try:
            fields = receptive_field(part, (channels, *(side,) * axes))
        except UsageError as error:
            if side >= largest:
                raise UsageError(
                    f"the geometry of the stem {type(stem).__name__} is unknown: {error}",
                    "give a stem of convolutions, pooling and pointwise layers, which accepts "
                    "images of any size",
                ) from error
        else:
            field = fields.get("end")
            several = field is not None and min(field.shape) > 1
            # Fields are trusted where some of them don't reach an edge.
            if field is None or (several and (0 in field.stride or 2 * max(field.size) < side)):
                return field, fields
            if side >= largest:
                return field, fields
        side *= 2


def _output_shape(
    stem: nn.Module, part: _Part, segment: _Segment, channels: int, shape: Sequence[int]
) -> tuple[int, tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Return channels and positions of a segment's output, positions of its layers' maps."""
    aligned = list(zip(shape, segment.field.size, segment.align, strict=True))
    # Leaving out `align` input positions leaves out one output position for each stride.
    spare = [max(0, n - 2 * size - align) // align for n, size, align in aligned]
    small = [n - left * align for left, (n, _, align) in zip(spare, aligned, strict=True)]
    like = next(iter(part.parameters()), torch.empty(0))
    found: dict[str, Sequence[int]] = {}
    modules = dict(stem.named_modules(remove_duplicate=False))
    with _evaluating(part), torch.no_grad(), ExitStack() as hooks:
        for name in segment.inner.keys() & modules.keys():  # a second call has a name of its own
            hook = partial(_note_positions, found, name)
            hooks.enter_context(modules[name].register_forward_hook(hook))
        output = part(torch.zeros(1, channels, *small, dtype=like.dtype, device=like.device))

    def grown(positions: Sequence[int], strides: Sequence[int | Fraction]) -> tuple[int, ...]:
        along = zip(positions, spare, segment.align, map(Fraction, strides), strict=True)
        return tuple(n + (int(left * by / stride) if left else 0) for n, left, by, stride in along)

    inner = {name: grown(positions, segment.inner[name]) for name, positions in found.items()}
    return output.shape[1], grown(output.shape[2:], segment.field.stride), inner


def _note_positions(
    found: dict[str, Sequence[int]], name: str, _module: nn.Module, _inputs: object, output: object
) -> None:
    if isinstance(output, Tensor):
        found[name] = output.shape[2:]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {one: one.training for one in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for one, training in modes.items():
            one.training = training
