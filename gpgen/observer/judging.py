"""The ideal observer at work: what it makes of simulated images, and how often it is right."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from gpgen.exact.texture import Texture
from gpgen.observer.class_modes import ClassModes, classes_in_modes
from gpgen.observer.likelihood import log_likelihood
from gpgen.observer.mode_set import ModeSet, levels
from gpgen.observer.result import Accuracies, Estimate
from gpgen.observer.simulation import SeenImages, draw, joined
from gpgen.observer.standardized import log_density

__all__ = ["IdealObserver", "converged_observer", "noise_variance", "together"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_STILL: Final = 0.002
"""A smaller change of the accuracy than this is none."""

_PILOT: Final = 1000
"""Images by which the number of modes is chosen."""

_DOUBT: Final = 20.0
"""Differences of log-likelihoods above which powers change nothing."""

_MOSTLY_SEEN: Final = 0.9
_ALWAYS_RIGHT: Final = 0.999


def noise_variance(texture: Texture, noise: float) -> float:
    """Return the variance of noise whose deviation is given as a part of the images'."""
    return noise**2 * sum(component.rms_weight**2 for component in texture.components)


@dataclass(frozen=True, eq=False)
class IdealObserver:
    """Knows the classes' distributions, sees some modes of an image, and names its class.

    Parameters
    ----------
    texture
        What the classes are; all are equally frequent.
    level
        How often the modes have been doubled.
    noise
        The variance of white noise in a pixel.
    modes, classes
        What `classes_in_modes` gave.
    """

    texture: Texture
    level: int
    noise: float
    modes: ModeSet
    classes: tuple[ClassModes, ...]

    @classmethod
    def of(cls, texture: Texture, level: int, noise: float) -> IdealObserver:
        """Project the classes."""
        return cls(texture, level, noise, *classes_in_modes(texture, level, noise))

    @property
    def modes_by_axis(self) -> tuple[int, ...]:
        """Up to which mode it looks."""
        return levels(self.texture.shape)[self.level]

    @property
    def sees_most(self) -> bool:
        """Whether the modes hold nearly all of the variance of each component."""
        pixels = math.prod(self.texture.shape)
        weights = [component.rms_weight for component in self.texture.components]
        return all(
            component.seen >= _MOSTLY_SEEN * weight**2 * pixels
            for components in self.classes
            for weight, component in zip(weights, components, strict=True)
        )

    def simulate(self, samples: int, seed: int) -> tuple[Array, Labels]:
        """Judge simulated images, as many of every class.

        Returns
        -------
        log_likelihoods
            float64, shape (classes, images): those of a class together.
        labels
            The images' classes, shape (images,).
        """
        images, labels = self.draw(samples, seed)
        return self.judge(images), labels

    def draw(self, samples: int, seed: int) -> tuple[SeenImages, Labels]:
        """Simulate images, as many of every class, and return their classes too."""
        count = math.ceil(samples / len(self.classes))
        images = joined(
            [
                draw(components, self.modes, self.noise, count, (seed, label))
                for label, components in enumerate(self.classes)
            ]
        )
        return images, np.repeat(np.arange(len(self.classes)), count)

    def judge(self, images: SeenImages) -> Array:
        """Return the log-likelihood of each class, shape (classes, images)."""
        return self.knowing_powers(self.ignoring_powers(images), images)

    def ignoring_powers(self, images: SeenImages) -> Array:
        """Return the log-likelihoods of whoever doesn't know that powers are fixed."""
        spreads = [
            max(component.spread for component in choices)
            for choices in zip(*self.classes, strict=True)
        ]
        return np.stack(
            [log_likelihood(each, self.noise, images, spreads) for each in self.classes]
        )

    def knowing_powers(self, log_likelihoods: Array, images: SeenImages) -> Array:
        """Return log-likelihoods that use the powers too, where there is a doubt without them.

        Other classes are as far behind the likeliest one as they were.
        """
        if not self.texture.standardize:
            return log_likelihoods
        behind = log_likelihoods.max(axis=0) - log_likelihoods
        doubtful = behind < _DOUBT
        doubtful &= doubtful.sum(axis=0) > 1
        found = np.full(log_likelihoods.shape, -np.inf)
        for label, components in enumerate(self.classes):
            which = np.flatnonzero(doubtful[label])
            if len(which):
                found[label, which] = log_density(components, self.noise, images.taken(which))
        likeliest = np.where(doubtful.any(axis=0), found.max(axis=0), 0.0)
        return np.where(doubtful, found, likeliest - behind)

    def accuracies(self, log_likelihoods: Array, labels: Labels) -> Accuracies:
        """Return how often the most probable class is right, and each component's choice."""
        choices = np.array([self.texture.choices_of(k) for k in range(len(self.classes))])
        components: list[Estimate | None] = []
        for number, component in enumerate(self.texture.components):
            if component.choice_count == 1:
                components.append(None)
                continue
            of_class = choices[:, number]
            by_choice = [
                logsumexp(log_likelihoods[of_class == k], axis=0)
                for k in range(component.choice_count)
            ]
            components.append(_estimate(np.stack(by_choice), of_class[labels]))
        return Accuracies(_estimate(log_likelihoods, labels), tuple(components))


def _estimate(scores: Array, labels: Labels) -> Estimate:
    """Return how often the largest score is the label's, and the standard error of that.

    The error is that of one right and one wrong image more (Agresti and Coull, The American
    Statistician 52, 1998, 119), so that it isn't 0 where all were right.
    """
    right, count = int((scores.argmax(axis=0) == labels).sum()), len(labels)
    share = (right + 1) / (count + 2)
    return Estimate(right / count, math.sqrt(share * (1 - share) / (count + 2)))


def together(log_likelihoods: Array, labels: Labels, images: int) -> tuple[Array, Labels]:
    """Return log-likelihoods of groups of images that are known to share a class."""
    classes = len(log_likelihoods)
    count = len(labels) // classes // images
    by_class = log_likelihoods.reshape(classes, classes, -1)[:, :, : count * images]
    summed: Array = by_class.reshape(classes, classes * count, images).sum(axis=-1)
    return summed, np.repeat(np.arange(classes), count)


def converged_observer(
    texture: Texture, noise: float, seed: int, *, pilot: int = _PILOT
) -> tuple[IdealObserver, bool]:
    """Double the modes until the accuracy stands still, or there are no more.

    It stands still when no component's accuracy has moved by 0.002 among `pilot` images, whose low
    modes are the same ones, and the modes hold nine tenths of each component's variance: until
    then small differences between short length-scales may lie ahead. An accuracy of 0.999 needn't.

    Returns
    -------
    observer
        The last one.
    converged
        Whether it stood still, or sees all modes.
    """
    last: _Pilot | None = None
    for level, counts in enumerate(levels(texture.shape)):
        observer = IdealObserver.of(texture, level, noise)
        if counts == texture.shape:
            return observer, True
        now = _Pilot(observer, pilot, seed)
        if min(now.floors) >= _ALWAYS_RIGHT:
            return observer, True
        if last is not None and observer.sees_most and _stands_still(last.found, now.found):
            return observer, True
        last = now
    return observer, False


class _Pilot:
    """Some images, by which it is seen what one level of modes tells."""

    def __init__(self, observer: IdealObserver, samples: int, seed: int) -> None:
        self._observer = observer
        self._images, self._labels = observer.draw(samples, seed)
        self._ignoring_powers = observer.ignoring_powers(self._images)

    @property
    def floors(self) -> tuple[float, ...]:
        """What the components' accuracies aren't below: powers aren't used."""
        return self._observer.accuracies(self._ignoring_powers, self._labels).of_components

    @functools.cached_property
    def found(self) -> tuple[float, ...]:
        """The components' accuracies."""
        exact = self._observer.knowing_powers(self._ignoring_powers, self._images)
        return self._observer.accuracies(exact, self._labels).of_components


def _stands_still(before: Sequence[float], now: Sequence[float]) -> bool:
    return all(abs(a - b) < _STILL or b >= _ALWAYS_RIGHT for a, b in zip(before, now, strict=True))
