"""What a contact sheet shows: which classes, which samples, each image small and finite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError
from gpgen.recipe_checks import nearest

__all__ = [
    "LARGEST",
    "SIDE",
    "ContactSheet",
    "choose_classes",
    "first_of_each",
    "names_explained",
    "reduced",
    "shown_plane",
]

Array = npt.NDArray[np.float64]

LARGEST: Final = 1e100
"""Larger values are shown as 0, like infinities: their squares may overflow."""

_MOST_CLASSES: Final = 8
_COLUMNS: Final = 4
SIDE: Final = 192
"""Pixels of an image's longer side, at most about."""
_BLOCK: Final = 2**16


def choose_classes(
    names: Sequence[str],
    present: Sequence[int],
    wanted: Sequence[str] | None = None,
    *,
    most: int = _MOST_CLASSES,
) -> list[int]:
    """Return the labels to show.

    Parameters
    ----------
    names
        Of all classes, by label.
    present
        Labels of which there are samples.
    wanted
        Names of the classes to show, in this order; by default all, or if there are too many, some
        evenly chosen, the first and the last included.
    most
        How many to choose.

    Raises
    ------
    UsageError
        If there is no class of a wanted name, or it has no sample.
    """
    if wanted is not None:
        if not wanted:
            raise UsageError("no classes to show", "name one or more")
        labels = {name: label for label, name in enumerate(names)}
        for name in wanted:
            if name not in labels:
                raise UsageError(f"there is no class {name!r}", nearest(name, tuple(names)))
            if labels[name] not in present:
                raise UsageError(f"class {name!r} has no sample", "name another")
        return [labels[name] for name in wanted]
    if len(present) <= most:
        return list(present)
    return [present[round(k * (len(present) - 1) / (most - 1))] for k in range(most)]


def first_of_each(
    labels: Callable[[int, int], npt.NDArray[np.int64]], n: int, classes: int, count: int
) -> list[list[int]]:
    """Return the first indices of each class.

    Parameters
    ----------
    labels
        Gives the labels of a range of samples.
    n, classes
        How many samples and classes there are.
    count
        How many of each class to return, at most.
    """
    found: list[list[int]] = [[] for _ in range(classes)]
    for start in range(0, n, _BLOCK):
        block = labels(start, min(start + _BLOCK, n))
        for label in np.unique(block):
            missing = count - len(found[label])
            if missing > 0:
                found[label] += (start + np.flatnonzero(block == label)[:missing]).tolist()
        if min(map(len, found)) == count:
            break
    return found


def shown_plane(shape: Sequence[int]) -> str:
    """Return which slice of a volume is shown; empty for images and lines."""
    return f"slice {shape[0] // 2} of {shape[0]}" if len(shape) == 3 else ""


def names_explained(names: Sequence[str], axes: int) -> list[str]:
    """Return what class names of a texture of so many axes mean, so far as they need words."""
    order = " \N{MULTIPLICATION SIGN} ".join("zyx"[-axes:])
    written = {
        r"(?<!e)-": "A-B: one a component",
        r"\dx\d": f"{'AxBxC'[: 2 * axes - 1]}: {order}",
        r"\.\.": "A..B: drawn for each image",
    }
    return [
        words for sign, words in written.items() if any(re.search(sign, name) for name in names)
    ]


def reduced(image: npt.NDArray[Any], most: int) -> Array:
    """Return an image of at most about `most` pixels a side, by the means of square blocks.

    Of a volume it is the middle slice; a line is returned whole. Values that aren't finite, or
    above 1e100, become 0.
    """
    plane = image.astype(np.float64)
    plane[~(np.abs(plane) <= LARGEST)] = 0
    if plane.ndim == 3:
        plane = plane[len(plane) // 2]
    factor = -(-max(plane.shape) // most)
    if plane.ndim == 1 or factor == 1:
        return plane
    down, across = (min(factor, size) for size in plane.shape)
    rows, columns = plane.shape[0] // down, plane.shape[1] // across
    plane = plane[: rows * down, : columns * across]
    # Image by image, not with numpy's sum, whose order, and so rounding, depends on the machine.
    total = np.zeros((rows, columns))
    for y, x in product(range(down), range(across)):
        total += plane[y::down, x::across]
    total /= down * across
    return total


@dataclass(frozen=True)
class ContactSheet:
    """The first samples of some classes.

    Parameters
    ----------
    names
        Of the classes shown.
    rows
        The images of each, `reduced`.
    left_out
        How many classes are not shown.
    """

    names: list[str]
    rows: list[list[Array]]
    left_out: int

    @property
    def omission(self) -> str:
        """How many classes are not shown, in words; empty if all are."""
        if not self.left_out:
            return ""
        return f"{self.left_out:,} of {len(self.names) + self.left_out:,} classes not shown"

    @classmethod
    def read(
        cls,
        names: Sequence[str],
        labels: Callable[[int, int], npt.NDArray[np.int64]],
        n: int,
        images: Callable[[Sequence[int]], Iterable[npt.NDArray[Any]]],
        *,
        classes: Sequence[str] | None = None,
        columns: int = _COLUMNS,
        most_classes: int = _MOST_CLASSES,
        side: int = SIDE,
    ) -> ContactSheet:
        """Choose and read what a sheet shows.

        Parameters
        ----------
        names, labels, n
            The classes' names; the labels of a range of samples; the number of samples.
        images
            Reads the images of some indices.
        classes
            Names of the classes to show; by default `most_classes`, evenly chosen from those that
            have samples.
        columns
            Samples a class.
        side
            Pixels of an image's longer side, at most about.

        Raises
        ------
        UsageError
            If there is no class of a wanted name, no sample at all, or `columns` is below 1.
        """
        if columns < 1:
            raise UsageError(f"columns is {columns}", "ask for 1 or more")
        indices = first_of_each(labels, n, len(names), columns)
        present = [label for label, found in enumerate(indices) if found]
        if not present:
            raise UsageError(
                "there are no samples to draw", "choose a split or classes that have some"
            )
        chosen = choose_classes(names, present, classes, most=most_classes)
        return cls(
            [names[label] for label in chosen],
            [[reduced(image, side) for image in images(indices[label])] for label in chosen],
            len(names) - len(chosen),
        )
