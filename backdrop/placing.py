"""Where masks go in a network: after the layers whose receptive field matches a length-scale."""

from __future__ import annotations

import copy
import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from backdrop.blocking import (
    InsertedMask,
    Paths,
    fraction_of,
    gradient_map,
    masks_of,
    open_masks,
    training_copy,
)
from backdrop.functional import DEFAULT_P, check_probability
from backdrop.geometry import ReceptiveField, receptive_field
from backdrop.layer import Backdrop
from backdrop.sparse import SparseBackward
from gpgen.errors import UsageError

if TYPE_CHECKING:
    from gpgen.io.user_paths import AnyText
    from gpgen.recipe import Recipe

__all__ = ["GradientSpreadWarning", "Insertion", "Place", "insert", "length_scales_of"]

# Side of the trial image, by number of axes, where the caller names no input shape.
_TRIAL_SIDE = {1: 4096, 2: 256, 3: 64}


class GradientSpreadWarning(UserWarning):
    """A normalization before a mask spreads the gradient again over what the mask blocks."""


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
    blocked
        Fraction of the input's gradient that this mask alone blocked, measured
        on random numbers in one training step. Less than `p` where the fields
        of several positions cover a pixel: it is blocked if all of them are.
        NaN if the model passed no gradient at all (all activations were dead).
    """

    length_scale: float
    p: float
    layer: str
    receptive_field: ReceptiveField
    blocked: float

    def __str__(self) -> str:
        size = " x ".join(map(str, self.receptive_field.size))
        share = f", blocks {self.blocked:.0%} of the input's gradient"
        return (
            f"length-scale {self.length_scale:g} px, p = {self.p:g}: "
            f"after {self.layer!r}, receptive field {size} px"
            f"{'' if math.isnan(self.blocked) else share}"
        )


class Insertion(NamedTuple):
    """What `insert` returns: the new model, and where its masks are, finest first."""

    model: nn.Module
    places: tuple[Place, ...]


def insert(
    model: nn.Module,
    masks: Mapping[float, float] | Recipe | AnyText,
    input_shape: Sequence[int] | None = None,
    *,
    p: float = DEFAULT_P,
    per_sample: bool = True,
    sparse: bool = False,
    generator: torch.Generator | None = None,
) -> Insertion:
    """Return a copy of `model` with a mask at each length-scale.

    A mask blocks only what goes through it, so it is put where all paths of the
    gradient cross: behind a residual block and not on its shortcut or in its
    branch, behind all branches of an Inception block. Of the layers at such a
    place it goes after the one whose receptive field (averaged over the axes) is
    nearest to the length-scale; of several with the same field, after the last,
    so behind a convolution's activation. The paths are those of autograd's own
    graph of one training step; what each mask blocks is measured then.

    The mask is a forward hook of that layer and no submodule: names of modules
    and parameters, iteration over children and state dicts stay as they were. It
    acts while the layer is in training mode; `masks_of` finds it.

    Parameters
    ----------
    model
        A convolutional network; it is left as it was.
    masks
        Length-scale in pixels to masking probability, or a recipe (or its name
        or path): then one mask a component, at the mean of its length-scales.
    input_shape
        ``(channel, *axes)`` of an input. The default follows the first
        convolution and, with a recipe, the recipe.
    p
        The probability used with a recipe.
    per_sample, generator
        As in `Backdrop`.
    sparse
        Whether all up to the coarsest mask becomes the stem of a `SparseBackward`: the same
        gradient for less. For an `nn.Sequential` whose own child the mask follows; that and those
        before it become ``stem.stem``, which state dicts show.

    Returns
    -------
    Insertion
        ``(model, places)``.

    Raises
    ------
    UsageError
        If the model has no convolutions, a length-scale is not positive or
        larger than every receptive field, the gradient goes round the layers
        that see as much, two length-scales meet at one layer, a probability is
        outside [0, 1), or `input_shape` doesn't suit the model.

    Warns
    -----
    GradientSpreadWarning
        If a mask comes behind a normalization whose statistics, in training,
        spread the gradient over all positions again: nothing of the input is
        blocked then, though each step's gradient is still a random one.
    """
    if isinstance(masks, Mapping):
        wanted = {float(scale): float(probability) for scale, probability in masks.items()}
        axes = None
    else:
        from gpgen.recipe import Recipe

        recipe = Recipe.load(masks)
        wanted = dict.fromkeys(length_scales_of(recipe), p)
        axes = tuple(recipe.shape)
    if not wanted:
        raise UsageError("no length-scale was given", "name at least one, as {length_scale: p}")
    for scale, probability in wanted.items():
        check_probability(probability)
        if not scale > 0:
            raise UsageError(f"the length-scale {scale:g} px is not positive", "give pixels > 0")
    shape = tuple(input_shape or _input_shape(model, axes))
    fields = receptive_field(model, shape)
    trial = training_copy(model)
    open_masks(trial)
    example = _example(model, shape)
    paths = _paths(trial, example)
    whole = {name: field for name, field in fields.items() if _maskable(name, fields)}
    crossed = {name: field for name, field in whole.items() if paths.cross_at(name)}
    chosen = [(*_nearest(whole, crossed, scale), scale) for scale in sorted(wanted)]
    for (fine, _, fine_scale), (coarse, _, coarse_scale) in pairwise(chosen):
        if fine == coarse:
            raise UsageError(
                f"length-scales {fine_scale:g} and {coarse_scale:g} px are both "
                f"nearest to layer {fine!r}",
                "give them one mask together, or a network with more layers in between",
            )
    new = copy.deepcopy(model)
    places, spread = [], []
    for name, field, scale in chosen:
        if name in masks_of(model):
            raise UsageError(
                f"layer {name!r} has a mask already",
                "insert all masks in one call, into the model without masks",
            )
        probability = wanted[scale]
        dims = range(field.axis, field.axis + len(field.size))
        blocked, contained = _try(
            trial, name, field, Backdrop(probability, dims, per_sample), example
        )
        if not contained:
            spread.append((name, paths.normalizations_before(name)))
        if sparse and name == chosen[-1][0]:
            stem = partial(SparseBackward, per_sample=per_sample, generator=generator)
            new, name = _split(new, name, partial(stem, p=probability, dims=tuple(dims)))
        else:
            mask = Backdrop(probability, dims, per_sample, generator=generator)
            new.get_submodule(name).register_forward_hook(InsertedMask(mask))
        places.append(Place(scale, probability, name, field, blocked))
    _tell(spread)
    return Insertion(new, tuple(places))


def _split(
    model: nn.Module, name: str, around: Callable[[nn.Module], nn.Module]
) -> tuple[nn.Module, str]:
    """Put `around` about the children of a chain up to one of them; return also its new name."""
    # A layer may stand twice: named_children, without this, leaves out its second place.
    children = [
        (n, m) for n, m in model.named_modules(remove_duplicate=False) if n and "." not in n
    ]
    names = [child for child, _ in children]
    if type(model) is not nn.Sequential or name not in names:
        raise UsageError(
            f"the coarsest mask comes after {name!r}, which is no child of an nn.Sequential, so "
            "what comes before it can't be made a stem",
            "build nn.Sequential(SparseBackward(stem, p), head); insert puts finer masks into stem",
        )
    cut = names.index(name) + 1
    stem = around(nn.Sequential(OrderedDict(children[:cut])))
    return nn.Sequential(OrderedDict([("stem", stem), *children[cut:]])), f"stem.stem.{name}"


def _try(
    trial: nn.Module, name: str, field: ReceptiveField, mask: Backdrop, example: Tensor
) -> tuple[float, bool]:
    """Measure what a mask blocks, and whether one position's gradient stays in its field."""
    plain = gradient_map(trial, example)
    handle = trial.get_submodule(name).register_forward_hook(InsertedMask(mask))
    try:
        masked = gradient_map(trial, example)
        blocked = fraction_of(plain, masked) if bool(plain.any()) else math.nan
        keep = torch.zeros(field.shape, device=example.device)
        middle = tuple(n // 2 for n in field.shape)
        keep[middle] = 1
        mask.fix(keep)
        outside = gradient_map(trial, example)
    finally:
        handle.remove()
    inside = [slice(max(first, 0), max(last + 1, 0)) for first, last in field.span(*middle)]
    outside[(slice(None), slice(None), *inside)] = False
    return blocked, not bool(outside.any())


def _tell(spread: Sequence[tuple[str, Sequence[str]]]) -> None:
    if not spread:
        return
    name, normalizations = spread[0]
    if not normalizations:
        raise UsageError(
            f"in training the gradient arrives at the whole input though a mask after {name!r} "
            "blocks all but one position",
            "leave out what mixes all positions before that layer, in training mode",
        )
    names = ", ".join(repr(name) for name, _ in spread)
    warnings.warn(
        f"the normalization {normalizations[-1]} stands before the mask after {names}: in "
        "training its statistics spread the gradient over all positions, so that no part of the "
        "input is blocked; use a network without it, freeze it in eval mode, or put a Backdrop in "
        "front of the first normalization",
        GradientSpreadWarning,
        stacklevel=3,
    )


def _paths(trial: nn.Module, example: Tensor) -> Paths:
    try:
        return Paths(trial, example)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"in training mode the model failed on an input of shape {tuple(example.shape)}: "
            f"{error}",
            "give input_shape as (channel, *axes), and a model that takes one tensor in training",
        ) from error


def _example(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    like = next(iter(model.parameters()), torch.empty(0))
    numbers = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), device="cpu")
    return numbers.to(like)


def length_scales_of(recipe: Recipe) -> tuple[float, ...]:
    """Return each component's length-scale in pixels, the mean of all that it can have."""
    means = []
    for component in recipe.components:
        flat = [
            value
            for scale in component.all_length_scales
            for value in (scale if isinstance(scale, tuple) else (scale,))
        ]
        means.append(sum(flat) / len(flat))
    return tuple(means)


def _maskable(name: str, fields: Mapping[str, ReceptiveField]) -> bool:
    # A layer called twice would mask in two places. Where all positions see the same, or
    # there is one only, a mask has nothing to choose from.
    once = ":" not in name and f"{name}:2" not in fields
    return once and fields[name].local and max(fields[name].shape) > 1


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


def _nearest(
    whole: Mapping[str, ReceptiveField], crossed: Mapping[str, ReceptiveField], scale: float
) -> tuple[str, ReceptiveField]:
    """Choose among the layers that all paths cross; `whole` are those that some go round too."""
    sizes = {name: sum(field.size) / len(field.size) for name, field in whole.items()}
    largest = max(sizes.values(), default=0)
    if scale > largest:
        raise UsageError(
            f"the length-scale {scale:g} px is larger than any receptive field of the model "
            f"({largest:g} px, of a layer whose positions see different parts)",
            "deepen the network, pool more, or leave this length-scale out",
        )

    def nearest(names: Iterable[str]) -> str:
        # Of equally near ones the last: reversed, because min keeps the first.
        return min(reversed(list(names)), key=lambda name: abs(sizes[name] - scale))

    best = nearest(sizes)
    name = nearest(crossed) if crossed else best
    if not crossed or (sizes[name] != sizes[best] and not 0.5 <= sizes[name] / scale <= 2):
        others = ", ".join(f"{size:g}" for size in sorted({sizes[name] for name in crossed}))
        raise UsageError(
            f"{best!r} sees {sizes[best]:g} px, but the gradient goes round it, and so it does "
            f"round each layer that sees about {scale:g} px: a mask there would not block it",
            f"choose a length-scale that all paths go through (here {others or 'none'} px), "
            "or another network",
        )
    return name, crossed[name]
