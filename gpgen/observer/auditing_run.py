"""One audit at work: images drawn for comparison, images read, tests."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Samples
from gpgen.format.image_writing import batch_size
from gpgen.observer.audited import Comparison
from gpgen.observer.choosing import chosen_samples
from gpgen.observer.drawn_scales import positions_of
from gpgen.observer.looking import Looking, Seen
from gpgen.observer.ranks import RankSums
from gpgen.observer.redrawing import Redrawing
from gpgen.observer.scores import Scores
from gpgen.observer.single_samples import Dependence, Extremes, Labels, Repeats
from gpgen.progress import Progress, Tell
from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for, seeds_at
from gpgen.workers import in_order

__all__ = ["AuditingRun"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]

_DRAWN_PIXELS: Final = 2**27
_DRAWN: Final = (50, 1000)
"""Of each class, images drawn for comparison, unless these are too many pixels."""

_FEWEST: Final = 16
"""Of each class, images measured and drawn, however many pixels they have."""

_MEASURED_PIXELS: Final = 2**27
_GRAIN: Final = 2.0**-16
"""Pixels are sums of products on grids not coarser than this part of their deviation."""

_LABELS_READ: Final = 1024
_ALL: Final = "all classes"


class _Batch(NamedTuple):
    """Samples to read: positions from start to stop, those to measure, labels of all."""

    positions: Numbers
    closely: Numbers
    labels: Numbers


class AuditingRun:
    """Audits samples against a recipe.

    Parameters
    ----------
    samples
        A dataset or a view.
    recipe
        What they should be.
    seed
        Of the images drawn for comparison.
    redraw
        Whether the samples should be those that the recipe draws, pixel by pixel.
    images
        How many samples to measure closely; None for as many as have 2^27 pixels.
    workers
        How many threads work at once.
    """

    def __init__(
        self,
        samples: Samples,
        recipe: Recipe,
        seed: int,
        *,
        redraw: bool,
        images: int | None,
        workers: int,
    ) -> None:
        self.samples, self.recipe, self._workers = samples, recipe, workers
        self.looking = Looking(recipe.texture)
        classes, pixels = recipe.class_count, math.prod(recipe.shape)
        # Of this recipe and seed alone, so that audits of several recipes are independent.
        word = hashlib.sha256(f"audit {seed} {recipe.sha256}".encode()).digest()
        self._other = recipe.replace(seed=int.from_bytes(word[:8]) >> 1)
        count = images or max(_MEASURED_PIXELS // pixels, _FEWEST * classes)
        chosen = chosen_samples(len(samples), count, classes, int.from_bytes(word[8:16]))
        self.measured: Numbers = chosen
        """Positions of the samples that are measured closely."""
        most = max(_DRAWN_PIXELS // pixels, images or 0) // classes
        low, high = _DRAWN
        per_class = -(-len(chosen) // classes)
        self.drawn = max(_FEWEST, min(most, high, max(low, 4 * per_class)))
        """How many images of each class are drawn for comparison."""
        cells = len(self.looking.measures.cells.counts)
        self.powers, self.drawn_powers = np.zeros((classes, cells)), np.zeros((classes, cells))
        """The sum of the power, of each class in each cell."""
        parameters = 2 * len(recipe.components)
        self.scores, self.drawn_scores = Scores(classes, parameters), Scores(classes, parameters)
        self.labels = Labels(classes)
        self.dependence = Dependence(classes)
        self.repeats, self._drawn_repeats = Repeats(), Repeats()
        # A float16 of up to 8 deviations is rounded to 2**-7 of one.
        dtype = samples.recipe.numpy_dtype
        grain = max(_GRAIN, 8 * float(np.finfo(dtype).eps))
        self.extremes, self._drawn_extremes = Extremes(grain), Extremes(grain)
        self.ranks: RankSums
        self._cheap_ranks: RankSums
        self.redrawing = Redrawing(samples) if redraw else None

    @property
    def redrawn(self) -> int:
        """How many samples were drawn again."""
        return self.redrawing.count if self.redrawing else 0

    def draw(self, tell: Tell) -> None:
        """Draw and measure the images for comparison."""
        classes = self.recipe.class_count
        total, step = self.drawn * classes, batch_size(self.recipe)
        cheap: list[list[Array]] = [[] for _ in range(classes)]
        values: list[list[Array]] = [[] for _ in range(classes)]
        odds: list[list[Array]] = [[] for _ in range(classes)]
        starts = range(0, total, step)
        with contextlib.closing(in_order(self._draw_from, starts, self._workers)) as seen:
            for start, found in zip(starts, seen, strict=True):
                tell(Progress(start, total, "drawn image"))
                indices = np.arange(start, start + len(found.hashes))
                self._drawn_repeats.add(found.hashes, indices)
                self._drawn_extremes.add(found.largest, found.smallest, found.hashes)
                assert found.measured is not None  # noqa: S101 - narrows the type
                for (label, _), which in found.kinds.items():
                    cheap[label].append(found.values[which])
                    values[label].append(found.measured.values[which])
                    odds[label].append(found.measured.log_likelihoods[which])
                    self.drawn_powers[label] += found.measured.powers[which].sum(axis=0)
                    self.drawn_scores.add(label, found.measured, which)
        tell(Progress(total, total, "drawn image"))
        for label, of_class in enumerate(odds):
            self.labels.compare_with(np.concatenate(of_class), label)
        self._cheap_ranks, self.ranks = (
            RankSums([np.concatenate(each) for each in of_all]) for of_all in (cheap, values)
        )

    def _draw_from(self, start: int) -> Seen:
        classes, other = self.recipe.class_count, self._other
        stop = min(start + batch_size(self.recipe), self.drawn * classes)
        indices = np.arange(start, stop)
        images = sampler_for(other).images_at(indices)
        images = images.astype(self.samples.recipe.numpy_dtype, copy=False)
        drawn = other.texture.drawn(seeds_at(other.seed, indices))
        return self.looking.look(images, np.arange(len(indices)), indices % classes, drawn)

    def read(self, tell: Tell) -> None:
        """Read all of the dataset's images, and measure those that were chosen."""
        total = len(self.samples)
        with contextlib.closing(in_order(self._read, self._batches(), self._workers)) as seen:
            for batch, images, found in seen:
                positions, labels = batch.positions, batch.labels
                tell(Progress(int(positions[0]), total, "image"))
                indices = self._indices[positions]
                self.repeats.add(found.hashes, indices)
                self.extremes.add(found.largest, found.smallest, found.hashes)
                for label in np.unique(labels).tolist():
                    self._cheap_ranks.add(label, found.values[labels == label])
                if self.redrawing:
                    self.redrawing.compare(images, positions, indices)
                if found.measured is not None:
                    self.dependence.add(found.measured.directions, positions[batch.closely])
                    self._add_measured(found, indices[batch.closely])
        tell(Progress(total, total, "image"))

    def _add_measured(self, found: Seen, indices: Numbers) -> None:
        measured = found.measured
        assert measured is not None  # noqa: S101 - narrows the type
        for (label, _), which in found.kinds.items():
            self.ranks.add(label, measured.values[which])
            self.powers[label] += measured.powers[which].sum(axis=0)
            self.scores.add(label, measured, which)
            self.labels.add(measured.log_likelihoods[which], label, indices[which])

    def _batches(self) -> Iterator[_Batch]:
        total, step = len(self.samples), batch_size(self.samples.recipe)
        block = max(1, _LABELS_READ // step) * step
        self._indices = self.samples.indices
        for first in range(0, total, block):
            labels = np.asarray(self.samples.label[first : first + block])
            for start in range(first, min(first + block, total), step):
                positions = np.arange(start, min(start + step, total))
                ends = np.searchsorted(self.measured, (start, start + step))
                closely = self.measured[slice(*ends)] - start
                yield _Batch(positions, closely, labels[positions - first])

    def _read(self, batch: _Batch) -> tuple[_Batch, Images, Seen]:
        images = self.samples.read(batch.positions)
        chosen, labels = batch.positions[batch.closely], batch.labels[batch.closely]
        drawn = positions_of(self.samples, self.recipe, chosen)
        return batch, images, self.looking.look(images, batch.closely, labels, drawn)

    def comparisons(self) -> Iterator[Comparison]:
        """Yield all tests."""
        names, several = self.recipe.classes, self.recipe.class_count > 1
        measures = self.looking.measures.names
        for ranks, of in ((self._cheap_ranks, self.looking.cheap_names), (self.ranks, measures)):
            by_class, together = ranks.p_values()
            for k, what in enumerate(of):
                yield Comparison(what, _ALL, float(together[k]))
                for label, name in enumerate(names):
                    if several and ranks.counts[label]:
                        yield Comparison(what, name, float(by_class[label, k]))
        is_gaussian = not self.looking.texture.is_transformed
        if several and self.recipe.algorithm == "exact" and is_gaussian:
            # Of others the densities aren't known, nor how their tails fall.
            yield Comparison("label of a single sample", _ALL, self.labels.p_value())
        for lag in self.dependence.lags:
            what = f"correlation of samples {lag} apart"
            yield Comparison(what, _ALL, self.dependence.p_value(lag))
        for side, what in enumerate(("largest value", "smallest value")):
            if self._drawn_extremes.shared(side) == 1:
                yield Comparison(what, _ALL, self.extremes.p_value(side))
        if not self._drawn_repeats.pairs():
            yield Comparison("equal samples", _ALL, 0.0 if self.repeats.pairs() else 1.0)
        if self.redrawing:
            wrong = self.redrawing.has_differences
            yield Comparison("pixels drawn again", _ALL, 0.0 if wrong else 1.0)
