"""What an imported dataset says of itself, in the place of a recipe.

Nothing can draw it again: where a recipe tells how to make the pixels, this tells
whence they came. It answers all else that stores and readers ask of a recipe.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError, RecipeError
from gpgen.finite import all_finite
from gpgen.golkar2018.sources import Source, open_source
from gpgen.recipe import Component, Recipe
from gpgen.splits import ListedSplit, Split
from gpgen.store.failures import reading
from gpgen.store.litter import is_litter

__all__ = ["Imported", "ImportedSampler", "describe"]

_CLASS_NAME: Final = re.compile(r"\d{1,6}(\.\d{1,9})?(-\d{1,6}(\.\d{1,9})?){0,15}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Imported(Recipe, frozen=True, forbid_unknown_fields=True):
    """An imported dataset.

    Parameters
    ----------
    class_names
        By label.
    source_kind
        "gp" for crosses of the 2018 archive, "npy" for single textures.
    source_name, source_sha256
        The file or folder imported, and the hash of its content.
    image_labels
        Of every image; empty where it is the index modulo the number of classes.
    path
        Where the source lies while it is being imported; never stored.
    """

    components: tuple[Component, ...] = ()
    standardize: bool = False
    dtype: Literal["float32", "float64"] = "float32"  # type: ignore[assignment]
    algorithm: Literal["imported"] = "imported"  # type: ignore[assignment]
    class_names: tuple[str, ...] = ()
    source_kind: Literal["gp", "npy"] = "gp"
    source_name: str = ""
    source_sha256: str = ""
    image_labels: tuple[int, ...] = ()
    path: str = ""

    def __post_init__(self) -> None:
        names, labels = self.class_names, self.image_labels
        depths = {name.count("-") for name in names}
        good = (
            len(self.shape) == 2
            and all(1 <= side <= 1 << 14 for side in self.shape)
            and 0 < len(names) <= 1 << 12
            and all(_CLASS_NAME.fullmatch(name) for name in names)
            and len(depths) == 1
            and all(0 <= label < len(names) for label in labels)
            and _SHA256.fullmatch(self.source_sha256)
            and self.name.isprintable()
            and 0 < len(self.name) <= 100
            and self.source_name.isprintable()
            and not self.components
        )
        if not good:
            raise RecipeError(
                "the description of the imported dataset contradicts itself", "import it again"
            )
        self._splitter()

    def __hash__(self) -> int:
        return hash(self.sha256)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], where: str = "imported dataset") -> Imported:
        """Read what `to_dict` has written."""
        try:
            return msgspec.convert({**fields, "path": ""}, cls)
        except msgspec.ValidationError as error:
            raise RecipeError(f"{where}: {str(error)[0].lower()}{str(error)[1:]}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the source's place as plain values that JSON can hold."""
        return {key: value for key, value in super().to_dict().items() if key != "path"}

    def to_toml(self) -> str:
        """Return a note in TOML's form; it can't be made from."""
        return f"# Imported: no recipe makes it.\nsource = {json.dumps(self.source_name)}\n"

    @property
    def is_drawn(self) -> bool:
        """No: nothing draws imported images again."""
        return False

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label."""
        return self.class_names

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def length_scales_of(self, label: int) -> tuple[float, ...]:
        """Return the length-scales that a class's name says, in pixels."""
        return tuple(map(float, self.class_names[label].split("-")))

    def label_of(self, index: int) -> int:
        """Return the label of an image."""
        return self.image_labels[index] if self.image_labels else index % self.class_count

    def labels(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the labels of images start..stop-1."""
        if not self.image_labels:
            return np.arange(start, stop, dtype=np.int64) % self.class_count
        return np.array(self.image_labels[start:stop], dtype=np.int64)

    @property
    def length_scale_table(self) -> npt.NDArray[np.float64]:
        """Each class's length-scales in pixels, shape (class, component)."""
        return np.array([self.length_scales_of(label) for label in range(self.class_count)])

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
        return self._splitter().split_codes(0, stop)[ranks[start:]]

    def split(self, name: str, n: int) -> Split:
        """Return which of the first n images are in a split."""
        if not self.image_labels:
            return super().split(name, n)
        code = list(self.splits).index(name)
        return ListedSplit(np.flatnonzero(self.split_codes(0, n) == code))

    def sampler(self) -> ImportedSampler:
        """Return what reads the images, while they are being imported."""
        if not self.path:
            raise DatasetError(
                f"the images were imported from {self.source_name} and can't be drawn again",
                "compare with the source itself",
            )
        return ImportedSampler(self)

    def _splitter(self) -> Recipe:
        one = Component("rbf", (1.0,))
        return Recipe(self.name, (2,), (one,), standardize=False, splits=self.splits)


class ImportedSampler:
    """Reads a source where a sampler would draw."""

    def __init__(self, recipe: Imported) -> None:
        self._recipe = recipe
        self._source = open_source(recipe.path)
        found = describe(self._source, recipe.source_sha256, recipe.splits)
        if found.to_dict() != {**recipe.to_dict(), "dtype": found.dtype}:
            raise DatasetError(f"{recipe.path} has changed", "import it again with --overwrite")
        self._images = self._source.images()
        self._position = 0

    def images(self, start: int, stop: int, out: npt.NDArray[Any] | None = None) -> Any:  # noqa: ANN401
        """Read images start..stop-1, shape (stop - start, y, x)."""
        if out is None:
            out = np.empty((stop - start, *self._recipe.shape), self._recipe.numpy_dtype)
        if start < self._position:
            self._images, self._position = self._source.images(), 0
        while self._position < start:
            next(self._images)
            self._position += 1
        for image in out:
            with np.errstate(over="ignore"):  # told below
                image[...] = next(self._images)
            if not all_finite(image):
                raise DatasetError(
                    f"image {self._position} of {self._recipe.source_name} has pixels that are not "
                    f"finite in {image.dtype}",
                    "import a source without it",
                )
            self._position += 1
        return out


def describe(source: Source, sha256: str, splits: Mapping[str, float]) -> Imported:
    """Describe a source as a dataset of its own precision."""
    labels = source.labels
    cyclic = all(label == i % len(source.class_names) for i, label in enumerate(labels))
    dtype: Any = source.dtype.name
    return Imported(
        name="imported",
        shape=source.shape,
        dtype=dtype,
        splits=dict(splits),
        class_names=source.class_names,
        source_kind="gp" if source.kind == "gp" else "npy",
        source_name=source.name,
        source_sha256=sha256,
        image_labels=() if cyclic else labels,
    )


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of a folder's files."""
    if path.is_file():
        with reading(path, "give it again"), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        name = file_path.relative_to(path).as_posix()
        if is_litter(name):
            continue
        digest.update(f"{content_sha256(file_path)}  {name}\n".encode())
    return digest.hexdigest()
