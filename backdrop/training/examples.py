"""The images of one run: from a dataset, or drawn from a recipe and kept nowhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backdrop.training.settings import Target
from gpgen.errors import Argument, UsageError
from gpgen.opening import recipe_or_dataset
from gpgen.recipe import Recipe
from gpgen.torch import sample_batch

__all__ = ["POOL", "Examples", "Source", "drawn"]

POOL = 10_000
"""A recipe stands for its first so many samples."""


def drawn(recipe: Recipe) -> list[int]:
    """Return which components draw their length-scales."""
    return [k for k, component in enumerate(recipe.components) if component.drawn_count > 1]


@dataclass(frozen=True)
class Examples:
    """Images and their classes or length-scales.

    Attributes
    ----------
    image
        float32, shape ``(sample, 1, *axes)``, divided by the root of the sum of
        the weighted components' variances, so about unit variance.
    label
        int64, shape ``(sample,)``; or, if length-scales are the target, the natural logarithms of
        those that are drawn, in pixels: float32, shape ``(sample, component)``.
    """

    image: Tensor
    label: Tensor


class Source:
    """Where examples come from: the path of a dataset or recipe, or a built-in recipe's name.

    A dataset of a recipe's first 10,000 samples and the recipe itself give the
    same examples.

    Parameters
    ----------
    source
        As above.
    target
        As for `Settings`.
    device
        For torch: where examples are kept. On a GPU of CUDA, where products are exact, a recipe's
        images are drawn there, too, and are the same.

    Attributes
    ----------
    recipe
        The recipe.
    n
        Samples to choose from.
    device
        As above.

    Raises
    ------
    UsageError
        If it is an imported dataset, or there is nothing of the target to learn.
    """

    def __init__(self, source: str, target: Target = "label", device: str = "cpu") -> None:
        self.target = target
        self.device = torch.device(device)
        self._dataset: Any = None
        self._kept: dict[tuple[str, int], Examples] = {}
        self._last: tuple[tuple[int, int], Examples] | None = None
        found = recipe_or_dataset(source)
        if isinstance(found, Recipe):
            self.recipe, self.n = found, POOL
        else:
            if not isinstance(found.recipe, Recipe):
                raise UsageError(
                    f"{found.path} was imported, so the scale of its images is not known",
                    "train on a recipe, or on a dataset that was made from one",
                )
            self._dataset, self.recipe, self.n = found, found.recipe, found.n

        self._check_target(source)

    def _check_target(self, source: str) -> None:
        found = len(drawn(self.recipe))
        if self.target == "label" and self.recipe.class_count == 1:
            drawing = f"use {Argument.TARGET} length_scales, which learns those that it draws"
            raise UsageError(
                f"{source} has one class: there is nothing to tell apart",
                drawing if found else "offer a second length-scale",
            )
        if self.target != "label" and found == 0:
            raise UsageError(
                f"{source} draws no length-scale from a range",
                f"leave out {Argument.TARGET} to tell its classes apart, or give a range",
            )
        if self.target == "length_scale" and found > 1:
            raise UsageError(
                f"{source} draws {found} length-scales", f"use {Argument.TARGET} length_scales"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many choices each component offers."""
        return tuple(component.choice_count for component in self.recipe.components)

    def training(self, size: int, seed: int) -> Examples:
        """Choose training images at random from the split ``train``, as many of each class.

        The last ones are kept, for the next method.

        Raises
        ------
        UsageError
            If `size` is no multiple of the number of classes, or there are not
            as many.
        """
        if self._last is None or self._last[0] != (size, seed):
            random = np.random.default_rng([seed, 0x7261696E])
            self._last = (size, seed), self._examples("train", size, random)
        return self._last[1]

    def held_out(self, split: str, size: int) -> Examples:
        """Return the first images of a split, as many of each class; drawn once, then kept.

        Raises
        ------
        UsageError
            As `training`.
        """
        if (split, size) not in self._kept:
            self._kept[split, size] = self._examples(split, size, None)
        return self._kept[split, size]

    def most(self, split: str, size: int) -> int:
        """Return the most images that a split has, as many of each class, up to `size`.

        Raises
        ------
        UsageError
            If there is no such split, or it has no image of some class.
        """
        classes = len(self.recipe.classes)
        fewest = min(len(here) for here in self._by_class(split))
        if fewest == 0:
            raise UsageError(
                f"split {split!r} of {self.n} samples has no image of some class",
                "make a larger dataset",
            )
        return classes * max(1, min(fewest, size // classes))

    def check(self, split: str, size: int) -> None:
        """Raise what `training` and `held_out` would raise, without drawing an image."""
        self._choose(split, size, None)

    def _examples(self, split: str, size: int, random: np.random.Generator | None) -> Examples:
        index = self._choose(split, size, random)
        # A tensor: by a number a GPU would multiply by the inverse, which rounds differently.
        scale = torch.tensor(math.sqrt(self.recipe.texture.moments[1]), dtype=torch.float32)
        image = self._read(index).div_(scale.to(self.device))
        return Examples(image, torch.from_numpy(self._labels(index)).to(self.device))

    def _labels(self, index: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        if self.target == "label":
            return self.recipe.labels(0, self.n)[index]
        scales = self.recipe.length_scale_array(0, self.n)[index]
        if scales.ndim == 3:  # those that are drawn are the same along all axes
            scales = scales[:, :, 0]
        logarithms: npt.NDArray[np.float32] = np.log(
            scales[:, drawn(self.recipe)], dtype=np.float32
        )
        return logarithms

    def _choose(
        self, split: str, size: int, random: np.random.Generator | None
    ) -> npt.NDArray[np.int64]:
        classes = len(self.recipe.classes)
        chosen = []
        if size < classes or size % classes:
            below, above = size // classes * classes, (size // classes + 1) * classes
            fits = f"{below} or {above}" if below else f"{above}"
            raise UsageError(
                f"{size} images of {split!r} can't be divided evenly among {classes} classes",
                f"choose a multiple of {classes}: {fits}",
            )
        for label, here in enumerate(self._by_class(split)):
            if len(here) < size // classes:
                raise UsageError(
                    f"split {split!r} has {len(here)} images of class "
                    f"{self.recipe.classes[label]}, {size // classes} are wanted",
                    f"choose {self.most(split, size)} images or fewer, or make a larger dataset",
                )
            if random is not None:
                here = random.permutation(here)
            chosen.append(here[: size // classes])
        return np.sort(np.concatenate(chosen))

    def _by_class(self, split: str) -> list[npt.NDArray[np.int64]]:
        """Return the indices of each class's images in a split."""
        names = tuple(self.recipe.splits)
        if split not in names:
            raise UsageError(f"there is no split {split!r}", f"use one of {', '.join(names)}")
        codes = self.recipe.split_codes(0, self.n)
        labels = self.recipe.labels(0, self.n)
        here = codes == names.index(split)
        return [np.flatnonzero(here & (labels == k)) for k in range(len(self.recipe.classes))]

    def _read(self, index: npt.NDArray[np.int64]) -> Tensor:
        if self._dataset is None:
            place = self.device if self.device.type == "cuda" else "cpu"
            return sample_batch(self.recipe, index, place).to(self.device)
        pixels = self._dataset.read(index).astype(np.float32)
        return torch.from_numpy(pixels[:, None]).to(self.device)
