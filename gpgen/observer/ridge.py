r"""Ridge regression on the logarithm of the power spectrum: the least that a benchmark should defy.

With features X of n images (each with mean 0 and deviation 1 over them) and Y the indicators of
their classes, the scores of an image x are :math:`x^T (X^T X + \lambda n)^{-1} X^T Y` and the
classes' shares (A. E. Hoerl and R. W. Kennard, Technometrics 12, 1970, 55).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.observer.cells import in_modes

__all__ = ["RadialPower", "Ridge"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_RINGS: Final = 24
_PENALTY: Final = 3.0
"""Of 0.1 to 100 the best, or next to it, for five built-in recipes with 20 images."""
_FAINTEST: Final = 1e-9
"""Part of the strongest ring's power below which there is only the rounding of pixels."""


class RadialPower:
    """The logarithm of an image's power in rings of equal steps of the frequency's logarithm.

    Parameters
    ----------
    shape
        The images' pixels.
    periodic
        Whether the ends meet, for each axis: waves there, cosines on open axes.
    """

    def __init__(self, shape: tuple[int, ...], periodic: tuple[bool, ...]) -> None:
        self._periodic = periodic
        axes = [
            (np.arange(pixels) + 1) // 2 / pixels if closed else np.arange(pixels) / pixels / 2
            for pixels, closed in zip(shape, periodic, strict=True)
        ]
        frequency = np.sqrt(sum(np.square(np.ix_(*axes)[k]) for k in range(len(axes)))).reshape(-1)
        edges = np.geomspace(0.25 / max(shape), frequency.max(), _RINGS + 1)
        ring = np.clip(np.searchsorted(edges, frequency), 1, _RINGS)
        ring[0] = 0  # the mean
        _, self._ring = np.unique(ring, return_inverse=True)
        self._counts = np.bincount(self._ring)

    def __call__(self, images: npt.NDArray[Any]) -> Array:
        """Return the features of images, float64, shape (images, rings)."""
        wide = images if images.dtype == np.float64 else images.astype(np.float32, copy=False)
        squares = in_modes(wide, self._periodic).reshape(len(images), -1) ** 2
        rows = [np.bincount(self._ring, each) / self._counts for each in squares]
        power = np.array(rows)[:, 1:]
        logs: Array = np.log(power + _FAINTEST * power.max(axis=1, keepdims=True) + 1e-300)
        return logs


@dataclass(frozen=True, eq=False)
class Ridge:
    """Names classes from features.

    Parameters
    ----------
    centre, scale
        Of the features that it was fitted to.
    weights
        Shape (features, classes).
    shares
        Of the classes.
    """

    centre: Array
    scale: Array
    weights: Array
    shares: Array

    @classmethod
    def fit(
        cls, features: Array, labels: Labels, classes: int, *, penalty: float = _PENALTY
    ) -> Ridge:
        """Fit features, shape (images, features), to labels, shape (images,)."""
        centre, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        x = (features - centre) / scale
        y = np.eye(classes)[labels]
        shares = y.mean(axis=0)
        gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
        return cls(centre, scale, np.linalg.solve(gram, x.T @ (y - shares)), shares)

    def predict(self, features: Array) -> Labels:
        """Return the class of each image."""
        scores = (features - self.centre) / self.scale @ self.weights + self.shares
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)
