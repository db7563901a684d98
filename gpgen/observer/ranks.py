r"""Whether two sets of images have measures of one distribution: Wilcoxon's rank sum.

If they have, every order of the n audited images and the m drawn for comparison is equally likely,
whatever the distribution is. In each class the number of pairs in which the audited image is larger
has the mean :math:`nm/2` and the variance :math:`nm(n+m+1)/12`; the sum over classes is normal
enough, with tails that are rather too light (E. L. Lehmann, Nonparametrics, 1975, sections 1.3 and
3.3). Equal values count one half, which makes the variance smaller and the test safer. Nothing is
kept of an audited image but its ranks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

__all__ = ["RankSums"]

Array = npt.NDArray[np.float64]


class RankSums:
    """Pairs in which audited images have the larger measure, by class and measure.

    Parameters
    ----------
    drawn
        Of each class the measures of the images drawn for comparison, shape (images, measures).
    """

    def __init__(self, drawn: list[Array]) -> None:
        self._drawn = [np.sort(values, axis=0) for values in drawn]
        self.counts = np.zeros(len(drawn), dtype=np.int64)
        """Audited images of each class."""
        self._larger = np.zeros((len(drawn), drawn[0].shape[1]))

    def add(self, label: int, values: Array) -> None:
        """Count audited images of a class, shape (images, measures)."""
        self.counts[label] += len(values)
        for k, (drawn, seen) in enumerate(zip(self._drawn[label].T, values.T, strict=True)):
            larger = np.searchsorted(drawn, seen, side="left")
            not_smaller = np.searchsorted(drawn, seen, side="right")
            self._larger[label, k] += (larger.sum() + not_smaller.sum()) / 2

    def p_values(self) -> tuple[Array, Array]:
        """Compare.

        Returns
        -------
        by_class
            float64, shape (classes, measures): two-sided; 1 for a class without images.
        all_classes
            Shape (measures,): the classes' sums added up.
        """
        drawn = np.array([len(each) for each in self._drawn])
        n = self.counts
        excess = self._larger - (n * drawn / 2)[:, None]
        variance = (n * drawn * (n + drawn + 1) / 12)[:, None]
        by_class = _two_sided(excess, variance)
        return by_class, _two_sided(excess.sum(axis=0), variance.sum(axis=0))


def _two_sided(excess: Array, variance: Array) -> Array:
    # Without images nothing is exceeded.
    z = np.abs(excess) / np.sqrt(np.where(variance > 0, variance, 1.0))
    p: Array = np.minimum(1.0, 2 * norm.sf(z))
    return p
