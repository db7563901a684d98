"""How each of torch's operations moves and joins the labels of its arguments.

A rule gets the operation's arguments with labels in place of numbers, and
returns the result's labels: for each element the largest label among the
elements that it is computed from. Two helpers do most: `_slide`, the largest in
a window, for convolutions, pools and whatever else has a kernel, and `_joined`,
the largest along dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves

__all__ = ["OVERWRITES", "Call", "everything", "rule_of"]


@dataclass(frozen=True)
class Call:
    """One call of an operation, its floating-point tensors replaced by their labels.

    Attributes
    ----------
    func
        The operation, an overload of ``torch.ops.aten``.
    args, kwargs
        What it was given.
    shape
        The shape of its first result.
    edge
        The largest label of a pixel. Beyond it are those of padding.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: Sequence[int]
    edge: float

    @property
    def named(self) -> dict[str, Any]:
        """All arguments by the names in the operation's schema, with defaults."""
        schema = self.func._schema.arguments
        defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
        names = (a.name for a in schema)
        return defaults | dict(zip(names, self.args, strict=False)) | self.kwargs

    @property
    def labels(self) -> list[Tensor]:
        """The labels of all arguments."""
        leaves = tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def everything(call: Call) -> Tensor:
    """Each element of the result sees all that the operation was given."""
    return torch.stack([x.amax() for x in call.labels if x.numel()]).amax().clamp(max=call.edge)


def _elementwise(call: Call) -> Tensor:
    labels = call.labels
    largest = labels[0]
    for other in labels[1:]:
        largest = torch.maximum(largest, other)
    return largest


def _moved(call: Call) -> Tensor:
    moved: Tensor = call.func(*call.args, **call.kwargs)
    return moved


def _put(call: Call) -> Tensor:
    return everything(call) if call.named["accumulate"] else _moved(call)


def _nothing(call: Call) -> Tensor:  # noqa: ARG001
    return torch.tensor(-math.inf)


def _overwritten(call: Call) -> Tensor:
    return call.args[1] if isinstance(call.args[1], Tensor) else _nothing(call)


def _normalized(call: Call) -> Tensor:
    """By position: statistics are left out, see `backdrop.receptive_field`."""
    first, *others = call.labels
    return torch.stack([first, *(x.amax().expand(first.shape) for x in others)]).amax(0)


def _joined(call: Call, labels: Tensor, dim: list[int]) -> Tensor:
    largest = labels.amax(dim, keepdim=True)
    # A mean over all positions sees no more than the image: it has no padding of its own.
    return largest.where(largest == labels.amin(dim, keepdim=True), largest.clamp(max=call.edge))


def _along(call: Call) -> Tensor:
    labels, dim = call.labels[0], call.named.get("dim")
    dims = [dim] if isinstance(dim, int) else list(dim or range(labels.ndim))
    joined = _joined(call, labels, dims)
    return joined.reshape(call.shape) if joined.numel() == math.prod(call.shape) else joined


def _product(call: Call) -> Tensor:
    *bias, left, right = call.labels
    product = torch.maximum(_joined(call, left, [-1]), _joined(call, right, [-2]))
    return torch.maximum(product, bias[0]) if bias else product


def _linear(call: Call) -> Tensor:
    labels, *others = call.labels
    return torch.maximum(
        _joined(call, labels, [-1]), torch.stack([x.amax() for x in others]).amax()
    )


def _attention(call: Call) -> Tensor:
    query, key, value = call.labels[:3]
    seen = torch.maximum(_joined(call, key, [-2, -1]), _joined(call, value, [-2, -1]))
    return torch.maximum(_joined(call, query, [-1]), seen)


def _per_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * ndim if len(values) == 1 else values


def _extended(labels: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Continue labels beyond the borders (or cut them): padding is a pixel outside the image."""

    def beyond(edge: int, inner: int, count: int) -> Tensor:
        border = labels.narrow(axis, edge, 1)
        step = (border - labels.narrow(axis, inner, 1)).nan_to_num(0, 0, 0)
        steps = torch.arange(1, count + 1, dtype=labels.dtype, device=labels.device)
        shape = [-1 if d == axis else 1 for d in range(labels.ndim)]
        return border + step * steps.reshape(shape)

    n = labels.shape[axis]
    left = beyond(0, min(1, n - 1), max(before, 0)).flip(axis)
    right = beyond(n - 1, max(n - 2, 0), max(after, 0))
    start, stop = max(-before, 0), n - max(-after, 0)
    return torch.cat([left, labels.narrow(axis, start, stop - start), right], axis)


def _window(labels: Tensor, axis: int, kernel: int, stride: int, dilation: int) -> Tensor:
    return labels.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation].amax(-1)


def _slide(labels: Tensor, sizes: Sequence[int], *window: int | Sequence[int]) -> Tensor:
    """Give each window's largest label; `window` is kernel, stride, padding, dilation.

    `sizes` are those of the result; the axes are the last ones.
    """
    ndim = len(sizes)
    first = labels.ndim - ndim
    windows = zip(*(_per_axis(w, ndim) for w in window), strict=True)
    for axis, (n, (k, s, q, d)) in enumerate(zip(sizes, windows, strict=True), first):
        after = (n - 1) * s + d * (k - 1) + 1 - labels.shape[axis] - q
        labels = _window(_extended(labels, axis, q, after), axis, k, s, d)
    return labels


def _slide_transposed(labels: Tensor, sizes: Sequence[int], *window: int | Sequence[int]) -> Tensor:
    windows = zip(*(_per_axis(w, len(sizes)) for w in window), strict=True)
    for axis, (n, (k, s, q, d)) in enumerate(zip(sizes, windows, strict=True), 2):
        reach = d * (k - 1)
        more = (reach + n) // s + 1 - labels.shape[axis]
        more = max(more, reach // s + 1)
        coarse = _extended(labels, axis, more, more)
        shape = list(coarse.shape)
        shape[axis] = shape[axis] * s
        fine = coarse.new_full(shape, -math.inf)
        fine[(slice(None),) * axis + (slice(None, None, s),)] = coarse
        labels = _window(fine.narrow(axis, more * s + q - reach, n + reach), axis, k, 1, d)
    return labels


def _convolution(call: Call) -> Tensor:
    labels, weight, *_ = call.labels
    a = call.named
    groups, channels = a["groups"], call.shape[1]
    joined = labels.reshape(len(labels), groups, -1, *labels.shape[2:]).amax(2)
    slide = _slide_transposed if a["transposed"] else _slide
    slid = slide(joined, call.shape[2:], weight.shape[2:], a["stride"], a["padding"], a["dilation"])
    return torch.maximum(slid, weight.amax()).repeat_interleave(channels // groups, 1)


def _pool(call: Call) -> Tensor:
    a = call.named
    kernel = a["kernel_size"]
    sizes = call.shape[-len(kernel) :]
    window = (kernel, a["stride"] or kernel, a["padding"], a.get("dilation", 1))
    return _slide(call.labels[0], sizes, *window)


def _adaptive_pool(call: Call) -> Tensor:
    ndim = len(call.named["output_size"])
    sizes = list(call.shape[-ndim:])
    labels = call.labels[0]
    if all(size == 1 for size in sizes):
        return _joined(call, labels, list(range(-ndim, 0)))
    pooled: Tensor = getattr(functional, f"adaptive_max_pool{ndim}d")(labels, sizes)
    return pooled


def _pad(call: Call) -> Tensor:
    labels = call.labels[0]
    pad = call.named["pad"] if "pad" in call.named else call.named["padding"]
    for i in range(len(pad) // 2):  # last axis first, (before, after) each
        axis = labels.ndim - 1 - i
        if axis < 2:  # zeros for channels or samples
            labels = functional.pad(
                labels, [*[0] * (2 * i), *pad[2 * i : 2 * i + 2]], value=-math.inf
            )
        else:
            labels = _extended(labels, axis, pad[2 * i], pad[2 * i + 1])
    return labels


def _interpolated(call: Call) -> Tensor:
    """Between neighbours: two an axis, or four where the interpolation is cubic."""
    labels = call.labels[0]
    cubic = "cubic" in call.func.overloadpacket.__name__
    for axis in range(2, labels.ndim):
        n, m = labels.shape[axis], call.shape[axis]
        out = torch.arange(m, dtype=torch.float64, device=labels.device)
        aligned = out * (n - 1) / max(m - 1, 1)
        source = aligned if call.named["align_corners"] else (out + 0.5) * n / m - 0.5
        source = (source * 2**20).round() / 2**20
        low, exact = source.floor().long(), source == source.floor()
        extended = _extended(labels, axis, 3, 3)
        shape = [-1 if d == axis else 1 for d in range(labels.ndim)]
        taps = [extended.index_select(axis, (low + 3).clamp(0, n + 5))]
        for shift in (-1, 1, 2) if cubic else (1,):
            tap = extended.index_select(axis, (low + 3 + shift).clamp(0, n + 5))
            taps.append(tap.masked_fill(exact.reshape(shape), -math.inf))
        labels = torch.stack(taps).amax(0)
    return labels


def _unfolded(call: Call) -> Tensor:
    labels = call.labels[0]
    kernel, dilation, padding, stride = (
        _per_axis(call.named[name], 2) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    for axis, q in zip((-2, -1), padding, strict=True):
        labels = _extended(labels, labels.ndim + axis, q, q)
    return functional.unfold(labels, kernel, dilation, 0, stride)


OVERWRITES = frozenset(
    {"copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"}
)
"""Operations whose result does not depend on what stood there before."""


_RULES: list[tuple[Callable[[Call], Tensor], str]] = [
    (
        _elementwise,
        (
            "_prelu_kernel hardswish log_sigmoid_forward rrelu_with_noise _to_copy native_dropout "
            "tril triu complex polar nan_to_num"
        ),
    ),
    (
        _moved,
        (
            "cat stack roll flip index index_select gather take_along_dim repeat pixel_shuffle "
            "pixel_unshuffle channel_shuffle slice_scatter select_scatter diagonal_scatter "
            "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
            "_upsample_nearest_exact2d _upsample_nearest_exact3d rot90"
        ),
    ),
    (
        _along,
        (
            "sum mean amax amin max min aminmax var std var_mean std_mean prod logsumexp "
            "linalg_vector_norm norm median nanmedian mode kthvalue sort topk cumsum cumprod "
            "cummax cummin logcumsumexp _softmax _safe_softmax _log_softmax glu nansum "
            "_fft_r2c _fft_c2r _fft_c2c"
        ),
    ),
    (_put, "index_put"),
    (_product, "mm bmm addmm baddbmm"),
    (_linear, "linear"),
    (
        _normalized,
        (
            "native_batch_norm cudnn_batch_norm miopen_batch_norm native_layer_norm "
            "native_group_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
            "_batch_norm_with_update _batch_norm_no_update _fused_rms_norm"
        ),
    ),
    (_convolution, "convolution _convolution"),
    (
        _pool,
        (
            "max_pool1d max_pool2d_with_indices max_pool3d_with_indices mkldnn_max_pool2d "
            "mkldnn_max_pool3d avg_pool1d avg_pool2d avg_pool3d"
        ),
    ),
    (
        _adaptive_pool,
        "adaptive_max_pool2d adaptive_max_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d",
    ),
    (
        _pad,
        (
            "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
            "replication_pad1d replication_pad2d replication_pad3d"
        ),
    ),
    (
        _interpolated,
        "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d",
    ),
    (_unfolded, "im2col"),
]
_BY_NAME = {name: rule for rule, names in _RULES for name in names.split()}


def rule_of(func: Any) -> Callable[[Call], Tensor]:  # noqa: ANN401
    """Return the rule of an operation; `everything` for one that has none."""
    name = func.overloadpacket.__name__
    if name in OVERWRITES:
        return _overwritten
    if name.endswith("_like") or name.startswith("new_"):
        return _nothing
    if name.startswith("_scaled_dot_product"):
        return _attention
    if torch.Tag.pointwise in func.tags:
        return _elementwise
    return _BY_NAME.get(name.removesuffix("_"), everything)
