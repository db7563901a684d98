"""What each method trains. Four train one network, and only what is put into it differs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from backdrop.baselines import FeatureClassifier, GaborBank, PlainCNN, PowerSpectrum
from backdrop.models import TwoScaleCNN
from backdrop.placing import length_scales_of
from backdrop.training.examples import drawn
from backdrop.training.settings import Settings
from gpgen.errors import UsageError
from gpgen.recipe import Recipe

__all__ = ["network", "side_of_crop"]

_BEST = 0.99
"""What was best at the largest length-scale of ``two-scale-mini``, with no mask elsewhere."""


_FEATURES = {"power-spectrum": PowerSpectrum, "gabor": GaborBank}


def side_of_crop(fraction: float, side: int) -> int:
    """Return how many pixels of an axis a crop has."""
    return max(1, round(fraction * side))


def network(
    recipe: Recipe, settings: Settings, seed: int, generator: torch.Generator | None = None
) -> nn.Module:
    """Return an untrained classifier of a recipe's images, or what predicts their length-scales.

    One seed gives the same weights for ``none``, ``backdrop``, ``dropout`` and ``crop``. A network
    for length-scales begins at the mean of the logarithms of those that can be drawn.

    Parameters
    ----------
    recipe
        What the images are.
    settings
        The method, and what it puts into the network.
    seed
        Of the first weights.
    generator
        Where masks and dropout are drawn from; default is torch's global one.

    Raises
    ------
    UsageError
        If the images don't suit the method, or it tells classes apart and nothing else.
    """
    if settings.target != "label" and settings.method in (*_FEATURES, "batch-norm"):
        raise UsageError(
            f"the method {settings.method!r} tells classes apart, and predicts no length-scales",
            "use none, backdrop, dropout or crop",
        )
    if settings.method in _FEATURES:
        periodic = [boundary == "periodic" for boundary in recipe.texture.boundaries]
        features = _FEATURES[settings.method](recipe.shape, periodic)
        return FeatureClassifier(features, len(recipe.classes))
    inserted: dict[str, Any] = {"p": 0.0}
    means: list[float] = []
    if settings.target != "label":
        means = [
            float(np.log(recipe.components[k].all_length_scales).mean()) for k in drawn(recipe)
        ]
        inserted["n_classes"] = len(means)
    if settings.method == "backdrop":
        places = length_scales_of(recipe)
        best = tuple(_BEST if place == max(places) else 0.0 for place in places)
        inserted["p"] = settings.masks or best
    elif settings.method == "dropout":
        inserted |= {"dropout": settings.dropout, "channel_dropout": settings.channel_dropout}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if settings.method == "batch-norm":
            return PlainCNN.from_recipe(recipe)
        model = TwoScaleCNN.from_recipe(recipe, generator=generator, **inserted)
    smallest = min(recipe.shape)
    if settings.method == "crop" and side_of_crop(settings.crop, smallest) < model.stride:
        raise UsageError(
            f"crop is {settings.crop}: crops of {side_of_crop(settings.crop, smallest)} pixels are "
            "too small for the network's stages",
            f"choose at least {math.ceil(100 * model.stride / smallest) / 100:g}",
        )
    if means:
        model.classify.bias.data.copy_(torch.tensor(means))
    return model
