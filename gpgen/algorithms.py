"""The ways to draw a recipe, by the name in its ``algorithm``.

"exact" is gpgen's own (`gpgen.exact.accuracy`, `gpgen.sampling`). Any other is a module, imported when
a recipe asks for it, that answers the same three questions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gpgen.recipe import Recipe

__all__ = ["Algorithm", "other_algorithm"]

_MODULES: Final = {"golkar2018": "gpgen.exact.mosaic_texture"}


class Algorithm(Protocol):
    """What a module that draws recipes in its own way must have."""

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise `RecipeError` for what it can't draw."""
        ...

    def accuracy_of(self, recipe: Recipe) -> tuple[float, float, float]:
        """Return the fields of `gpgen.exact.accuracy.Accuracy`."""
        ...

    def draw(
        self, recipe: Recipe, label: int, seeds: npt.NDArray[np.uint64], out: npt.NDArray[Any]
    ) -> None:
        """Draw samples of one class into `out`, shape (samples, *recipe.shape)."""
        ...


def other_algorithm(name: str) -> Algorithm | None:
    """Return an algorithm that isn't gpgen's own, or None for "exact"."""
    if name not in _MODULES:
        return None
    return cast("Algorithm", importlib.import_module(_MODULES[name]))
