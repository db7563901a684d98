"""How torch's convolutions, pools and paddings change a receptive field."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

__all__ = ["RULES", "Axis", "Field", "field_of", "set_field"]

# One axis: size, stride, offset. A map's field: one of these for each spatial axis.
Axis = tuple[int, int, int]
Field = tuple[Axis, ...]


def field_of(value: object) -> Field | None:
    """Return the field that a tensor carries, if it does."""
    return getattr(value, "_receptive_field", None) if isinstance(value, Tensor) else None


def set_field(tensor: Tensor, field: Field | None) -> None:
    """Let a tensor carry its field."""
    tensor._receptive_field = field  # type: ignore[attr-defined]


def _per_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    values = (value,) * ndim if isinstance(value, int) else tuple(value)
    return values * ndim if len(values) == 1 else values


def _window(
    field: Field,
    kernel: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
) -> Field:
    ndim = len(field)
    windows = zip(*(_per_axis(v, ndim) for v in (kernel, stride, padding, dilation)), strict=True)
    return tuple(
        (size + (k - 1) * d * step, step * s, offset - q * step)
        for (size, step, offset), (k, s, q, d) in zip(field, windows, strict=True)
    )


# The rules take the arguments of the torch function they are named after.


def _conv(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,  # noqa: ARG001
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,  # noqa: ARG001
) -> Field | None:
    field = field_of(input)
    if field is None or input.ndim != len(field) + 2:
        return None
    kernel = tuple(weight.shape[2:])
    if isinstance(padding, str):
        dilations = _per_axis(dilation, len(field))
        same = [d * (k - 1) // 2 for k, d in zip(kernel, dilations, strict=True)]
        padding = same if padding == "same" else 0
    return _window(field, kernel, stride, padding, dilation)


def _max_pool(
    input: Tensor,  # noqa: A002
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,  # noqa: ARG001
    return_indices: bool = False,  # noqa: ARG001
) -> Field | None:
    field = field_of(input)
    step = kernel_size if stride is None or stride == [] else stride
    return None if field is None else _window(field, kernel_size, step, padding, dilation)


def _avg_pool(
    input: Tensor,  # noqa: A002
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *_: object,
    **__: object,
) -> Field | None:
    return _max_pool(input, kernel_size, stride, padding)


def _lp_pool(
    input: Tensor,  # noqa: A002
    norm_type: float,  # noqa: ARG001
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,  # noqa: ARG001
) -> Field | None:
    return _max_pool(input, kernel_size, stride)


def _adaptive_pool(
    input: Tensor,  # noqa: A002
    output_size: int | Sequence[int | None],
    return_indices: bool = False,  # noqa: ARG001
) -> Field | None:
    field = field_of(input)
    if field is None:
        return None
    axes = input.shape[2:]
    wanted = [output_size] * len(axes) if isinstance(output_size, int) else list(output_size)
    sizes = [n if w is None else w for n, w in zip(axes, wanted, strict=True)]
    if any(n % w for n, w in zip(axes, sizes, strict=True)) or all(w == 1 for w in sizes):
        return None
    kernel = [n // w for n, w in zip(axes, sizes, strict=True)]
    return _window(field, kernel, kernel, 0)


def _pad(input: Tensor, pad: Sequence[int], *_: object, **__: object) -> Field | None:  # noqa: A002
    field = field_of(input)
    if field is None or len(pad) > 2 * len(field):
        return None
    before = [0] * len(field)
    for i in range(len(pad) // 2):  # last axis first, (before, after) each
        before[-1 - i] = pad[2 * i]
    return _window(field, 1, 1, before)


def _ends(*_: object, **__: object) -> None:
    return None


RULES: dict[str, Callable[..., Field | None]] = {
    "conv": _conv,
    "conv_transpose": _ends,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "lp_pool": _lp_pool,
    "adaptive_max_pool": _adaptive_pool,
    "adaptive_avg_pool": _adaptive_pool,
    "pad": _pad,
    "linear": _ends,
    "interpolate": _ends,
}
