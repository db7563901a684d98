"""The backward pass that runs a stem once more, on the parts of the images that survive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backdrop.blocking import masks_of
from backdrop.crops import Crops, Indices
from backdrop.functional import masked_identity
from backdrop.image_parts import PartReader
from backdrop.layer import Backdrop
from backdrop.patches import Patches, StemGeometry
from backdrop.stem_on_parts import Stem
from gpgen.errors import UsageError

__all__ = ["InnerMasks", "Plan", "SparseGradient", "as_now", "largest_error"]


class InnerMasks:
    """The masks inside a stem: drawn for whole images, then cut out for parts of them."""

    def __init__(self, stem: nn.Module, geometry: StemGeometry) -> None:
        self._masks = {
            name: mask
            for name, mask in masks_of(stem).items()
            if mask.training and (mask.p or mask.mask is not None)
        }
        self._geometry = geometry
        self._factors: dict[str, Tensor | None] = {}
        self.drew_else = False
        """Whether the stem took random numbers for something else than its masks."""

    def __bool__(self) -> bool:
        return bool(self._masks)

    @contextmanager
    def drawn(self, device: torch.device, samples: int, parts: int | None) -> Iterator[None]:
        """Draw each mask for whole images while the stem runs on them, or on so many parts."""
        state = _random_state(device)
        calls: Counter[str] = Counter()

        def draw(name: str, mask: Backdrop, values: Tensor) -> Tensor:
            nonlocal state
            calls[name] += 1
            if parts and name in self._factors:
                return values
            if name in self._factors or name not in self._geometry.maps:
                raise _no_map_of_its_own(name)
            self.drew_else |= not torch.equal(state, _random_state(device))
            if parts:  # of the whole map there is nothing but its shape
                whole = (samples, values.shape[1], *self._geometry.maps[name])
                self._factors[name] = mask.factors(values.new_empty(()).expand(whole))
            else:
                self._factors[name] = mask.factors(values)
            state = _random_state(device)
            return values

        with self._replaced(draw):
            yield
        self.drew_else |= not torch.equal(state, _random_state(device))
        for name, count in calls.items():
            if parts and count != parts:
                raise _no_map_of_its_own(name)

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Let the masks pass everything."""
        with self._replaced(lambda name, mask, values: values):  # noqa: ARG005
            yield

    @contextmanager
    def cut(self, samples: Indices, patches: Patches, boxes: Indices) -> Iterator[None]:
        """Mask the parts that boxes of samples need as the whole images were masked."""

        def cut(name: str, mask: Backdrop, values: Tensor) -> Tensor:  # noqa: ARG001
            whole, layer = self._factors[name], self._geometry.layer(name)
            if whole is None or layer is None:
                return values
            segment, strides = layer
            parts = []
            for box in boxes.tolist():
                along = zip(patches.corner(box, segment), strides, strict=True)
                begins = [int(samples[box]), 0, *(int(c / Fraction(s)) for c, s in along)]
                # A dimension that the mask doesn't vary over has one entry, for all.
                sizes = (1, *values.shape[1:])
                where = [
                    slice(low, low + n) if full > 1 else slice(0, 1)
                    for low, n, full in zip(begins, sizes, whole.shape, strict=True)
                ]
                parts.append(whole[tuple(where)])
            return masked_identity(values, torch.cat(parts))

        with self._replaced(cut):
            yield

    @contextmanager
    def _replaced(self, stand_in: Callable[[str, Backdrop, Tensor], Tensor]) -> Iterator[None]:
        with ExitStack() as stack:
            for name, mask in self._masks.items():
                stack.enter_context(mask.replaced(partial(stand_in, name, mask)))
            yield


def _no_map_of_its_own(mask: str) -> UsageError:
    return UsageError(
        f"the mask {mask!r} inside the stem masks no map, or several",
        "put a mask of its own after each layer of the stem that returns a map",
    )


def _random_state(device: torch.device) -> Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


@dataclass
class Plan:
    """What a backward pass must compute.

    Attributes
    ----------
    stem, reader, masks
        What runs, on what.
    factors
        What the output's gradient is multiplied by, expanded to all samples and positions.
    samples, start, stop
        Boxes of output positions that hold all that survive: `surviving`.
    patches
        What the boxes need.
    together
        Pixels of patches that are computed together.
    check
        Whether the second pass is compared with the first.
    """

    stem: Stem
    reader: PartReader
    masks: InnerMasks
    factors: Tensor
    samples: Indices
    start: Indices
    stop: Indices
    patches: Patches
    together: int
    check: bool

    def __post_init__(self) -> None:
        self.precision = as_now(self.factors.device.type)
        self.modes = [module.training for module in self.stem.modules()]
        self._first: list[Tensor] = []

    def groups(self) -> Iterator[Indices]:
        """Yield boxes whose parts have the same sizes, few enough for the memory."""
        for boxes in self.patches.alike():
            pixels = int(np.prod(self.patches.size[boxes[0], 0]))
            most = max(1, self.together // pixels)
            for low in range(0, len(boxes), most):
                yield boxes[low : low + most]

    def output_of(self, boxes: Indices) -> Crops:
        """Return where in the output the boxes are."""
        start = self.start[boxes]
        return Crops(self.samples[boxes], start, self.stop[boxes[0]] - start[0])

    def remember(self, output: Tensor) -> None:
        """Keep what the first pass gave where something survives."""
        if self.check:
            self._largest = largest_error(output)
            self._first = [self.output_of(boxes).of(output) for boxes in self.groups()]

    def compare(self, number: int, values: Tensor) -> None:
        """Refuse a second pass that gives a group of boxes other values than the first."""
        if not self.check:
            return
        first = self._first[number]
        if first.shape != values.shape or bool((first - values).abs().amax() > self._largest):
            raise UsageError(
                "in the backward pass the stem gives other values for the parts that survive than "
                "it gave for the whole images",
                "put layers that look at more than a part behind the stem, after the mask, and "
                "change no layer between forward and backward",
            )

    def upstream(self, gradient: Tensor, boxes: Indices) -> Tensor:
        """Return the gradient that arrives at a group of boxes, masked."""
        where = self.output_of(boxes)
        return (where.of(gradient) * where.of(self.factors)).to(gradient.dtype)

    def images_of(self, boxes: Indices) -> Crops:
        """Return what of the images the boxes need."""
        return self.patches.pixels(self.samples[boxes], boxes)

    def run(self, parts: Tensor, boxes: Indices) -> Tensor:
        """Run the stem on the images' parts, masked as the images were."""
        masks = self.masks.cut(self.samples, self.patches, boxes)
        steps = self.patches.steps(int(boxes[0]))
        with torch.enable_grad(), self.precision(), masks:
            # A view goes in, which a stem may change in place, unlike a leaf.
            start = parts.view_as(parts) if parts.requires_grad else parts
            values: Tensor = self.stem(start, steps)
        return values


class SparseGradient(torch.autograd.Function):
    """Hands on an output; its backward pass runs the stem on the patches that survive."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        plan: Plan,
        output: Tensor,
        images: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        """Return the output, whose gradient is that of the images and the parameters."""
        ctx.plan = plan
        plan.remember(output)
        ctx.images_like = images
        # All that the second pass reads, so that autograd notices if it was changed in between.
        seen = plan.reader.images
        kept = [seen] if isinstance(seen, Tensor) else []
        ctx.save_for_backward(*kept, *parameters)
        return output.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Return the gradients of the images and of the parameters."""
        plan: Plan = ctx.plan
        ctx.saved_tensors  # noqa: B018 - raises if something was changed since
        if plan.modes != [module.training for module in plan.stem.modules()]:
            raise UsageError(
                "a layer of the stem was set to training or eval mode between forward and backward",
                "change modes after the backward pass",
            )
        image_gradient = None if ctx.images_like is None else torch.zeros_like(ctx.images_like)
        with plan.stem.stand_ins() as own:
            totals: list[Tensor | None] = [None] * len(own)
            for number, boxes in enumerate(plan.groups()):
                parts = plan.reader.read(plan.images_of(boxes))
                if image_gradient is not None:
                    parts.requires_grad_()
                values = plan.run(parts, boxes)
                plan.compare(number, values.detach())
                upstream = plan.upstream(grad_output, boxes)
                wanted = [*own, *([] if image_gradient is None else [parts])]
                found = list(torch.autograd.grad(values, wanted, upstream, allow_unused=True))
                of_parts = None if image_gradient is None else found.pop()
                if image_gradient is not None and of_parts is not None:
                    for index, one in zip(plan.images_of(boxes), of_parts, strict=True):
                        image_gradient[index] += one
                for k, gradient in enumerate(found):
                    if gradient is not None:
                        so_far = totals[k]
                        totals[k] = gradient if so_far is None else so_far + gradient
        return (None, None, image_gradient, *totals)


def largest_error(output: Tensor) -> Tensor:
    """Return by how much a stem's values on parts may differ from those on whole images."""
    exact = output.device.type == "cpu"  # elsewhere convolutions round to ten bits
    share = {torch.float64: 1e-9, torch.float32: 1e-4 if exact else 5e-3}
    return output.abs().amax() * share.get(output.dtype, 3e-2)


def as_now(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes a context with the mixed precision that is set now.

    Without its cache: that holds copies of parameters between passes with a graph and without.
    """
    return partial(
        torch.autocast,
        device,
        dtype=torch.get_autocast_dtype(device),
        enabled=torch.is_autocast_enabled(device),
        cache_enabled=False,
    )
