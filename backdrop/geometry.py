"""Which pixels of the input each position of a layer's output sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backdrop.windows import RULES, Axis, Field, field_of, set_field
from gpgen.errors import UsageError

__all__ = ["ReceptiveField", "receptive_field"]


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer's output, one entry a spatial axis, in pixels of the input.

    Output position ``i`` of an axis sees the input pixels ``offset + stride * i``
    up to and including ``offset + stride * i + size - 1``. Those outside the
    input are padding; a position whose field crosses the border may see less of
    the inside too, where the padding of a later layer stands before it.

    Attributes
    ----------
    size
        Pixels seen by one position.
    stride
        Pixels between neighbouring positions' fields.
    offset
        First pixel that position 0 sees; negative where there is padding.
    shape
        Positions along each axis.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: tuple[int, ...]
    shape: tuple[int, ...]

    def span(self, *position: int) -> tuple[tuple[int, int], ...]:
        """Return (first, last) pixel seen by the output `position`, padding included."""
        starts = [o + s * i for o, s, i in zip(self.offset, self.stride, position, strict=True)]
        return tuple((a, a + size - 1) for a, size in zip(starts, self.size, strict=True))


def receptive_field(model: nn.Module, input_shape: Sequence[int]) -> dict[str, ReceptiveField]:
    """Compute the receptive field of every layer of a convolutional network.

    The model runs once on zeros, in eval mode and without gradients, and
    each torch function that it calls passes the field on: convolutions,
    pooling and padding change it, sums and concatenations join the fields of
    their arguments, whatever else keeps a map's shape is taken to act on each
    position by itself (so a normalization's statistics do not count), and what
    doesn't keep it ends it (flattening, global pooling, linear layers,
    transposed convolutions, interpolation).

    The rules for one axis, for kernel k, stride s, padding q, dilation d, on a
    field of size R, stride S, offset O: R + (k - 1) d S, S s, O - q S.

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
        second call is called ``name:2``. Modules whose output is not a map of
        the input are left out.

    Raises
    ------
    UsageError
        If the model doesn't accept such an input, or contains no convolution.
    """
    if len(input_shape) < 2 or any(size < 1 for size in input_shape):
        raise UsageError(
            f"input_shape is {tuple(input_shape)}", "give (channel, *axes) without the batch"
        )
    fields: dict[str, ReceptiveField] = {}
    calls: dict[str, int] = {}

    def record(name: str, module: nn.Module, output: object) -> None:
        field = field_of(output)
        # A Sequential hands on its last layer's output, and is no layer of its own.
        if field is None or not isinstance(output, Tensor) or isinstance(module, nn.Sequential):
            return
        calls[name] = calls.get(name, 0) + 1
        key = name if calls[name] == 1 else f"{name}:{calls[name]}"
        size, stride, offset = zip(*field, strict=True)
        fields[key] = ReceptiveField(size, stride, offset, tuple(output.shape[2:]))

    tracker = _FieldTracker()
    like = next(iter(model.parameters()), torch.empty(0))
    image = torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)
    set_field(image, ((1, 1, 0),) * (len(input_shape) - 1))
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
    return fields


@contextmanager
def _observed(model: nn.Module, record: Callable[[str, nn.Module, object], None]) -> Iterator[None]:
    """Call `record` with each submodule's output, in eval mode; then undo everything."""
    modes = {module: module.training for module in model.modules()}
    named = [(n, m) for n, m in model.named_modules() if n or next(m.children(), None) is None]
    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        for name, module in named
    ]
    model.eval()
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


class _FieldTracker(TorchFunctionMode):
    """Passes the fields of a torch function's arguments on to its results."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        sources = [t for t in _tensors((*args, *kwargs.values())) if field_of(t) is not None]
        result = func(*args, **kwargs)
        if not sources:
            return result
        name = re.sub(r"[123]d(_with_indices)?$", "", getattr(func, "__name__", ""))
        rule = RULES.get(name)
        self.convolutions += name.startswith("conv") and rule is not None
        outputs = _tensors((result,))
        if rule is not None:
            field = rule(*args, **kwargs)
        else:
            shapes = {tuple(t.shape[2:]) for t in (*sources, *outputs)}
            joined = _join([f for f in map(field_of, sources) if f is not None])
            field = joined if len(shapes) == 1 else None
        for output in outputs:
            set_field(output, field)
        return result


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(_tensors(value))
    return found


def _join(fields: list[Field]) -> Field | None:
    """Return the smallest field that covers all; None where their strides differ."""
    axes: list[Axis] = []
    for parts in zip(*fields, strict=False):
        strides = {stride for _, stride, _ in parts}
        if len(strides) > 1:
            return None
        first = min(offset for _, _, offset in parts)
        last = max(offset + size for size, _, offset in parts)
        axes.append((last - first, strides.pop(), first))
    return tuple(axes)
