"""What an imported dataset says of itself, where others have a recipe.

A recipe says how to make the pixels; this names their source, and nothing can draw them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.labelled_images import LabelledImages
from gpgen.recipe_checks import check_names
from gpgen.splits import ListedSplit, Split, split_codes
from gpgen.whole_numbers import number_below

__all__ = ["CLASS_NAME", "Imported"]

CLASS_NAME: Final = re.compile(r"\d{1,6}(\.\d{1,9})?(-\d{1,6}(\.\d{1,9})?){0,15}", re.ASCII)
"""A class of an imported dataset: length-scales in pixels, joined by "-"."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Imported(msgspec.Struct, LabelledImages, frozen=True, forbid_unknown_fields=True):
    """An imported dataset.

    Parameters
    ----------
    name, shape, dtype, splits
        As `LabelledImages` has them.
    components, boundary, standardize, seed, algorithm
        Always the same: format version 1 stores them, and tells by `algorithm` what it holds.
    class_names
        By label.
    source_kind
        "gp" for crosses of the 2018 archive, "npy" for single textures.
    source_name, source_sha256
        The file or folder imported, and the hash of its content.
    image_labels
        Of every image; empty where it is the index modulo the number of classes.
    """

    # In the order in which they are stored.
    name: str
    shape: tuple[int, ...]
    components: tuple[()] = ()
    boundary: Literal["open"] = "open"
    standardize: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    seed: Literal[0] = 0
    algorithm: Literal["imported"] = "imported"
    splits: dict[str, float] = msgspec.field(
        default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1}
    )
    class_names: tuple[str, ...] = ()
    source_kind: Literal["gp", "npy"] = "gp"
    source_name: str = ""
    source_sha256: str = ""
    image_labels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.name, self.seed, self.splits)
        names, labels = self.class_names, self.image_labels
        depths = {name.count("-") for name in names}
        good = (
            len(self.shape) == 2
            and all(1 <= side <= 1 << 14 for side in self.shape)
            and 0 < len(names) <= 1 << 12
            and all(CLASS_NAME.fullmatch(name) for name in names)
            and len(depths) == 1
            and all(0 <= label < len(names) for label in labels)
            and _SHA256.fullmatch(self.source_sha256)
            and self.source_name.isprintable()
            and not self.standardize
        )
        if not good:
            raise RecipeError(
                "the description of the imported dataset contradicts itself", "import it again"
            )

    def __hash__(self) -> int:
        return hash(self.sha256)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], where: str = "imported dataset") -> Imported:
        """Read what `to_dict` has written."""
        try:
            return msgspec.convert(dict(fields), cls)
        except msgspec.ValidationError as error:
            raise RecipeError(f"{where}: {str(error)[0].lower()}{str(error)[1:]}") from None

    def to_toml(self) -> str:
        """Return a note in TOML's form; it can't be made from."""
        return f"# Imported: no recipe makes it.\nsource = {json.dumps(self.source_name)}\n"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label."""
        return self.class_names

    def length_scales_of(self, label: int, seed: int | None = None) -> tuple[float, ...]:  # noqa: ARG002
        """Return the length-scales that a class's name says, in pixels."""
        label = number_below("label", label, len(self.class_names))
        return tuple(map(float, self.class_names[label].split("-")))

    def label_of(self, index: int) -> int:
        """Return the label of an image."""
        return self.image_labels[index] if self.image_labels else super().label_of(index)

    def labels(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the labels of images start..stop-1."""
        if not self.image_labels:
            return super().labels(start, stop)
        return np.array(self.image_labels[start:stop], dtype=np.int64)

    def split_codes(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the splits of images start..stop-1: of each class, the same share."""
        if not self.image_labels:
            return super().split_codes(start, stop)
        labels = self.labels(0, stop)
        # The k-th image of each class goes where the k-th sample of a recipe would.
        ranks = np.zeros(stop, dtype=np.int64)
        for label in range(self.class_count):
            mine = np.flatnonzero(labels == label)
            ranks[mine] = np.arange(len(mine))
        return split_codes(self.splits, 1, 0, stop)[ranks[start:]]

    def split(self, name: str, n: int) -> Split:
        """Return which of the first n images are in a split."""
        if not self.image_labels:
            return super().split(name, n)
        code = list(self.splits).index(name)
        return ListedSplit(np.flatnonzero(self.split_codes(0, n) == code))
