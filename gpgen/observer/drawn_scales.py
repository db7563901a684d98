"""Which length-scales samples of a dataset are said to have drawn."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Samples
from gpgen.errors import UsageError
from gpgen.recipe import Recipe

__all__ = ["positions_of"]

Numbers = npt.NDArray[np.int64]

_CLOSE: Final = 1e-3
"""To which a length-scale is the one that is meant, relative."""


def positions_of(samples: Samples, recipe: Recipe, positions: Numbers) -> Numbers:
    """Return which of its alternatives each component is, by the dataset's own length-scales.

    Parameters
    ----------
    samples
        The dataset, or a view.
    recipe
        What the alternatives are.
    positions
        Of some samples.

    Returns
    -------
    ndarray of int64, shape (samples, components)
        0 where there is one alternative.

    Raises
    ------
    UsageError
        If a sample is said to have a length-scale that the recipe doesn't draw.
    """
    found = np.zeros((len(positions), len(recipe.components)), dtype=np.int64)
    if not recipe.texture.draws_length_scales or not len(positions):
        return found
    said = np.asarray(samples.length_scales[positions], dtype=np.float64)
    # One number an axis, where some component has: a range has the same for all.
    said = said.reshape(*said.shape[:2], -1)[..., 0]
    for number, component in enumerate(recipe.components):
        if component.drawn_count == 1:
            continue
        values = np.array(component.all_length_scales, dtype=np.float64)
        places = np.abs(said[:, number, None] - values).argmin(axis=1)
        wrong = np.flatnonzero(~(np.abs(said[:, number] / values[places] - 1) <= _CLOSE))
        if len(wrong):
            sample, px = int(samples.indices[positions[wrong[0]]]), said[wrong[0], number]
            raise UsageError(
                f"sample {sample} is said to have {px:g} px in component {number + 1}, which "
                f"recipe {recipe.name!r} doesn't draw",
                "give the recipe whose ranges its length-scales come from",
            )
        found[:, number] = places
    return found
