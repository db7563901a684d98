"""What each method trains. Four train one network, and only what is put into it differs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from backdrop.baselines import FeatureClassifier, GaborBank, PlainCNN, PowerSpectrum
from backdrop.models import TwoScaleCNN
from backdrop.placing import length_scales_of
from backdrop.training.settings import Settings
from gpgen.recipe import Recipe

__all__ = ["network"]

_BEST = 0.99
"""What was best at the largest length-scale of ``two-scale-mini``, with no mask elsewhere."""


_FEATURES = {"power-spectrum": PowerSpectrum, "gabor": GaborBank}


def network(
    recipe: Recipe, settings: Settings, seed: int, generator: torch.Generator | None = None
) -> nn.Module:
    """Return an untrained classifier of a recipe's images.

    One seed gives the same weights for ``none``, ``backdrop``, ``dropout`` and ``crop``.

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
        If the images don't suit the method.
    """
    if settings.method in _FEATURES:
        periodic = [boundary == "periodic" for boundary in recipe.texture.boundaries]
        features = _FEATURES[settings.method](recipe.shape, periodic)
        return FeatureClassifier(features, len(recipe.classes))
    inserted: dict[str, Any] = {"p": 0.0}
    if settings.method == "backdrop":
        scales = length_scales_of(recipe)
        best = tuple(_BEST if scale == max(scales) else 0.0 for scale in scales)
        inserted["p"] = settings.masks or best
    elif settings.method == "dropout":
        inserted |= {"dropout": settings.dropout, "channel_dropout": settings.channel_dropout}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if settings.method == "batch-norm":
            return PlainCNN.from_recipe(recipe)
        return TwoScaleCNN.from_recipe(recipe, generator=generator, **inserted)
