"""The layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from backdrop.functional import DEFAULT_P, backdrop, check_probability, mask_factors
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
    generator
        Source of the random numbers; default is torch's global generator.

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

    def __init__(
        self,
        p: float = DEFAULT_P,
        dims: Sequence[int] = (2, 3),
        per_sample: bool = True,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_probability(p)
        if isinstance(dims, int) or len(dims) == 0:
            raise UsageError(f"dims is {dims!r}", "give a sequence of dimensions, like (2, 3)")
        self.p = p
        self.dims = tuple(dims)
        self.per_sample = per_sample
        self.generator = generator
        # A buffer moves with the model; not persistent, so that checkpoints don't change.
        self.register_buffer("mask", None, persistent=False)
        self._stand_in: Callable[[Tensor], Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch.nn's name for it
        """Return `input`; its gradient will be masked if the layer is in training mode."""
        if isinstance(input, Proxy) and input.tracer.root is not self:
            return fx_leaf(self, input)
        if self._stand_in is not None:
            return self._stand_in(input)
        return backdrop(
            input,
            self.p,
            self.dims,
            self.per_sample,
            self.training,
            mask=self.mask,
            generator=self.generator,
        )

    @contextmanager
    def replaced(self, stand_in: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Let the layer do something else meanwhile, for `backdrop.SparseBackward`."""
        self._stand_in = stand_in
        try:
            yield
        finally:
            self._stand_in = None

    def factors(self, input: Tensor) -> Tensor | None:  # noqa: A002
        """Draw what the gradient of `input` is multiplied by; None if it would not be changed."""
        return mask_factors(
            input, self.p, self.dims, self.per_sample, self.mask, self.generator, self.training
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
        if mask is not None and not bool(torch.as_tensor(mask).any()):
            raise UsageError("the fixed mask keeps no position", "keep at least one")
        self.mask = None if mask is None else torch.as_tensor(mask) != 0
        return self

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        fixed = "" if self.mask is None else ", fixed mask"
        return f"p={self.p}, dims={self.dims}, per_sample={self.per_sample}{fixed}"


def fx_leaf(module: nn.Module, input: Tensor) -> Tensor:  # noqa: A002
    """Record a call of `module` in a torch.fx trace, so that train() and eval() still reach it."""
    tracer: Any = input.tracer  # type: ignore[attr-defined]
    recorded: Tensor = tracer.create_proxy(
        "call_module", tracer.path_of_module(module), (input,), {}
    )
    return recorded
