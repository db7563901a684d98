"""Images of transformed values, turned back into those of the Gaussian field beneath."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from gpgen.exact.texture import Texture
from gpgen.recipe import Recipe

__all__ = ["Inverse", "beneath"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]

_LEAST: Final = {"lognormal": 1e-38, "uniform": 2.0**-25}
"""What lies below is taken as this: a float32 that was rounded to 0, or to the end 1 beyond it."""


@dataclass(frozen=True)
class Inverse:
    """The texture that determines a recipe's images, and how to come back to it.

    Exact, up to the rounding of pixels, if the images are an invertible function of one Gaussian
    field: "lognormal" or "uniform" of a single component. Every other texture stays as it is.

    Parameters
    ----------
    texture
        Without the transform; of weight 1, which the transform's own weight doesn't scale.
    weight
        By which transformed values were multiplied.
    transform
        What is inverted; None for nothing.
    """

    texture: Texture
    weight: float = 1.0
    transform: str | None = None

    @classmethod
    def of(cls, texture: Texture) -> Inverse:
        """Look for the texture beneath."""
        first, *others = texture.components
        if others or first.transform not in _LEAST or texture.transform is not None:
            return cls(texture)
        if not isinstance(first.weight, float | int):
            return cls(texture)
        if first.transform == "uniform" and texture.dtype == "float16":
            return cls(texture)  # values near 1 are rounded to a few
        plain = msgspec.structs.replace(first, transform=None, weight=1.0)
        beneath = dataclasses.replace(texture, components=(plain,))
        return cls(beneath, first.weight, first.transform)

    def field(self, images: Images) -> Images:
        """Return the Gaussian field's values: `images` itself if nothing is inverted.

        Parameters
        ----------
        images
            Any shape, float16 or float32.

        Returns
        -------
        ndarray of float32, the same shape
        """
        if self.transform is None:
            return images
        values = images.astype(np.float64) / self.weight
        least = _LEAST[self.transform]
        if self.transform == "lognormal":
            found: Array = np.log(np.maximum(values, least))
        else:
            found = ndtri(np.clip(values, least, 1 - least))
        return found.astype(np.float32)


def beneath(recipe: Recipe) -> Recipe:
    """Return the recipe of the Gaussian fields that its images can be turned back into."""
    texture = recipe.texture
    inverse = Inverse.of(texture)
    if inverse.transform is None:
        return recipe
    return msgspec.structs.replace(recipe, components=inverse.texture.components)
