"""What is wrong with a dataset, by name, once an audit's tests have failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from gpgen.observer.audited import Comparison, Finding
from gpgen.observer.auditing_run import AuditingRun
from gpgen.observer.fitting import ClassFit, Fitting
from gpgen.observer.naming import looks_like, name_comparisons, name_components, name_labels

__all__ = ["Faults"]

_LISTED: Final = 20
_UNLIKELY: Final = 1e-6
_SHARING: Final = 0.1
"""Of rounded images, the part of all that share the largest value if it is clipped."""

_SPECTRAL: Final = ("power", "fit", "variance", "length-scale", "posterior")
_OF_LABELS: Final = {"posterior of the label", "label of a single sample"}


class Faults:
    """Names what is wrong.

    Parameters
    ----------
    run
        What has been seen.
    """

    def __init__(self, run: AuditingRun) -> None:
        self._run = run

    def findings(self, significant: list[Comparison]) -> list[Finding]:
        """Name what is wrong, given the tests that failed."""
        found: list[Finding] = []
        failed = {each.what for each in significant}
        if self._run.redrawing:
            found += self._run.redrawing.findings()
        if "equal samples" in failed:
            found += self._equal()
        if "number of equal values" in failed:
            found.append(Finding("rounded", "values are rounded: too many of them are equal"))
        found += self._clipped(failed, is_rounded="number of equal values" in failed)
        # Clipping and rounding change the spectrum, which then says nothing else.
        if not any(each.kind in ("clipped", "rounded") for each in found):
            found += self._of_classes(failed)
        for lag in self._run.dependence.lags:
            if f"correlation of samples {lag} apart" in failed:
                text = f"samples {lag} apart are correlated, so they aren't independent"
                found.append(Finding("dependent", text))
        return found or list(name_comparisons(significant))

    def _equal(self) -> Iterator[Finding]:
        splits, codes_of = self._run.samples.splits, self._run.samples.recipe.split_codes
        for a, b in self._run.repeats.pairs()[:_LISTED]:
            first, second = (splits[int(codes_of(k, k + 1)[0])] for k in (a, b))
            between = f", one in {first}, the other in {second}" if first != second else ""
            yield Finding("repeated", f"samples {a} and {b} are equal{between}", (a, b))

    def _clipped(self, failed: set[str], *, is_rounded: bool) -> Iterator[Finding]:
        # Of rounded images a few share the largest value anyway.
        fewest = _SHARING * len(self._run.samples) if is_rounded else 0
        for side, (what, how) in enumerate((("largest", "above"), ("smallest", "below"))):
            shared = self._run.extremes.shared(side)
            if f"{what} value" in failed and shared > fewest:
                value = self._run.extremes.value[side] * (1 - 2 * side)
                text = f"values are clipped {how} {value:.6g}: {shared} images reach it"
                yield Finding("clipped", text)

    def _of_classes(self, failed: set[str]) -> list[Finding]:
        counts = self._run.ranks.counts
        found: list[Finding] = []
        looks: dict[int, int] = {}
        if failed & _OF_LABELS:
            looks = looks_like(self._run.labels.confusion, self._run.labels.drawn_confusion)
            found += name_labels(self._run.recipe.texture, looks)
        if any(what.startswith(_SPECTRAL) for what in failed):
            labels = [label for label in np.flatnonzero(counts).tolist() if label not in looks]
            found += name_components(self._run.recipe.texture, self._fits(labels))
        if "label of a single sample" in failed and all(each.kind == "labels" for each in found):
            found += self._unlikely(looks)
        return found

    def _fits(self, labels: list[int]) -> dict[int, ClassFit]:
        run = self._run
        if run.recipe.texture.draws_length_scales:
            return {label: run.scores.fit(label, run.drawn_scores) for label in labels}
        spectra = run.looking.measures.spectra()
        if np.count_nonzero(spectra.clean) < 4 * len(run.recipe.components):
            return {}  # too few to fit two numbers a component
        fitting, counts = Fitting(spectra), run.ranks.counts
        return {
            label: fitting.fit(
                label,
                run.powers[label] / counts[label],
                int(counts[label]),
                run.drawn_powers[label] / run.drawn,
                run.drawn,
            )
            for label in labels
        }

    def _unlikely(self, looks: dict[int, int]) -> Iterator[Finding]:
        names = self._run.recipe.classes
        single = [each for each in self._run.labels.unlikely(_UNLIKELY) if each[1] not in looks]
        if len(single) > _LISTED:
            text = f"at least {len(single)} samples look like another class than their label's"
            yield Finding("labels", text, tuple(each[0] for each in single))
            return
        for sample, label, likely in single:
            text = f"sample {sample} is labelled {names[label]} and looks like {names[likely]}"
            yield Finding("labels", text, (sample,))
