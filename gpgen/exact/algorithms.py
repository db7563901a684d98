"""The ways to draw a texture, by the name in its ``algorithm``.

"exact" is gpgen's own (`gpgen.exact.accuracy`, `gpgen.sampling`). Any other is a module, imported
when a texture asks for it, that answers the same three questions.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import LengthScale, Texture

__all__ = ["Algorithm", "other_algorithm"]

_MODULES: Final = {"golkar2018": "gpgen.exact.mosaic_texture"}


class Algorithm(Protocol):
    """What a module that draws textures in its own way must have."""

    def check(self, texture: Texture) -> None:
        """Raise `RecipeError` for what it can't draw."""
        ...

    def accuracy_of(self, texture: Texture) -> tuple[float, float, float]:
        """Return the fields of `gpgen.exact.accuracy.Accuracy`."""
        ...

    def draw(
        self,
        texture: Texture,
        scales: tuple[LengthScale, ...],
        seeds: npt.NDArray[np.uint64],
        out: npt.NDArray[Any],
    ) -> None:
        """Draw samples of the class of these length-scales into `out`, (samples, *shape)."""
        ...


def other_algorithm(name: str) -> Algorithm | None:
    """Return an algorithm that isn't gpgen's own, or None for "exact"."""
    if name not in _MODULES:
        return None
    return cast("Algorithm", importlib.import_module(_MODULES[name]))
