r"""Linear discriminant analysis with a shrunken covariance.

Classes are taken as normal with one covariance C; the most probable one maximizes

    m_k^T C^-1 x - m_k^T C^-1 m_k / 2 .

C is the covariance within the classes, moved towards a multiple of the identity by as much as
O. Ledoit and M. Wolf (2004, Journal of Multivariate Analysis 88, 365) show to be best, since few
images leave it uncertain. Features are scaled to deviation 1 before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gpgen.errors import UsageError

__all__ = ["LinearDiscriminant"]


class LinearDiscriminant(nn.Module):
    """A linear classifier that is fitted at once; before that it gives all classes alike.

    Parameters
    ----------
    features, classes
        How many.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("weight", torch.zeros(classes, features))
        self.register_buffer("bias", torch.zeros(classes))

    def fit(self, features: npt.ArrayLike, label: npt.ArrayLike) -> None:
        """Fit to features, shape ``(sample, feature)``, and classes ``(sample,)``.

        Raises
        ------
        UsageError
            If a class has no sample, shapes or labels don't fit, or a feature is not finite.
        """
        given = np.asarray(features, dtype=np.float64)
        labels = np.asarray(label)
        classes, count = self.weight.shape
        if given.ndim != 2 or given.shape[1] != count or labels.shape != given.shape[:1]:
            raise UsageError(
                f"features have the shape {given.shape} and classes {labels.shape}",
                f"give (n, {count}) and (n,)",
            )
        if not np.isfinite(given).all():
            bad = int(np.flatnonzero(~np.isfinite(given).all(1))[0])
            raise UsageError(
                f"sample {bad} has features that are not finite", "leave such images out"
            )
        if set(np.unique(labels).tolist()) != set(range(classes)):
            raise UsageError(
                f"the samples' classes are not all of 0 to {classes - 1}",
                "give at least one sample of each class",
            )
        mean, scale = given.mean(0), given.std(0)
        scale[scale < 1e-9 * (1 + np.abs(mean))] = 1.0  # a feature that is the same for all
        scaled = (given - mean) / scale
        centres = np.stack([scaled[labels == k].mean(0) for k in range(classes)])
        covariance = _shrunken(scaled - centres[labels])
        weight = np.linalg.solve(covariance, centres.T).T
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))
        self.weight.copy_(torch.from_numpy(weight))
        self.bias.copy_(torch.from_numpy(-0.5 * (weight * centres).sum(1)))

    def forward(self, features: Tensor) -> Tensor:
        """Return the classes' log-probabilities up to a constant, shape ``(sample, class)``."""
        scaled = (features - self.mean) / self.scale
        return scaled @ self.weight.T + self.bias


def _shrunken(residuals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return Ledoit and Wolf's estimate of the covariance of samples with mean 0."""
    n, p = residuals.shape
    identity = np.eye(p)
    sample = residuals.T @ residuals / n
    variance = float(np.trace(sample)) / p
    if variance < 1e-12:  # one sample of each class: only the centres are known
        return identity
    distance = float(np.square(sample - variance * identity).sum())
    spread = float(np.square(np.square(residuals).sum(1)).sum()) / n - np.square(sample).sum()
    shrinkage = 1.0 if distance == 0 else min(1.0, float(spread) / n / distance)
    shrunken: npt.NDArray[np.float64] = (1 - shrinkage) * sample + shrinkage * variance * identity
    return shrunken
