"""Sums of textures, one of each list of length-scales: what the 2018 program calls a cross."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gpgen.errors import UsageError
from gpgen.exact.texture import length_scale_name

__all__ = ["Cross"]


@dataclass(frozen=True)
class Cross:
    """A dataset of sums, each of one texture from every list of length-scales.

    Each combination of length-scales is a class. "Cross" is the 2018 program's word.

    Parameters
    ----------
    length_scales
        The lists, in pixels: of equal length, with no length-scale in common.
    weights
        What each list's texture is multiplied by.

    Raises
    ------
    UsageError
        If the lists differ in length or share a length-scale, or a weight is missing.
    """

    length_scales: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = {len(choices) for choices in self.length_scales}
        everything = list(itertools.chain.from_iterable(self.length_scales))
        if len(lengths) != 1 or 0 in lengths or len(set(everything)) < len(everything):
            raise UsageError(
                f"{self.name} can't be crossed",
                "give lists of equal length without a length-scale in common, like 9.5-10+80-140",
            )
        if len(self.weights) != len(self.length_scales):
            raise UsageError(
                f"{self.name} needs {len(self.length_scales)} weights, and has {len(self.weights)}",
                "give one weight for each list",
            )
        for weight in self.weights:
            if not 0 < abs(weight) <= 1e6:
                raise UsageError(
                    f"{self.name} has the weight {weight:g}", "use numbers from above 0 to 1e6"
                )

    @classmethod
    def parse(cls, text: str, weights: tuple[float, ...]) -> Cross:
        """Read lists written as in the names of ``.gp`` files, like ``9.5-10+80-140``."""
        if not re.fullmatch(r"\d+(\.\d+)?([-+]\d+(\.\d+)?)*", text):
            raise UsageError(f"{text!r} isn't a cross", "write one like 9.5-10+80-140")
        lists = tuple(tuple(float(v) for v in part.split("-")) for part in text.split("+"))
        return cls(lists, weights)

    @property
    def name(self) -> str:
        """As the 2018 program names it, like ``GP_9.5-10+80-140``."""
        return "GP_" + "+".join(
            "-".join(length_scale_name(v) for v in choices) for choices in self.length_scales
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Of every label: the length-scales in increasing order, joined by ``-``."""
        chosen = (self._chosen(label) for label in range(self.class_count))
        return tuple("-".join(length_scale_name(v) for v in sorted(choice)) for choice in chosen)

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        choices: int = len(self.length_scales[0]) ** len(self.length_scales)
        return choices

    def images_per_class(self, samples: Mapping[float, int]) -> int:
        """Return how many images each class has, from so many samples of each length-scale.

        No sample is used twice, so with m lists of q length-scales each, the samples of a
        length-scale are divided among the q^(m-1) classes that contain it.
        """
        fewest = min(samples.get(v, 0) for v in itertools.chain.from_iterable(self.length_scales))
        return fewest * len(self.length_scales[0]) // self.class_count

    def samples_of(self, label: int, image: int, per_class: int) -> tuple[tuple[float, int], ...]:
        """Return which samples make an image, as (length-scale, number from 0), one a list.

        Parameters
        ----------
        label
            The class: in mixed radix, the first list fastest, the choices.
        image
            The image's number within its class.
        per_class
            How many images each class has.
        """
        digits = self._digits(label)
        base = len(self.length_scales[0])
        samples = []
        for place, (choices, digit) in enumerate(zip(self.length_scales, digits, strict=True)):
            others = digits[:place] + digits[place + 1 :]
            position = sum(other * base**power for power, other in enumerate(others))
            samples.append((choices[digit], position * per_class + image))
        return tuple(samples)

    def _chosen(self, label: int) -> tuple[float, ...]:
        digits = self._digits(label)
        return tuple(v[d] for v, d in zip(self.length_scales, digits, strict=True))

    def _digits(self, label: int) -> tuple[int, ...]:
        base = len(self.length_scales[0])
        return tuple(label // base**place % base for place in range(len(self.length_scales)))
