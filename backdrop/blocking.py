"""Where the gradient's paths cross, and how much of it masks really block."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backdrop.labels import tensors_in
from backdrop.layer import Backdrop
from gpgen.errors import UsageError

__all__ = ["InsertedMask", "Paths", "blocked_fraction", "gradient_map", "masks_of", "upstream"]

# So small a p masks nothing, and still draws: dropout behind the mask drops what it would.
_NOTHING = 1e-30

_NORMALIZATIONS = ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")


class InsertedMask:
    """A forward hook that masks the gradient of a layer's output, while the layer trains.

    It is no submodule, so that nothing that lists, iterates, saves or loads the
    model's modules meets it; copies of the layer have copies of it.
    """

    def __init__(self, mask: Backdrop) -> None:
        self.mask = mask

    def __call__(self, module: nn.Module, args: object, output: Tensor) -> Tensor:  # noqa: ARG002
        """Return the output, masked."""
        if not module.training:
            return output
        masked: Tensor = self.mask(output)
        return masked


def masks_of(model: nn.Module) -> dict[str, Backdrop]:
    """Return the masks in a model: `Backdrop` layers, and what `backdrop.insert` put there.

    Returns
    -------
    dict of str to Backdrop
        By the module's name, for an inserted mask that of the layer whose
        output it masks. `Backdrop.fix` and the attribute ``p`` act on the model.
    """
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, Backdrop):
            found[name] = module
        for hook in module._forward_hooks.values():
            if isinstance(hook, InsertedMask):
                found[name] = hook.mask
    return found


def blocked_fraction(model: nn.Module, input: Tensor, seed: int = 0) -> float:  # noqa: A002
    """Measure the fraction of the input's gradient that the model's masks block.

    The gradient of a random combination of the outputs is computed twice in
    training mode, without masks and with. Of the elements of `input` that have a
    gradient without masks, that part is blocked which has none with them.

    Parameters
    ----------
    model
        A model with masks; it is left as it was. If it is in eval mode, a copy
        is set to training; if not, parts that are in eval mode stay so.
    input
        A batch, in whatever layout the model takes.
    seed
        Seed of the masks and of whatever else the model draws; torch's global
        generators are left as they were.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    UsageError
        If the model has no masks, or its output no gradient at its input.
    """
    trial = training_copy(model)
    if not masks_of(trial):
        raise UsageError(
            f"{type(model).__name__} has no mask whose effect could be measured",
            "put Backdrop layers into it, or use backdrop.insert",
        )
    masked = gradient_map(trial, input, seed)
    open_masks(trial)
    return fraction_of(gradient_map(trial, input, seed), masked)


def fraction_of(plain: Tensor, masked: Tensor) -> float:
    """Return which part of the positions that have a gradient in `plain` have none in `masked`."""
    if not bool(plain.any()):
        raise UsageError(
            "the model's outputs have no gradient at its input",
            "give a model whose outputs depend on its input by differentiable operations",
        )
    return float((plain & ~masked).sum() / plain.sum())


def open_masks(model: nn.Module) -> None:
    """Let all masks pass everything."""
    for mask in masks_of(model).values():
        mask.open(_NOTHING)


def training_copy(model: nn.Module) -> nn.Module:
    """Copy a model, to run in training mode."""
    trial = copy.deepcopy(model)
    return trial if model.training else trial.train()


def gradient_map(model: nn.Module, input: Tensor, seed: int = 0) -> Tensor:  # noqa: A002
    """Return where the input has a gradient, for a random combination of the outputs.

    The parameters' gradients and the buffers change.

    Returns
    -------
    Tensor
        Boolean, of the input's shape: which dimension holds channels isn't known.
    """
    leaf = input.detach().clone().requires_grad_()
    with torch.enable_grad(), _seeded(seed):
        # A copy goes in, which the model may change in place.
        outputs = [t for t in tensors_in(model(leaf.clone())) if t.requires_grad]
        weights = [torch.randn_like(output) for output in outputs]
    if outputs:
        torch.autograd.backward(outputs, weights)
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return gradient != 0


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw the same numbers each time, and leave torch's global state as it was."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


class Paths:
    """The paths of the gradient through a model, from autograd's own graph of one training step.

    Parameters
    ----------
    model
        In training mode; its buffers will change.
    input
        A batch.
    """

    def __init__(self, model: nn.Module, input: Tensor) -> None:  # noqa: A002
        self._outputs: dict[str, Any] = {}
        self._normalizations: dict[Any, str] = {}
        running = [type(model).__name__]

        def enter(name: str, module: nn.Module) -> None:
            running.append(f"{name!r} ({type(module).__name__})")

        def leave(name: str, output: object) -> None:
            running.pop()
            node = output.grad_fn if isinstance(output, Tensor) else None
            self._outputs[name] = node

        handles = []
        for name, module in model.named_modules():
            if name:
                before = _before(name, enter)
                handles.append(module.register_forward_pre_hook(before, prepend=True))
                # First of the hooks: a mask that is there already comes after the output.
                after = _after(name, leave)
                handles.append(module.register_forward_hook(after, prepend=True))
        leaf = input.detach().clone().requires_grad_()
        try:
            with torch.enable_grad(), _seeded(0), _Normalizations(self._normalizations, running):
                outputs = [t for t in tensors_in(model(leaf.clone())) if t.requires_grad]
        finally:
            for handle in handles:
                handle.remove()
        self._input = leaf
        self._ends = [t.grad_fn for t in outputs]

    def cross_at(self, name: str) -> bool:
        """Tell whether every path from the outputs to the input goes through a layer's output."""
        node = self._outputs.get(name)
        if node is None or not self._arrives(upstream([node])):
            return False
        return not self._arrives(upstream(self._ends, without=node))

    def normalizations_before(self, name: str) -> list[str]:
        """Return the normalizations that a layer's output went through, in order, as words."""
        before = set(upstream([self._outputs[name]]))
        return [words for node, words in self._normalizations.items() if node in before]

    def _arrives(self, nodes: Iterable[Any]) -> bool:
        return any(getattr(node, "variable", None) is self._input for node in nodes)


def _before(name: str, enter: Callable[[str, nn.Module], None]) -> Callable[..., None]:
    return lambda module, args: enter(name, module)  # noqa: ARG005


def _after(name: str, leave: Callable[[str, object], None]) -> Callable[..., None]:
    return lambda module, args, output: leave(name, output)  # noqa: ARG005


def upstream(ends: Iterable[Any], without: Any = None) -> Iterator[Any]:  # noqa: ANN401
    """Yield the nodes of autograd's graph from which `ends` are computed, themselves included."""
    waiting = [node for node in ends if node is not None]
    seen = {without, None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(following for following, _ in node.next_functions)


class _Normalizations(TorchFunctionMode):
    """Notes the normalizations that are called, and in which module."""

    def __init__(self, found: dict[Any, str], running: list[str]) -> None:
        super().__init__()
        self.found, self.running = found, running

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        # Only batch_norm can do without the input's statistics; its sixth argument says so.
        frozen = name == "batch_norm" and not kwargs.get("training", (*args, *[False] * 6)[5])
        if name in _NORMALIZATIONS and not frozen and isinstance(result, Tensor):
            self.found[result.grad_fn] = self.running[-1]
        return result
