"""One audit at work: images drawn for comparison, images read, tests, names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Samples
from gpgen.format.image_writing import batch_size
from gpgen.observer.audited import Comparison, Finding
from gpgen.observer.class_spectra import ClassSpectra
from gpgen.observer.measures import Measures
from gpgen.observer.naming import looks_like, name_comparisons, name_components, name_labels
from gpgen.observer.ranks import RankSums
from gpgen.observer.redrawing import Redrawing
from gpgen.observer.single_samples import Dependence, Extremes, Labels, Repeats
from gpgen.progress import Progress, Tell
from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for

__all__ = ["AuditingRun"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]

_DRAWN_PIXELS: Final = 2**28
_DRAWN: Final = (50, 1000)
"""Of each class, images drawn for comparison, unless these are too many pixels."""

_FEWEST_DRAWN: Final = 16
_GRAIN: Final = 2.0**-16
"""Pixels are sums of products on grids not coarser than this part of their deviation."""

_LISTED: Final = 20
_UNLIKELY: Final = 1e-6
_SHARING: Final = 0.1
"""Of rounded images, the part of all that share the largest value if it is clipped."""

_ALL: Final = "all classes"
_SPECTRAL: Final = ("power", "fit", "variance", "length-scale", "posterior")
_OF_LABELS: Final = {"posterior of the label", "label of a single sample"}


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
    """

    def __init__(self, samples: Samples, recipe: Recipe, seed: int, *, redraw: bool) -> None:
        self._samples, self._recipe = samples, recipe
        self._spectra = ClassSpectra.of(recipe.texture)
        self._measures = Measures(self._spectra)
        classes, cells = recipe.class_count, len(self._spectra.cells.counts)
        # Of this recipe and seed alone, so that audits of several recipes are independent.
        word = hashlib.sha256(f"audit {seed} {recipe.sha256}".encode()).digest()[:8]
        self._other = recipe.replace(seed=int.from_bytes(word) >> 1)
        per_class = -(-len(samples) // classes)
        most = _DRAWN_PIXELS // math.prod(recipe.shape) // classes
        low, high = _DRAWN
        self.drawn = max(_FEWEST_DRAWN, min(most, high, max(low, 4 * per_class)))
        self._drawn_powers = np.zeros((classes, cells))
        self._powers = np.zeros((classes, cells))
        self._labels = Labels(classes)
        self._dependence = Dependence(classes)
        self._repeats, self._drawn_repeats = Repeats(), Repeats()
        # A float16 of up to 8 deviations is rounded to 2**-7 of one.
        dtype = samples.recipe.numpy_dtype
        grain = max(_GRAIN, 8 * float(np.finfo(dtype).eps))
        self._extremes, self._drawn_extremes = Extremes(grain), Extremes(grain)
        self._ranks: RankSums
        self._redrawing = Redrawing(samples) if redraw else None

    @property
    def redrawn(self) -> int:
        """How many samples were drawn again."""
        return self._redrawing.count if self._redrawing else 0

    def draw(self, tell: Tell) -> None:
        """Draw and measure the images for comparison."""
        sampler, classes = sampler_for(self._other), self._recipe.class_count
        total, step = self.drawn * classes, batch_size(self._recipe)
        values: list[list[Array]] = [[] for _ in range(classes)]
        odds: list[list[Array]] = [[] for _ in range(classes)]
        dtype = self._samples.recipe.numpy_dtype
        for start in range(0, total, step):
            tell(Progress(start, total, "drawn image"))
            indices = np.arange(start, min(start + step, total))
            images = sampler.images_at(indices).astype(dtype, copy=False)
            hashes = self._drawn_repeats.add(images, indices)
            self._drawn_extremes.add(images, hashes)
            for label in np.unique(indices % classes).tolist():
                mine = indices % classes == label
                found = self._measures.measure(images[mine], label)
                values[label].append(found.values)
                self._drawn_powers[label] += found.powers.sum(axis=0) / self.drawn
                odds[label].append(found.log_likelihoods)
        tell(Progress(total, total, "drawn image"))
        for label, of_class in enumerate(odds):
            self._labels.compare_with(np.concatenate(of_class), label)
        self._ranks = RankSums([np.concatenate(each) for each in values])

    def read(self, tell: Tell) -> None:
        """Read and measure the dataset's images."""
        total, step = len(self._samples), batch_size(self._samples.recipe)
        indices_of = self._samples.indices
        for start in range(0, total, step):
            tell(Progress(start, total, "image"))
            positions = np.arange(start, min(start + step, total))
            images = self._samples.read(positions)
            labels = np.asarray(self._samples.label[start : start + len(positions)])
            indices = indices_of[positions]
            hashes = self._repeats.add(images, indices)
            self._extremes.add(images, hashes)
            if self._redrawing:
                self._redrawing.compare(images, positions, indices)
            directions: Array | None = None
            for label in np.unique(labels).tolist():
                mine = labels == label
                found = self._measures.measure(images[mine], label)
                self._ranks.add(label, found.values)
                self._powers[label] += found.powers.sum(axis=0)
                self._labels.add(found.log_likelihoods, label, indices[mine])
                if directions is None:
                    directions = np.zeros((len(images), found.directions.shape[1]))
                directions[mine] = found.directions
            if directions is not None:
                self._dependence.add(directions)
        tell(Progress(total, total, "image"))

    def comparisons(self) -> Iterator[Comparison]:
        """Yield all tests."""
        by_class, together = self._ranks.p_values()
        names, several = self._recipe.classes, self._recipe.class_count > 1
        for k, what in enumerate(self._measures.names):
            yield Comparison(what, _ALL, float(together[k]))
            for label, name in enumerate(names):
                if several and self._ranks.counts[label]:
                    yield Comparison(what, name, float(by_class[label, k]))
        if several and self._recipe.algorithm == "exact":
            # The densities of the algorithm of 2018 aren't known, nor how their tails fall.
            yield Comparison("label of a single sample", _ALL, self._labels.p_value())
        for lag in self._dependence.lags:
            what = f"correlation of samples {lag} apart"
            yield Comparison(what, _ALL, self._dependence.p_value(lag))
        for side, what in enumerate(("largest value", "smallest value")):
            if self._drawn_extremes.shared(side) == 1:
                yield Comparison(what, _ALL, self._extremes.p_value(side))
        if not self._drawn_repeats.pairs():
            yield Comparison("equal samples", _ALL, 0.0 if self._repeats.pairs() else 1.0)
        if self._redrawing:
            wrong = self._redrawing.has_differences
            yield Comparison("pixels drawn again", _ALL, 0.0 if wrong else 1.0)

    def findings(self, significant: list[Comparison]) -> list[Finding]:
        """Name what is wrong, given the tests that failed."""
        found: list[Finding] = []
        failed = {each.what for each in significant}
        if self._redrawing:
            found += self._redrawing.findings()
        if "equal samples" in failed:
            found += self._equal()
        if "number of equal values" in failed:
            found.append(Finding("rounded", "values are rounded: too many of them are equal"))
        found += self._clipped(failed, is_rounded="number of equal values" in failed)
        # Clipping and rounding change the spectrum, which then says nothing else.
        if not any(each.kind in ("clipped", "rounded") for each in found):
            found += self._of_classes(failed)
        for lag in self._dependence.lags:
            if f"correlation of samples {lag} apart" in failed:
                text = f"samples {lag} apart are correlated, so they aren't independent"
                found.append(Finding("dependent", text))
        return found or list(name_comparisons(significant))

    def _equal(self) -> Iterator[Finding]:
        splits, codes_of = self._samples.splits, self._samples.recipe.split_codes
        for a, b in self._repeats.pairs()[:_LISTED]:
            first, second = (splits[int(codes_of(k, k + 1)[0])] for k in (a, b))
            between = f", one in {first}, the other in {second}" if first != second else ""
            yield Finding("repeated", f"samples {a} and {b} are equal{between}", (a, b))

    def _clipped(self, failed: set[str], *, is_rounded: bool) -> Iterator[Finding]:
        # Of rounded images a few share the largest value anyway.
        fewest = _SHARING * len(self._samples) if is_rounded else 0
        for side, (what, how) in enumerate((("largest", "above"), ("smallest", "below"))):
            shared = self._extremes.shared(side)
            if f"{what} value" in failed and shared > fewest:
                value = self._extremes.value[side] * (1 - 2 * side)
                text = f"values are clipped {how} {value:.6g}: {shared} images reach it"
                yield Finding("clipped", text)

    def _of_classes(self, failed: set[str]) -> list[Finding]:
        counts = self._ranks.counts
        found: list[Finding] = []
        looks: dict[int, int] = {}
        if failed & _OF_LABELS:
            looks = looks_like(self._labels.confusion, self._labels.drawn_confusion)
            found += name_labels(self._recipe.texture, looks)
        if any(what.startswith(_SPECTRAL) for what in failed):
            powers = {
                label: self._powers[label] / counts[label]
                for label in np.flatnonzero(counts).tolist()
                if label not in looks
            }
            found += name_components(self._spectra, powers, self._drawn_powers, counts, self.drawn)
        if "label of a single sample" in failed and all(each.kind == "labels" for each in found):
            found += self._unlikely(looks)
        return found

    def _unlikely(self, looks: dict[int, int]) -> Iterator[Finding]:
        names = self._recipe.classes
        single = [each for each in self._labels.unlikely(_UNLIKELY) if each[1] not in looks]
        if len(single) > _LISTED:
            text = f"at least {len(single)} samples look like another class than their label's"
            yield Finding("labels", text, tuple(each[0] for each in single))
            return
        for sample, label, likely in single:
            text = f"sample {sample} is labelled {names[label]} and looks like {names[likely]}"
            yield Finding("labels", text, (sample,))
