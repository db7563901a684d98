"""What a dataset and a view of some of its samples share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
import numpy.typing as npt

from gpgen.dataset.arrays import ChosenArray, LazyArray
from gpgen.errors import DatasetError, MissingPackageError, UsageError
from gpgen.format.base import Reader
from gpgen.format.image_writing import batch_size
from gpgen.format.manifest import Manifest
from gpgen.formatting import count
from gpgen.indexing import sample_index, sample_indices
from gpgen.io.paths import AnyPath
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe
from gpgen.sampling import SAMPLING_VERSION, Sample, seeds_at
from gpgen.splits import ListedSplit, Split

if TYPE_CHECKING:
    import xarray

__all__ = ["DatasetView", "Samples"]

Indices = Sequence[int] | npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]

ARRAYS: Final = ("image", "label", "length_scales", "weights", "seed", "split_code")

_MISSING: Final = {
    "seed": "was imported, so its samples have no seeds",
    "weights": "draws no weights: they are the recipe's",
}


class Samples:
    """Samples of a dataset on disk: all, or those of a view.

    ``samples[i]`` is a `gpgen.Sample`, ``samples[2:5]``, ``samples[[7, 3]]`` and
    ``samples[samples.label == 0]`` are views, and a loop reads a few MiB at a time.
    """

    path: AnyPath
    recipe: LabelledImages
    manifest: Manifest
    chosen: Split | None
    """Which samples of the dataset these are; ``None`` for all."""
    reader: Reader
    image: LazyArray
    label: LazyArray
    length_scales: LazyArray
    weights: LazyArray
    seed: LazyArray
    split_code: LazyArray

    def __getattr__(self, name: str) -> LazyArray:
        missing = _MISSING.get(name)
        if missing is not None and self.__dict__.get("recipe") is not None:
            raise AttributeError(f"{self.path} {missing}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _whole(self) -> Samples:
        """The dataset of which these are samples."""
        raise NotImplementedError

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label."""
        return tuple(self.manifest.class_names)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits' names, by code."""
        return tuple(self.manifest.split_names)

    @property
    def indices(self) -> Numbers:
        """The index in the whole dataset of each sample, int64, shape ``(sample,)``."""
        return self._indices_at(np.arange(len(self), dtype=np.int64))

    def _indices_at(self, positions: Numbers) -> Numbers:
        return positions if self.chosen is None else self.chosen.indices(positions)

    def read(self, indices: Indices) -> npt.NDArray[Any]:
        """Read images, in the order asked for, and verify the checksum of each.

        Parameters
        ----------
        indices
            Whole numbers from ``-len`` to ``len - 1``, repeats allowed, or a mask.

        Returns
        -------
        ndarray, shape (len(indices), *recipe.shape), the recipe's dtype

        Raises
        ------
        IndexError
            If an index is out of range.
        DatasetError
            If a file is missing or damaged, or the dataset was replaced since it was opened.
        StorageError
            If a disk or an object store fails.
        """
        return self.image.read(sample_indices(indices, len(self), self._what))

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def _what(self) -> str:
        return "the dataset"

    @overload
    def __getitem__(self, key: slice | Indices) -> DatasetView: ...

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Sample: ...

    def __getitem__(self, key: int | np.integer[Any] | slice | Indices) -> Sample | DatasetView:
        """Return a sample, or a view of those that a slice, a list or a mask names.

        Raises
        ------
        IndexError
            If there is no such sample, or the key is no whole number.
        DatasetError
            If the sample is damaged.
        """
        if isinstance(key, slice | list | range):
            return self.subset(key)
        if isinstance(key, np.ndarray) and key.ndim == 1:
            return self.subset(key)
        position = sample_index(key, len(self), self._what)
        (sample,) = self._samples_at(np.array([position], dtype=np.int64))
        return sample

    def __iter__(self) -> Iterator[Sample]:
        """Yield each sample, having read a few MiB of images at once."""
        step = batch_size(self.recipe)
        for start in range(0, len(self), step):
            positions = np.arange(start, min(start + step, len(self)), dtype=np.int64)
            try:
                samples = self._samples_at(positions)
            except DatasetError:
                # Those before the damaged one are given out first.
                for position in positions:
                    yield self[position]
            else:
                yield from samples

    def _samples_at(self, positions: Numbers) -> list[Sample]:
        images: Sequence[npt.NDArray[Any]] = list(self.image.read(positions))
        if len(images) > 1:
            # A sample that is kept shall not keep the whole batch in memory.
            images = [image.copy() for image in images]
        numbers = self._indices_at(positions).tolist()
        return [
            self._sample(image, index, seed)
            for image, index, seed in zip(images, numbers, self._seeds(positions), strict=True)
        ]

    def _sample(self, image: npt.NDArray[Any], index: int, seed: int | None) -> Sample:
        label = self.recipe.label_of(index)
        scales = self.recipe.length_scales_of(label, seed)
        weights = () if seed is None else self.recipe.weights_of(seed)
        return Sample(image, label, self.classes[label], scales, seed, index, weights)

    def _seeds(self, positions: Numbers) -> Sequence[int | None]:
        if not isinstance(self.recipe, Recipe):
            return [None] * len(positions)
        if self.manifest.sampling_version != SAMPLING_VERSION:
            return list(map(int, self.seed.read(positions)))
        found: list[int] = seeds_at(self.recipe.seed, self._indices_at(positions)).tolist()
        return found

    def split(self, name: str) -> DatasetView:
        """Return a view of the samples of a split, ascending.

        Raises
        ------
        UsageError
            If there is no split of that name.
        """
        return self.subset(split=name)

    def subset(
        self,
        samples: slice | Indices | None = None,
        *,
        classes: str | int | Sequence[str | int] | None = None,
        split: str | None = None,
    ) -> DatasetView:
        """Return a view of the samples that fulfil all conditions given; nothing is read.

        Parameters
        ----------
        samples
            A slice, indices in any order and repeated if you like, or a mask.
        classes
            A class's name or label, or several.
        split
            The name of a split.

        Raises
        ------
        IndexError
            If `samples` names one that doesn't exist.
        UsageError
            If there is no such class or split.
        """
        if split is not None and split not in self.splits:
            raise UsageError(f"there is no split {split!r}", f"use one of {', '.join(self.splits)}")
        labels = None if classes is None else self._labels(classes)
        n = self.manifest.n
        if split is not None and self.chosen is None and samples is None and labels is None:
            return DatasetView(self._whole, self.recipe.split(split, n))
        if samples is None:
            samples = slice(None)
        if isinstance(samples, slice):
            positions = np.arange(*samples.indices(len(self)), dtype=np.int64)
        else:
            positions = sample_indices(samples, len(self), self._what)
        numbers = self._indices_at(positions)
        if split is not None:
            members = self.recipe.split(split, n)
            numbers = numbers[members.below(numbers + 1) > members.below(numbers)]
        if labels is not None:
            found = [self.recipe.label_of(index) in labels for index in numbers.tolist()]
            numbers = numbers[np.array(found, dtype=bool)]
        return DatasetView(self._whole, ListedSplit(numbers))

    def _labels(self, classes: str | int | Sequence[str | int]) -> set[int]:
        wanted = [classes] if isinstance(classes, str) or np.ndim(classes) == 0 else list(classes)  # type: ignore[arg-type]
        labels = set()
        for one in wanted:
            if isinstance(one, str) and one in self.classes:
                labels.add(self.classes.index(one))
            elif not isinstance(one, str):
                labels.add(sample_index(one, len(self.classes), "the list of classes"))
            else:
                known = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
                raise UsageError(f"there is no class {one!r}", f"use one of {known}, or a label")
        return labels

    def to_xarray(self) -> xarray.Dataset:
        """Return the samples as an `xarray.Dataset`; images are read when they are needed.

        Returns
        -------
        xarray.Dataset
            ``image`` with the dimensions ``(sample, y, x)``, or ``(sample, x)`` and
            ``(sample, z, y, x)``; the coordinates ``sample`` (the index in the whole dataset),
            ``label``, ``class_name``, ``split`` (its name), ``length_scales`` (pixels, one a
            component), ``weights`` where they are drawn, and ``seed`` unless it was imported.

        Raises
        ------
        MissingPackageError
            If xarray isn't installed.
        """
        try:
            from gpgen.dataset.in_xarray import attributes_of, to_xarray
        except ImportError as error:
            raise MissingPackageError(
                "to_xarray needs xarray, which isn't installed",
                "install it with `pip install 'gpgen[xarray]'`",
            ) from error
        labels = self.label[:]
        scales = ("sample", "component", "axis")[: self.length_scales.ndim]
        coordinates: dict[str, Any] = {
            "sample": self.indices,
            "label": ("sample", labels),
            "class_name": ("sample", np.array(self.classes)[labels]),
            "split": ("sample", np.array(self.splits)[self.split_code[:]]),
            "length_scales": (scales, self.length_scales[:], {"units": "pixel"}),
        }
        if "weights" in self.__dict__:
            coordinates["weights"] = (("sample", "component"), self.weights[:])
        if isinstance(self.recipe, Recipe):
            coordinates["seed"] = ("sample", self.seed[:])
        return to_xarray(self.image, coordinates, attributes_of(self.recipe, self.path))

    def _repr_html_(self) -> str:
        """Show a few thumbnails in a notebook."""
        from gpgen.dataset.in_notebook import as_html

        return as_html(repr(self).strip("<>"), lambda count: [*self[:count]])

    def _description(self) -> str:
        shape = " x ".join(map(str, self.recipe.shape))
        return f"{len(self)} samples {shape}, {count(len(self.classes), 'class')}"


class DatasetView(Samples):
    """Some samples of a dataset, in an order of their own; it owns no files and copies nothing.

    It has the dataset's arrays (`image`, `label` and so on), with these samples only. `indices`
    says where they are in the whole dataset.

    Parameters
    ----------
    whole
        The dataset.
    chosen
        Which of its samples.
    """

    chosen: Split

    def __init__(self, whole: Samples, chosen: Split) -> None:
        self._of = whole
        self.chosen = chosen
        self.reader = whole.reader
        self.path = whole.path
        self.recipe = whole.recipe
        self.manifest = whole.manifest
        for name in ARRAYS:
            if name in whole.__dict__:
                setattr(self, name, ChosenArray(whole.__dict__[name], chosen))

    @property
    def _whole(self) -> Samples:
        return self._of

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def _what(self) -> str:
        return "the view"

    def __reduce__(self) -> tuple[Callable[..., DatasetView], tuple[Samples, Split]]:
        return DatasetView, (self._of, self.chosen)

    def __repr__(self) -> str:
        return f"<DatasetView of {self.path}: {self._description()}>"
