"""How much of the input, and of each layer, a step's gradient reaches."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from backdrop.blocking import gradient_map, masks_of, open_masks, training_copy
from backdrop.functional import check_probability
from gpgen.errors import UsageError

__all__ = ["coverage"]


def coverage(
    model: nn.Module,
    input: Tensor,  # noqa: A002
    p: float | None = None,
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Measure what fraction of the input, and of each layer's output, one step's gradient reaches.

    The gradient of a random combination of the outputs is computed in training mode without
    masks and with. Counted are the elements that have a gradient without masks; the coverage is
    the part of them that still has one.

    Parameters
    ----------
    model
        A model with masks; it is left as it was.
    input
        A batch, in whatever layout the model takes.
    p
        The probability of all masks, in [0, 1); by default each one's own. Masks that are fixed
        stay so.
    seed
        Seed of the masks and of whatever else the model draws.

    Returns
    -------
    dict of str to float
        From 0 to 1: of the input by the name ``"input"``, and of each layer without children by its
        own, in the order of the forward pass; of a layer that is called several times, in its last
        call. Layers whose output has no gradient are left out. One step: take the mean over seeds.

    Raises
    ------
    UsageError
        If the model has no masks, or its output no gradient at its input; for a `p` outside
        [0, 1).
    """
    if p is not None:
        check_probability(p)
    trial = training_copy(model)
    masks = masks_of(trial)
    if not masks:
        raise UsageError(
            f"{type(model).__name__} has no mask whose effect could be measured",
            "put Backdrop layers into it, or use backdrop.insert",
        )
    for mask in masks.values():
        mask.p = mask.p if p is None else p
    masked = _reached(trial, input, seed)
    open_masks(trial)
    plain = _reached(trial, input, seed)
    if not bool(plain["input"].any()):
        raise UsageError(
            "the model's outputs have no gradient at its input",
            "give a model whose outputs depend on its input by differentiable operations",
        )
    return {
        name: float((where & masked[name]).sum() / where.sum())
        for name, where in plain.items()
        if bool(where.any()) and name in masked and masked[name].shape == where.shape
    }


def _reached(model: nn.Module, batch: Tensor, seed: int) -> dict[str, Tensor]:
    """Return where the input's and each layer's gradient isn't zero."""
    outputs: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[[nn.Module, object, object], None]:
        def keep(module: nn.Module, given: object, output: object) -> None:  # noqa: ARG001
            if isinstance(output, Tensor) and output.requires_grad:
                output.retain_grad()
                outputs[name] = output

        return keep

    leaves = [(name, module) for name, module in model.named_modules() if _is_leaf(name, module)]
    handles = [module.register_forward_hook(keeper(name), prepend=True) for name, module in leaves]
    try:
        at_input = gradient_map(model, batch, seed)
    finally:
        for handle in handles:
            handle.remove()
    found = {"input": at_input}
    for name, output in outputs.items():
        if output.grad is not None:
            found[name] = output.grad != 0
    return found


def _is_leaf(name: str, module: nn.Module) -> bool:
    return bool(name) and next(module.children(), None) is None
