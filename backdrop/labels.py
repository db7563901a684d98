"""Labels that travel with the elements of tensors and tell which input pixels they depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from backdrop.windows import OVERWRITES, Call, everything, rule_of

__all__ = ["Labels", "tensors_in"]

NOTHING = -math.inf


class Labels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, every element of a tensor carries the largest label that it depends on.

    The pixels of the input get numbers for labels. Each operation of the
    dispatcher, inside any layer and any function, gives its results the largest
    label among what they are computed from (`backdrop.windows` says how each
    does; an operation that isn't listed there is taken to join all that it is
    given). Labels are kept once a storage, laid out as the data, so that views
    and operations in place need no care: what shares data shares labels.
    Integers and booleans carry none, because no gradient goes through them.

    Parameters
    ----------
    image
        The input.
    labels
        Its labels, of the same shape.
    """

    def __init__(self, image: Tensor, labels: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # The storage's identity: the storage (kept, so that its address is not used anew),
        # the labels of its elements, and how many bytes one of these has.
        self._known: dict[int, tuple[torch.UntypedStorage, Tensor, int]] = {}
        self._edge = float(labels.max())
        self.convolutions = 0
        self._write(image, labels)

    def of(self, tensor: Tensor) -> Tensor | None:
        """Return the labels of a tensor, of its shape; None if it depends on no pixel."""
        known = self._known.get(tensor.untyped_storage()._cdata)
        if known is None or not (tensor.is_floating_point() or tensor.is_complex()):
            return None
        _, flat, size = known
        if size != tensor.element_size():  # a complex tensor seen as pairs of real numbers
            if size != 2 * tensor.element_size():
                return flat.amax().expand(tensor.shape)
            flat = flat.repeat_interleave(2)
        return flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def _write(self, tensor: Tensor, value: Tensor) -> None:
        storage, size = tensor.untyped_storage(), tensor.element_size()
        if storage._cdata not in self._known:
            elements = storage.nbytes() // size
            flat = torch.full((elements,), NOTHING, device=tensor.device)
            self._known[storage._cdata] = (storage, flat, size)
        _, flat, known_size = self._known[storage._cdata]
        if known_size == size:
            flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).copy_(value)
        else:
            flat.clamp_(min=float(value.max()))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # It is torch's own switch: skipping would import torch._dynamo, which takes seconds.
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.is_view or torch.Tag.inplace_view in func.tags:
            return result
        name = func.overloadpacket.__name__
        given = (args[1:] if name in OVERWRITES else args, kwargs)
        if all(self.of(tensor) is None for tensor in tensors_in(given)):
            value: Any = torch.tensor(NOTHING)
            outputs = [t for t in tensors_in(result) if self.of(t) is not None]
        else:
            self.convolutions += name == "convolution"
            inputs = {tensor.untyped_storage()._cdata for tensor in tensors_in(args)}
            outputs = [
                t
                for t in tensors_in(result)
                if func._schema.is_mutable or t.untyped_storage()._cdata not in inputs
            ]
            value = self._value(func, args, kwargs, outputs)
        for output in outputs:
            fits = _broadcasts(value.shape, output.shape)
            # Operations may run on other devices than their arguments' (a copy to another).
            self._write(output, (value if fits else value.amax()).to(output.device))
        return result

    def _value(
        self,
        func: Any,  # noqa: ANN401
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        outputs: list[Tensor],
    ) -> Tensor:
        """Return the labels of an operation's result, or what broadcasts to them."""

        def exchanged(tensor: Any) -> Any:  # noqa: ANN401
            if not isinstance(tensor, Tensor) or not (
                tensor.is_floating_point() or tensor.is_complex()
            ):
                return tensor
            labels = self.of(tensor)
            nothing = torch.tensor(NOTHING, device=tensor.device)
            return nothing.expand(tensor.shape) if labels is None else labels

        args, kwargs = tree_map(exchanged, (args, kwargs))
        call = Call(func, args, kwargs, outputs[0].shape if outputs else (), self._edge)
        rule: Callable[[Call], Tensor] = rule_of(func)
        try:
            return rule(call)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError):
            return everything(call)  # arguments that the rule does not know


def tensors_in(values: object) -> Iterator[Tensor]:
    """Yield the tensors in a nest of tuples, lists, dicts and what else torch can flatten."""
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _broadcasts(shape: torch.Size, wanted: torch.Size) -> bool:
    short = len(shape) <= len(wanted)
    return short and all(a in (1, b) for a, b in zip(shape[::-1], wanted[::-1], strict=False))
