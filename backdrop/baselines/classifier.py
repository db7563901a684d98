"""Fixed features and a linear discriminant, as one classifier."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backdrop.baselines.discriminant import LinearDiscriminant

__all__ = ["FeatureClassifier", "Features"]


class Features(Protocol):
    """What turns images ``(sample, *axes)`` into features ``(sample, count)``."""

    count: int

    def __call__(self, images: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return an image's features, one row each."""
        ...


class FeatureClassifier(nn.Module):
    """Features without parameters, then a `LinearDiscriminant`.

    Features are computed on the CPU, wherever the images are.

    Parameters
    ----------
    features
        For example a `PowerSpectrum` or a `GaborBank`.
    classes
        How many.
    """

    def __init__(self, features: Features, classes: int) -> None:
        super().__init__()
        self.features = features
        self.discriminant = LinearDiscriminant(features.count, classes)

    def fit(self, image: Tensor, label: Tensor) -> Tensor:
        """Fit to images ``(sample, 1, *axes)`` and classes ``(sample,)``, and return their logits.

        Raises
        ------
        UsageError
            As `LinearDiscriminant.fit` and the features.
        """
        features = self._of(image)
        self.discriminant.fit(features, label.cpu().numpy())
        return self._logits(features, image)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape ``(sample, class)``, of images ``(sample, 1, *axes)``."""
        return self._logits(self._of(image), image)

    def _logits(self, features: npt.NDArray[np.float64], image: Tensor) -> Tensor:
        values = torch.from_numpy(features.astype(np.float32)).to(image.device)
        logits: Tensor = self.discriminant(values)
        return logits

    def _of(self, image: Tensor) -> npt.NDArray[np.float64]:
        return self.features(image.detach().flatten(0, 1).cpu().numpy())
