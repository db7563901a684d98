"""The network that every method trains: only what is put into it differs."""

from __future__ import annotations

from typing import Any

import torch

from backdrop.models import TwoScaleCNN
from backdrop.placing import length_scales_of
from backdrop.training.settings import Settings
from gpgen.recipe import Recipe

__all__ = ["network"]

_BEST = 0.99
"""What was best at the largest length-scale of ``two-scale-mini``, with no mask elsewhere."""


def network(
    recipe: Recipe, settings: Settings, seed: int, generator: torch.Generator | None = None
) -> TwoScaleCNN:
    """Return an untrained network; one seed gives the same weights for every method."""
    inserted: dict[str, Any] = {"p": 0.0}
    if settings.method == "backdrop":
        scales = length_scales_of(recipe)
        best = tuple(_BEST if scale == max(scales) else 0.0 for scale in scales)
        inserted["p"] = settings.masks or best
    elif settings.method == "dropout":
        inserted |= {"dropout": settings.dropout, "channel_dropout": settings.channel_dropout}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return TwoScaleCNN.from_recipe(recipe, generator=generator, **inserted)
