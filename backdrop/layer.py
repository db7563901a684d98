"""The layer."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence

from backdrop.functional import (
    DEFAULT_P,
    backdrop,
    check_probability,
    mask_factors,
    masked_identity,
)
from backdrop.groups import sequence_of_each_row
from gpgen.errors import UsageError

__all__ = ["Backdrop"]


class Backdrop(nn.Module):
    """Passes its input on; blocks random parts of the gradient while training.

    In the backward pass the gradient is multiplied by a Bernoulli mask over
    the dimensions `dims`, divided by its own mean: see
    `backdrop.functional.backdrop`, which says it in full. Method of Golkar and
    Cranmer, arXiv:1806.01337.

    Parameters
    ----------
    p
        Probability that a position is masked, in [0, 1).
    dims
        Dimensions of the input that the mask varies over. ``(2, 3)`` masks
        positions of an image batch ``(sample, channel, y, x)``, the same for
        all its channels; ``(0,)`` masks samples, for losses over a whole batch.
    per_sample
        A mask for each sample (dimension 0), normalized by itself; otherwise
        one mask for the batch.
    remember
        Keep the last mask in `last_mask`.
    generator
        Source of the random numbers; default is torch's global generator.

    Attributes
    ----------
    last_mask : Tensor or None
        Where the gradient passed in the last step, boolean, of the input's dimensions with 1
        where the mask doesn't vary; under `torch.func.vmap` led by the mapped dimension, where
        each has a mask of its own. None without `remember`, before a step, and where nothing
        was masked.

    Raises
    ------
    UsageError
        For a `p` outside [0, 1), or `dims` that name nothing.

    Examples
    --------
    >>> layer = Backdrop(p=0.75)
    >>> layer
    Backdrop(p=0.75, dims=(2, 3), per_sample=True)
    >>> image = torch.ones(1, 1, 2, 2, requires_grad=True)
    >>> layer.fix(torch.tensor([[1, 0], [0, 0]]))(image).sum().backward()
    >>> image.grad
    tensor([[[[4., 0.],
              [0., 0.]]]])
    """

    mask: Tensor | None

    # Layers that were pickled by earlier versions have no such attributes of their own.
    remember = False
    last_mask: Tensor | None = None
    _stand_in: Callable[[Tensor], Tensor] | None = None

    def __init__(
        self,
        p: float = DEFAULT_P,
        dims: Sequence[int] = (2, 3),
        per_sample: bool = True,
        *,
        remember: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_probability(p)
        try:
            named = tuple(map(operator.index, dims))
        except TypeError:
            named = ()
        if not named:
            raise UsageError(f"dims is {dims!r}", "give a sequence of dimensions, like (2, 3)")
        self.p = p
        self.dims = named
        self.per_sample = per_sample
        self.remember = remember
        self.last_mask = None
        self.generator = generator
        # A buffer moves with the model; not persistent, so that checkpoints don't change.
        self.register_buffer("mask", None, persistent=False)
        self._stand_in = None

    @overload
    def forward(
        self,
        input: Tensor,
        valid: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Tensor: ...

    @overload
    def forward(self, input: PackedSequence) -> PackedSequence: ...

    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002  torch.nn's name for it
        valid: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Tensor | PackedSequence:
        """Return `input`; its gradient will be masked if the layer is in training mode.

        Parameters
        ----------
        input
            A tensor, or packed sequences: their steps are masked, each sequence's by themselves
            with `per_sample`, whatever `dims` says.
        valid, groups
            Which positions exist, and the group of each: see `backdrop.functional.backdrop`.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, valid, groups)
        if isinstance(input, Proxy) and input.tracer.root is not self:
            return fx_leaf(self, input, *(() if valid is groups is None else (valid, groups)))
        if self._stand_in is not None:
            if valid is not None or groups is not None:
                raise UsageError(
                    "valid and groups can't be given to a mask inside SparseBackward's stem",
                    "put that mask behind the stem",
                )
            return self._stand_in(input)
        if self.remember:
            scale = self.factors(input, valid, groups)
            self.last_mask = passed(scale)
            return input if scale is None else masked_identity(input, scale)
        return backdrop(
            input,
            self.p,
            self.dims,
            self.per_sample,
            self.training,
            mask=self.mask,
            valid=valid,
            groups=groups,
            generator=self.generator,
        )

    def _packed(
        self,
        input: PackedSequence,  # noqa: A002
        valid: Tensor | None,
        groups: Tensor | None,
    ) -> PackedSequence:
        if valid is not None or groups is not None or self.mask is not None:
            raise UsageError(
                "packed sequences have no padding, and bring their own groups",
                "leave valid and groups out, and fix no mask",
            )
        sequence = sequence_of_each_row(input) if self.per_sample else None
        scale = mask_factors(
            input.data, self.p, (0,), False, None, self.generator, self.training, groups=sequence
        )
        if self.remember:
            self.last_mask = passed(scale)
        return input if scale is None else input._replace(data=masked_identity(input.data, scale))

    @contextmanager
    def replaced(self, stand_in: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Let the layer do something else meanwhile, for `backdrop.SparseBackward`."""
        self._stand_in = stand_in
        try:
            yield
        finally:
            self._stand_in = None

    def factors(
        self,
        input: Tensor,  # noqa: A002
        valid: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Tensor | None:
        """Draw what the gradient of `input` is multiplied by; None if it would not be changed."""
        return mask_factors(
            input,
            self.p,
            self.dims,
            self.per_sample,
            self.mask,
            self.generator,
            self.training,
            valid=valid,
            groups=groups,
        )

    def open(self, p: float) -> None:
        """Let everything pass, with a `p` of almost 0: random numbers are drawn as before."""
        self.p = p
        self.mask = None if self.mask is None else torch.ones_like(self.mask)

    def fix(self, mask: Tensor | None) -> Backdrop:
        """Use `mask` from now on, nonzero where the gradient passes; None draws again.

        Parameters
        ----------
        mask
            Of the sizes of the masked dimensions in their order, for example
            ``(y, x)``; with `per_sample` also ``(sample, y, x)``.

        Returns
        -------
        Backdrop
            This layer.

        Raises
        ------
        UsageError
            If `mask` keeps no position.
        """
        if mask is not None:
            mask = mask if isinstance(mask, Tensor) else torch.as_tensor(mask)
            if not bool(mask.any()):
                raise UsageError("the fixed mask keeps no position", "keep at least one")
        self.mask = None if mask is None else mask != 0
        return self

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        fixed = "" if self.mask is None else ", fixed mask"
        return f"p={self.p}, dims={self.dims}, per_sample={self.per_sample}{fixed}"


def passed(scale: Tensor | None) -> Tensor | None:
    """Return where the gradient passes, as a tensor that outlives the transform of torch.func."""
    if scale is None:
        return None
    where = scale != 0
    if not torch.compiler.is_compiling():
        while torch._C._functorch.is_functorch_wrapped_tensor(where):
            where = torch._C._functorch.get_unwrapped(where)
    return where


def fx_leaf(module: nn.Module, input: Tensor, *arguments: Any) -> Tensor:  # noqa: A002, ANN401
    """Record a call of `module` in a torch.fx trace, so that train() and eval() still reach it."""
    tracer: Any = input.tracer  # type: ignore[attr-defined]
    recorded: Tensor = tracer.create_proxy(
        "call_module", tracer.path_of_module(module), (input, *arguments), {}
    )
    return recorded
