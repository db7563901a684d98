"""Where masks go in a network: after the layers whose receptive field matches a length-scale."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from backdrop.functional import check_probability
from backdrop.geometry import ReceptiveField, receptive_field
from backdrop.layer import Backdrop
from gpgen.errors import UsageError

if TYPE_CHECKING:
    from gpgen.recipe import Recipe

__all__ = ["Insertion", "Place", "insert", "length_scales_of"]

# Side of the trial image, by number of axes, where the caller names no input shape.
_TRIAL_SIDE = {1: 4096, 2: 256, 3: 64}


@dataclass(frozen=True)
class Place:
    """Where one mask sits.

    Attributes
    ----------
    length_scale
        The length-scale it is for, in pixels.
    p
        Its masking probability.
    layer
        Name of the module whose output's gradient it masks.
    receptive_field
        The receptive field of that output.
    """

    length_scale: float
    p: float
    layer: str
    receptive_field: ReceptiveField

    def __str__(self) -> str:
        size = " x ".join(map(str, self.receptive_field.size))
        return (
            f"length-scale {self.length_scale:g} px, p = {self.p:g}: "
            f"after {self.layer!r}, receptive field {size} px"
        )


class Insertion(NamedTuple):
    """What `insert` returns: the new model, and where its masks are, finest first."""

    model: nn.Module
    places: tuple[Place, ...]


def insert(
    model: nn.Module,
    masks: Mapping[float, float] | Recipe,
    input_shape: Sequence[int] | None = None,
    *,
    p: float = 0.75,
    per_sample: bool = True,
    generator: torch.Generator | None = None,
) -> Insertion:
    """Return a copy of `model` with a `Backdrop` at each length-scale.

    Each mask goes after the layer whose receptive field (averaged over the
    axes) is nearest to the length-scale; of several with the same field, after
    the last, so behind a convolution's activation and, in a residual block,
    behind the sum. The `Backdrop` becomes a submodule of that layer, named
    ``backdrop``, and acts on its output; names of parameters stay as they were.

    Parameters
    ----------
    model
        A convolutional network; it is left as it was.
    masks
        Length-scale in pixels to masking probability, or a recipe: then one
        mask a component, at the mean of its length-scales.
    input_shape
        ``(channel, *axes)`` of an input. The default follows the first
        convolution and, with a recipe, the recipe.
    p
        The probability used with a recipe.
    per_sample, generator
        As in `Backdrop`.

    Returns
    -------
    Insertion
        ``(model, places)``.

    Raises
    ------
    UsageError
        If the model has no convolutions, a length-scale is not positive or
        larger than every receptive field, two length-scales meet at one layer,
        a probability is outside [0, 1), or `input_shape` doesn't suit the model.
    """
    if isinstance(masks, Mapping):
        wanted = {float(scale): float(probability) for scale, probability in masks.items()}
        axes = None
    else:
        wanted = dict.fromkeys(length_scales_of(masks), p)
        axes = tuple(masks.shape)
    if not wanted:
        raise UsageError("no length-scale was given", "name at least one, as {length_scale: p}")
    for scale, probability in wanted.items():
        check_probability(probability)
        if not scale > 0:
            raise UsageError(f"the length-scale {scale:g} px is not positive", "give pixels > 0")
    fields = receptive_field(model, input_shape or _input_shape(model, axes))
    candidates = {name: field for name, field in fields.items() if _maskable(model, name, fields)}
    places = tuple(
        _nearest(candidates, scale, probability) for scale, probability in sorted(wanted.items())
    )
    for fine, coarse in pairwise(places):
        if fine.layer == coarse.layer:
            raise UsageError(
                f"length-scales {fine.length_scale:g} and {coarse.length_scale:g} px are both "
                f"nearest to layer {fine.layer!r}",
                "give them one mask together, or a network with more layers in between",
            )
    new = copy.deepcopy(model)
    for place in places:
        layer = new.get_submodule(place.layer)
        if hasattr(layer, "backdrop"):
            raise UsageError(
                f"layer {place.layer!r} has something named 'backdrop' already",
                "insert all masks in one call, into the model without masks",
            )
        dims = range(2, 2 + len(place.receptive_field.size))
        layer.add_module("backdrop", Backdrop(place.p, dims, per_sample, generator=generator))
        layer.register_forward_hook(_mask_output)
    return Insertion(new, places)


def length_scales_of(recipe: Recipe) -> tuple[float, ...]:
    """Return each component's length-scale in pixels, the mean of those that it offers."""
    means = []
    for component in recipe.components:
        flat = [
            value
            for scale in component.length_scales
            for value in (scale if isinstance(scale, tuple) else (scale,))
        ]
        means.append(sum(flat) / len(flat))
    return tuple(means)


def _maskable(model: nn.Module, name: str, fields: Mapping[str, ReceptiveField]) -> bool:
    # A layer called twice would mask in two places; a map of one position can't be masked;
    # the containers would run, or list, a new child among their own.
    containers = nn.Sequential | nn.ModuleList | nn.ModuleDict
    once = ":" not in name and f"{name}:2" not in fields
    return (
        once
        and max(fields[name].shape) > 1
        and not isinstance(model.get_submodule(name), containers)
    )


def _mask_output(module: nn.Module, args: Any, output: Tensor) -> Tensor:  # noqa: ANN401, ARG001
    masked: Tensor = module.get_submodule("backdrop")(output)
    return masked


def _input_shape(model: nn.Module, axes: tuple[int, ...] | None) -> tuple[int, ...]:
    kinds = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
    for module in model.modules():
        for kind, ndim in kinds.items():
            if isinstance(module, kind):
                return (module.in_channels, *(axes or (_TRIAL_SIDE[ndim],) * ndim))
    raise UsageError(
        f"{type(model).__name__} has no convolution layer to put a mask after",
        "give a convolutional network, or input_shape if it calls torch's functions itself",
    )


def _nearest(candidates: Mapping[str, ReceptiveField], scale: float, p: float) -> Place:
    sizes = {name: sum(field.size) / len(field.size) for name, field in candidates.items()}
    largest = max(sizes.values(), default=0)
    if scale > largest:
        raise UsageError(
            f"the length-scale {scale:g} px is larger than any receptive field "
            f"of the model ({largest:g} px)",
            "deepen the network, pool more, or leave this length-scale out",
        )
    # Of equally near ones the last: reversed, because min keeps the first.
    name = min(reversed(sizes), key=lambda name: abs(sizes[name] - scale))
    return Place(scale, p, name, candidates[name])
