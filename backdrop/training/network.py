"""The network that every method trains: only what is put into it differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from backdrop.models import TwoScaleCNN
from backdrop.placing import length_scales_of
from backdrop.training.examples import drawn
from backdrop.training.settings import Settings
from gpgen.recipe import Recipe

__all__ = ["network"]

_BEST = 0.99
"""What was best at the largest length-scale of ``two-scale-mini``, with no mask elsewhere."""


def network(
    recipe: Recipe, settings: Settings, seed: int, generator: torch.Generator | None = None
) -> TwoScaleCNN:
    """Return an untrained network; one seed gives the same weights for every method.

    One for length-scales begins at the mean of the logarithms of those that can be drawn.
    """
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
        model = TwoScaleCNN.from_recipe(recipe, generator=generator, **inserted)
    if means:
        model.classify.bias.data.copy_(torch.tensor(means))
    return model
