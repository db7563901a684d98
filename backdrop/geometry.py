"""Which pixels of the input each position of a layer's output sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backdrop.labels import Labels
from gpgen.errors import UsageError

__all__ = ["ReceptiveField", "evaluating", "receptive_field"]


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer's output, one entry a spatial axis, in pixels of the input.

    Output position ``i`` of an axis sees `size` input pixels or fewer, from
    ``floor(offset + stride * i)`` on; where interpolation or a transposed
    convolution sets positions between positions, they may begin up to `slack`
    pixels later. Those outside the input are padding; a position whose field
    crosses the border may see less of the inside too, where the padding of a
    later layer stands before it, or the other side, where padding is circular or
    a map was rolled.

    Attributes
    ----------
    size
        Pixels seen by one position, from the first to the last.
    stride
        Pixels between neighbouring positions' fields: a whole number, or a
        fraction in maps finer than the input. Negative in a flipped map. 0 where
        all positions see the same, and where what they see does not move along
        with them (attention, a recurrent layer): then `size` is what they see
        all together.
    offset
        First pixel that position 0 sees; negative where there is padding.
    shape
        Positions along each axis.
    slack
        Pixels by which fields begin later than `stride` says, at most.
    axis
        The output's dimension that is the first axis: 2, or 1 where channels
        come last.
    """

    size: tuple[int, ...]
    stride: tuple[int | Fraction, ...]
    offset: tuple[int, ...]
    shape: tuple[int, ...]
    slack: tuple[int, ...] = field(default=(), repr=False)
    axis: int = field(default=2, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slack", self.slack or (0,) * len(self.size))

    @property
    def local(self) -> bool:
        """Whether positions look at different parts of the input, along every axis."""
        return all(self.stride)

    def span(self, *position: int) -> tuple[tuple[int, int], ...]:
        """Return (first, last) pixel seen by the output `position`, padding included."""
        axes = zip(self.offset, self.stride, position, self.size, self.slack, strict=True)
        starts = [(math.floor(o + s * i), size + slack) for o, s, i, size, slack in axes]
        return tuple((start, start + length - 1) for start, length in starts)


class _Axis(NamedTuple):
    size: int
    stride: int | Fraction
    offset: int
    slack: int


def receptive_field(model: nn.Module, input_shape: Sequence[int]) -> dict[str, ReceptiveField]:
    """Compute the receptive field of every layer of a convolutional network.

    The model runs twice an axis on zeros, in eval mode and without gradients.
    Beside each number runs the first, or the last, pixel that it depends on;
    every operation inside any layer or function passes them on: convolutions,
    transposed ones, pooling, padding and interpolation by their windows, sums
    and concatenations by joining their arguments, reductions, matrix products,
    softmax, attention and Fourier transforms by joining along their dimensions.
    An operation that isn't known is taken to see everything that it is given: a
    field may come out too large for it, never too small.

    A normalization's statistics do not count, whether they are of the batch, of
    a group or of an instance.

    Parameters
    ----------
    model
        Any module whose forward takes one tensor. It is left as it was.
    input_shape
        ``(channel, x)``, ``(channel, y, x)`` or ``(channel, z, y, x)``: an
        input's shape without the sample dimension.

    Returns
    -------
    dict of str to ReceptiveField
        By the module's name in `model`, in order of execution; a module's
        second call is called ``name:2``. Modules whose output is not a map, of a
        sample, channels and as many axes as the input (or the channels last), are
        left out.

    Raises
    ------
    UsageError
        If the model doesn't accept such an input, or contains no convolution.
    """
    if len(input_shape) < 2 or any(size < 1 for size in input_shape):
        raise UsageError(
            f"input_shape is {tuple(input_shape)}", "give (channel, *axes) without the batch"
        )
    axes = range(len(input_shape) - 1)
    # The largest label is the last pixel; of labels that count down, the first.
    runs = [(_run(model, input_shape, a, -1), _run(model, input_shape, a, 1)) for a in axes]
    names = [name for name in runs[0][0] if all(name in run for pair in runs for run in pair)]
    return {name: _field_of([(a[name], b[name]) for a, b in runs], input_shape) for name in names}


# What a run finds of one output: along dimension 1 and along dimension 2 and so on, the
# largest label at each position, whatever the other dimensions.
_Profile = dict[int, list[float]]


def _run(model: nn.Module, input_shape: Sequence[int], axis: int, sign: int) -> dict[str, _Profile]:
    """Run the model with pixels labelled by their place on an axis; collect by layer."""
    profiles: dict[str, _Profile] = {}
    calls: dict[str, int] = {}

    def record(name: str, module: nn.Module, output: object) -> None:
        labels = tracker.of(output) if isinstance(output, Tensor) else None
        # A Sequential hands on its last layer's output, and is no layer of its own.
        chain = type(module).forward is nn.Sequential.forward
        if labels is None or labels.ndim != len(input_shape) + 1 or chain:
            return
        calls[name] = calls.get(name, 0) + 1
        key = name if calls[name] == 1 else f"{name}:{calls[name]}"
        dims = range(labels.ndim)
        profiles[key] = {
            dim: (sign * labels.amax([d for d in dims if d != dim])).tolist() for dim in dims[1:]
        }

    like = next(iter(model.parameters()), torch.empty(0))
    image = torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)
    pixels = sign * torch.arange(input_shape[1 + axis], dtype=torch.float32, device=like.device)
    shape = [-1 if d == 2 + axis else 1 for d in range(image.ndim)]
    tracker = Labels(image, pixels.reshape(shape).expand(image.shape))
    try:
        with _observed(model, record), torch.no_grad(), tracker:
            model(image)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"the model failed on an input of shape {tuple(image.shape)}: {error}",
            "give input_shape as (channel, *axes), of a size that the model accepts",
        ) from error
    if not tracker.convolutions:
        raise UsageError(
            f"{type(model).__name__} contains no convolution that acts on its input",
            "give a convolutional network",
        )
    return profiles


def _field_of(
    profiles: Sequence[tuple[_Profile, _Profile]], input_shape: Sequence[int]
) -> ReceptiveField:
    found = []
    for first_dim in (2, 1):
        axes, shape = [], []
        for dim, side, (first, last) in zip(
            range(first_dim, first_dim + len(profiles)), input_shape[1:], profiles, strict=True
        ):
            axes.append(_axis(first[dim], last[dim], side))
            shape.append(len(first[dim]))
        size, stride, offset, slack = zip(*axes, strict=True)
        found.append(ReceptiveField(size, stride, offset, tuple(shape), slack, first_dim))
    # Along the channels nothing moves, so the right dimensions are those with smaller fields.
    return min(found, key=lambda field: sum(field.size))


def _axis(first: list[float], last: list[float], side: int) -> _Axis:
    """Describe positions that see the pixels from `first` to `last`."""
    n = len(first)
    if n == 1 and math.isfinite(first[0]):
        return _Axis(int(last[0] - first[0]) + 1, 0, int(first[0]), 0)
    # Near the borders fields may be cut or wrapped around: if not all move along alike,
    # those of the middle tell.
    for margin in (0, n // 4, 3 * n // 8):
        found = _moving(first, last, range(margin, n - margin))
        if found:
            return found
    # Without a stride: all that any of them sees inside the image (a first pixel of inf: nothing).
    start, stop = int(max(min(first), 0)), int(min(max(last), side - 1))
    return _Axis(stop - start + 1, 0, start, 0)


def _moving(first: list[float], last: list[float], middle: range) -> _Axis | None:
    """Find the stride by which fields repeat every few positions, if they do."""
    for lag in range(1, max(len(middle) // 2, 1) + 1):
        steps = {ends[i + lag] - ends[i] for ends in (first, last) for i in middle[:-lag]}
        step = steps.pop() if steps else 0
        if steps or not step or not math.isfinite(step):
            continue
        stride = Fraction(int(step), lag)
        starts = [int(first[i]) - i * int(step) // lag for i in middle]
        stops = [int(last[i]) - i * int(step) // lag for i in middle]
        size = max(int(last[i] - first[i]) + 1 for i in middle)
        slack = max(stops) - min(starts) + 1 - size
        whole = stride.numerator if stride.denominator == 1 else stride
        return _Axis(size, whole, min(starts), slack)
    return None


@contextmanager
def _observed(model: nn.Module, record: Callable[[str, nn.Module, object], None]) -> Iterator[None]:
    """Call `record` with each submodule's output, in eval mode; then undo everything."""
    named = [(n, m) for n, m in model.named_modules() if n or next(m.children(), None) is None]
    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        for name, module in named
    ]
    try:
        with evaluating(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set a module to eval mode; then each of its modules to what it was."""
    modes = {one: one.training for one in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for one, training in modes.items():
            one.training = training
