"""The mask and the function that applies it to the gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.fx import Proxy
from torch.overrides import handle_torch_function

from backdrop.groups import factors_in_groups, spread
from backdrop.uniform import draw_uniform
from gpgen.errors import UsageError

__all__ = [
    "DEFAULT_P",
    "backdrop",
    "draw_kept",
    "draw_mask",
    "fixed_mask",
    "mask_factors",
    "masked_identity",
]

DEFAULT_P: Final = 0.5
"""The masking probability where none is given, as `torch.nn.Dropout` has it."""


def backdrop(
    input: Tensor,  # noqa: A002  the name torch.nn.functional gives it
    p: float = DEFAULT_P,
    dims: Sequence[int] = (2, 3),
    per_sample: bool = True,
    training: bool = True,
    *,
    mask: Tensor | None = None,
    valid: Tensor | None = None,
    groups: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return `input` unchanged; in the backward pass multiply its gradient by a random mask.

    With a Bernoulli mask ``m`` over the dimensions `dims` (1 with probability
    ``1 - p``), the gradient ``g`` that arrives at the output leaves as
    ``g * m / mean(m)``. If the draw keeps no position, one survives, every
    position being as likely. The mean is over `dims`, so each position's
    factor has expectation 1 and the expected gradient is the unmasked one.

    Parameters
    ----------
    input
        Any shape. An integer tensor has no gradient and is returned as it is.
    p
        Probability that a position is masked, in [0, 1).
    dims
        The dimensions of `input` that the mask varies over; all others share
        it. Negative ones count from the end.
    per_sample
        Draw, and normalize, a mask for each index of dimension 0. Otherwise,
        or when `dims` names dimension 0, one mask for the whole batch.
    training
        If false, nothing is masked.
    mask
        A fixed mask instead of a random one, nonzero where the gradient
        passes: shape ``[input.shape[d] for d in sorted(dims)]``, with
        `per_sample` optionally led by ``input.shape[0]``. It is divided by its
        own mean too. A mask that keeps nothing passes no gradient.
    valid
        Which positions exist, true or 1 for those that do, in a shape like `mask`'s: sequences
        are padded. Padding passes no gradient, counts in no mean, and is never
        the one that survives.
    groups
        Integers that name each position's group, in a shape like `mask`'s. Each group's mask is
        normalized by its own mean, and one of its positions survives at least: the graphs of
        a batch (``batch`` of PyTorch Geometric, with ``dims=(0,)``), or the classes of the samples,
        so that rare ones are never masked altogether.
    generator
        Where the random numbers come from, instead of torch's global
        generator. ``torch.compile`` can't trace one; there use
        `torch.manual_seed`.

    Returns
    -------
    Tensor
        The same values in the same memory; under ``torch.compile`` the memory
        may be other. An in-place operation on it changes `input` too, so read
        `input` before, or not at all. Where that is a parameter or another leaf
        that requires a gradient, torch refuses the operation.

    Raises
    ------
    UsageError
        For a `p` outside [0, 1), a dimension that `input` does not have or
        that is named twice, an empty `input`, a `mask`, `valid` or `groups` of another
        shape, groups that are no integers, a `generator` on another kind of device.

    Notes
    -----
    As with dropout, a training forward pass draws its mask also under
    ``torch.no_grad()``: activation checkpointing replays the random state. It
    replays torch's global one; from a `generator` it draws a new mask.

    A factor beyond float16 meets the gradient in float32. Where their product is
    beyond float16 too, it is inf, as of any operation in float16.
    """
    if isinstance(input, Proxy):
        # torch.fx records one call, as of torch's own functions.
        settings: dict[str, Any] = {"mask": mask, "valid": valid, "groups": groups}
        settings["generator"] = generator
        arguments = (input, p, tuple(dims), per_sample, training)
        return cast("Tensor", handle_torch_function(backdrop, (input,), *arguments, **settings))
    scale = mask_factors(
        input, p, dims, per_sample, mask, generator, training, valid=valid, groups=groups
    )
    if scale is None:
        return input
    return masked_identity(input, scale)


def mask_factors(
    input: Tensor,  # noqa: A002
    p: float,
    dims: Sequence[int],
    per_sample: bool,
    mask: Tensor | None,
    generator: torch.Generator | None,
    training: bool = True,
    *,
    valid: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor | None:
    """Return what `backdrop` multiplies the gradient of `input` by; None if it changes nothing."""
    check_probability(p)
    if input.is_nested:
        raise UsageError(
            "backdrop was given a nested tensor",
            "give a padded one with valid, or packed sequences to the layer",
        )
    axes = resolve_dims(dims, input.ndim)
    if not training or not (input.is_floating_point() or input.is_complex()):
        return None
    if input.numel() == 0:
        raise UsageError(
            f"backdrop was given an empty tensor, shape {tuple(input.shape)}",
            "leave empty batches out of the training loop",
        )
    if valid is not None or groups is not None:
        scale = factors_in_groups(input, p, axes, per_sample, mask, valid, groups, generator)
    elif mask is not None:
        scale = fixed_mask(mask, input, axes, per_sample)
    elif p == 0:
        return None
    else:
        scale = draw_mask(input, p, axes, per_sample, generator)
    if input.dtype in (torch.float16, torch.bfloat16) and not torch.compiler.is_compiling():
        # Half the memory traffic, where the largest factor, all positions over one, is finite.
        largest = math.prod(input.shape[axis] for axis in axes)
        scale = scale.to(input.dtype) if largest <= torch.finfo(input.dtype).max else scale
    return scale


def masked_identity(input: Tensor, scale: Tensor) -> Tensor:  # noqa: A002
    """Return `input`; multiply its gradient by `scale`, which broadcasts to it."""
    if torch.compiler.is_compiling():
        return _traceable_identity(input, scale)
    owner = input if input._base is None else input._base
    if not (owner.is_leaf and owner.requires_grad):
        return cast("Tensor", _MaskGradient.apply(input, scale))  # type: ignore[no-untyped-call]
    if torch._C._are_functorch_transforms_active():
        return _traceable_identity(input, scale)  # there in-place operations aren't refused
    return cast("Tensor", _MaskLeafGradient.apply(input, scale))  # type: ignore[no-untyped-call]


def draw_mask(
    input: Tensor,  # noqa: A002
    p: float,
    axes: tuple[int, ...],
    per_sample: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the factors for the gradient of `input`: a Bernoulli mask over its own mean.

    The shape is that of `input` in `axes` (and in dimension 0 with
    `per_sample`), 1 elsewhere. `axes` must be non-negative and sorted.
    """
    shape = [
        size if axis in axes or (per_sample and axis == 0) else 1
        for axis, size in enumerate(input.shape)
    ]
    uniform = draw_uniform(shape, input.device, generator)
    # A position is kept where its number is at least p. Where none reaches p the largest
    # is kept, which is any of them with equal probability; no branch, no second draw.
    threshold = uniform.amax(axes, keepdim=True).clamp(max=p)
    # u >= t as 1.0 or 0.0: in place and without a boolean tensor, the fastest way on a CPU
    # but for ge_, which vmap has no rule for.
    keep = uniform.sub_(threshold).floor_().add_(1)
    return _normalized(keep, input, axes)


def draw_kept(
    input: Tensor,  # noqa: A002
    keep: int,
    dims: Sequence[int],
    per_sample: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw factors like `draw_mask`, of masks in which exactly `keep` positions survive."""
    axes = resolve_dims(dims, input.ndim)
    sizes = [input.shape[axis] for axis in axes]
    count = math.prod(sizes)
    if keep > count:
        raise UsageError(f"keep is {keep}, and a mask has {count} positions", "keep fewer")
    shape = [size if axis in axes else 1 for axis, size in enumerate(input.shape)]
    if per_sample and axes[0] != 0:
        shape[0] = input.shape[0]
    uniform = draw_uniform((math.prod(shape) // count, count), input.device, generator)
    survivors = uniform.topk(keep, dim=1).indices
    mask = torch.zeros_like(uniform).scatter_(1, survivors, 1)
    return _normalized(mask.reshape(shape), input, axes)


def fixed_mask(
    mask: Tensor,
    input: Tensor,  # noqa: A002
    axes: tuple[int, ...],
    per_sample: bool,
) -> Tensor:
    """Bring a user's mask into the shape that `draw_mask` gives, normalized likewise."""
    keep = (spread(mask, "the fixed mask", input, axes, per_sample) != 0).to(torch.float32)
    return _normalized(keep, input, axes, least=0.5 / keep.numel())


def _normalized(keep: Tensor, like: Tensor, axes: tuple[int, ...], least: float = 0.0) -> Tensor:
    """Divide `keep` (zeros and ones, changed in place) by its mean, in float32 at least."""
    if like.dtype in (torch.float64, torch.complex128):
        keep = keep.to(torch.float64)
    mean = keep.mean(axes, keepdim=True)
    return keep.div_(mean.clamp(min=least) if least else mean)


def check_probability(p: float) -> None:
    """Refuse a `p` that is not a number in [0, 1)."""
    if isinstance(p, str) or p is None or not 0 <= p < 1:
        raise UsageError(
            f"the masking probability p is {p!r}", "choose one with 0 <= p < 1; 1 would block all"
        )


def resolve_dims(dims: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return `dims` as sorted non-negative dimensions of an `ndim`-dimensional tensor."""
    for dim in dims:
        if not -ndim <= dim < ndim:
            raise UsageError(
                f"dims {tuple(dims)} name dimension {dim}, the input has {ndim} dimensions",
                "name dimensions that it has, counting from 0",
            )
    axes = tuple(sorted(dim % ndim for dim in dims))
    if not axes or len(set(axes)) != len(axes):
        raise UsageError(
            f"dims {tuple(dims)} name {'one dimension twice' if axes else 'no dimension'}",
            "name each dimension to be masked once",
        )
    return axes


def _traceable_identity(input: Tensor, scale: Tensor) -> Tensor:  # noqa: A002
    """Return `input` in plain operations whose derivative is `scale`, for torch.compile to fuse.

    Its memory is new.

    Dynamo refuses a Function with forward-mode derivatives, and where torch.func.grad is
    compiled it differentiates a Function's forward and drops its backward (torch 2.13).
    """
    still = input.detach()
    # Subtracting, not adding, keeps the sign of -0.0.
    zero = torch.where(still.isfinite(), still - input, 0)
    return still - (zero * scale).to(input.dtype)


class _MaskGradient(torch.autograd.Function):
    """Identity whose derivative is multiplication by a mask; keeps nothing but the mask."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, scale: Tensor) -> Tensor:  # noqa: A002, ARG004
        # Not input itself nor a view: autograd forbids to change those in place, and an
        # in-place activation after the mask is common. The memory is shared all the same.
        return input.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG004
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (scale,) = ctx.saved_tensors
        return (grad_output * scale).to(grad_output.dtype), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Tensor | None) -> Tensor:  # noqa: ANN401
        (scale,) = ctx.saved_tensors
        masked: Tensor = tangent * scale  # the mask is its own transpose
        return masked.to(tangent.dtype)


class _MaskLeafGradient(_MaskGradient):
    """The same for a leaf, or a view of one, which an in-place operation would change."""

    @staticmethod
    def forward(input: Tensor, scale: Tensor) -> Tensor:  # noqa: A002, ARG004
        # Autograd refuses in-place operations on a view that a Function returns. A view of
        # `input` itself would need a view from `jvp`.
        still = input.detach()
        return still.view_as(still)
