"""Map-style datasets: what they share, and textures on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, default_collate

from gpgen.dataset import Samples, open_dataset
from gpgen.errors import UsageError
from gpgen.format.pixels import PixelReader
from gpgen.format.pixels_ahead import pixel_reader
from gpgen.indexing import sample_index, sample_indices
from gpgen.io.paths import AnyPath
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe
from gpgen.splits import Split
from gpgen.torch.batches import Batch, empty_images

__all__ = ["Target", "TextureDataset", "Textures"]

Target = Literal["label", "length_scales", "weights", "both"]
Sample = tuple[Any, Any]

_TARGETS = ("label", "length_scales", "weights", "both")


class Textures(Dataset[Sample]):
    """What the map-style datasets share: targets, splits, transforms and batches.

    Parameters
    ----------
    recipe
        What the textures are.
    n
        Samples of the whole dataset.
    split
        Which part of it, a key of ``recipe.splits``; None for all of it.
    target
        "label", "length_scales", "weights", or "both" of the first two.
    transform
        Applied to each image, a float32 tensor (1, *shape).
    target_transform
        Applied to each target.
    """

    shard_size: int
    """Samples that lie together on the disk; `ShardShuffle` goes by it."""

    def __init__(
        self,
        recipe: LabelledImages,
        n: int,
        split: str | None = None,
        target: Target = "label",
        transform: Callable[[torch.Tensor], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if target not in _TARGETS:
            raise UsageError(f"target is {target!r}", f"use one of {', '.join(_TARGETS)}")
        if target == "weights" and not isinstance(recipe, Recipe):
            raise UsageError(
                "target is 'weights', and those of imported images aren't known",
                "use one of label, length_scales, both",
            )
        if split is not None and split not in recipe.splits:
            raise UsageError(
                f"there is no split {split!r}", f"use one of {', '.join(recipe.splits)}"
            )
        self.recipe = recipe
        self.n = n
        self.split = split
        self.target = target
        self.transform = transform
        self.target_transform = target_transform
        self.classes = list(recipe.classes)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self._length_scales = recipe.length_scale_table

    @cached_property
    def chosen(self) -> Split | None:
        """The samples of the split, computed where that can be; None for all."""
        return None if self.split is None else self.recipe.split(self.split, self.n)

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """The index in the whole dataset of each sample of the split, ascending."""
        return self._index_of(np.arange(len(self), dtype=np.int64))

    def _index_of(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return positions if self.chosen is None else self.chosen.indices(positions)

    @property
    def targets(self) -> torch.Tensor:
        """The labels, int64, shape (len(self),)."""
        return torch.from_numpy(self.recipe.labels(0, self.n)[self.indices])

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - `object`'s
        """Have a DataLoader, which prefers `__getitems__`, call a subclass's own `__getitem__`."""
        super().__init_subclass__(**kwargs)
        names = {"__getitem__", "__getitems__"}
        own = next(names & vars(base).keys() for base in cls.__mro__ if names & vars(base).keys())
        if "__getitems__" not in own:

            def one_by_one(self: Textures, positions: Sequence[int]) -> list[Any]:
                return [cls.__getitem__(self, position) for position in positions]

            cls.__getitems__ = one_by_one  # type: ignore[method-assign]

    def __len__(self) -> int:
        return self.n if self.chosen is None else len(self.chosen)

    def __getitem__(self, position: int | Sequence[int]) -> Sample:
        """Return (image, target), or (images, targets) of several samples.

        Parameters
        ----------
        position
            The sample's place in the split; negative counts from the end. A list, or an array
            or tensor of one axis, gives (images, targets) as a DataLoader joins samples: with
            ``sampler=BatchSampler(...)`` and ``batch_size=None`` it asks for lists.

        Returns
        -------
        image
            float32 tensor, shape (1, *recipe.shape), or what `transform` makes of it.
        target
            The label, an int; or the components' length-scales in pixels, a float32 tensor of
            shape (component,) or (component, axis); or label and length-scales, a tuple; or the
            components' weights, float32, shape (component,); or what `target_transform` makes
            of it.

        Raises
        ------
        IndexError
            If there is no such sample, or it is no whole number.
        DatasetError
            If its file is missing or damaged.
        """
        if isinstance(position, list | np.ndarray | torch.Tensor) and np.ndim(position) == 1:
            return self._batch_of(position)
        indices = self._indices_of([sample_index(position, len(self), self._what)])
        image = self._images_of(indices)[0]
        return self._transformed(image, *self._each_of(self._targets_of(indices)))

    def __getitems__(self, positions: Sequence[int]) -> list[Any]:
        """Return several samples, read or drawn together; a DataLoader calls this.

        A subclass that defines `__getitem__` alone gets one that calls it for each sample.
        """
        indices = self._indices_of(positions)
        if self.transform is None and self.target_transform is None:
            images, targets = self.batch(indices)
            return Batch(images, targets, self._each_of(targets))
        each = self._images_of(indices).unbind(0)
        targets = self._each_of(self._targets_of(indices))
        return [self._transformed(*sample) for sample in zip(each, targets, strict=True)]

    def _batch_of(self, positions: Sequence[int]) -> Sample:
        if len(positions) == 0:
            return self.batch(np.empty(0, np.int64))
        # Not a subclass's `__getitems__`, which may ask for each sample by its `__getitem__`.
        images, targets = default_collate(Textures.__getitems__(self, positions))
        return images, targets

    def batch(self, indices: npt.NDArray[np.int64]) -> tuple[torch.Tensor, Any]:
        """Return samples by their indices in the whole dataset, without the transforms.

        Returns
        -------
        images
            float32 tensor, shape (len(indices), 1, *recipe.shape); in shared memory if this is
            a DataLoader's worker.
        targets
            What a DataLoader makes of the samples' targets.
        """
        return self._images_of(indices, lent=True), self._targets_of(indices)

    def _indices_of(self, positions: Sequence[int]) -> npt.NDArray[np.int64]:
        return self._index_of(sample_indices(positions, len(self), self._what))

    @property
    def _what(self) -> str:
        return "the dataset" if self.split is None else f"the split {self.split!r}"

    def _targets_of(self, indices: npt.NDArray[np.int64]) -> Any:  # noqa: ANN401 - by `target`
        labels = torch.tensor(
            [self.recipe.label_of(index) for index in indices.tolist()],
            dtype=torch.int64,
            device="cpu",
        )
        if self.target == "label":
            return labels
        if self.target == "weights" and isinstance(self.recipe, Recipe):
            return torch.from_numpy(self.recipe.weights_at(indices).astype(np.float32))
        scales = self._length_scales[labels.numpy()]
        self.recipe.fill_drawn(scales, indices)
        length_scales = torch.from_numpy(scales.astype(np.float32))
        return length_scales if self.target == "length_scales" else [labels, length_scales]

    def _each_of(self, targets: Any) -> list[Any]:  # noqa: ANN401 - by `target`
        """Return the targets of a batch one by one; what is a tensor is a view of the batch's."""
        if self.target == "both":
            labels, length_scales = targets
            return list(zip(labels.tolist(), length_scales.unbind(0), strict=True))
        return list(targets.tolist() if self.target == "label" else targets.unbind(0))

    def _transformed(self, image: torch.Tensor, target: Any) -> Sample:  # noqa: ANN401
        return (
            image if self.transform is None else self.transform(image),
            target if self.target_transform is None else self.target_transform(target),
        )

    def _images_of(self, indices: npt.NDArray[np.int64], lent: bool = False) -> torch.Tensor:
        """Return images, float32, shape (len(indices), 1, *shape); `lent` as `empty_images`."""
        images = empty_images(len(indices), self.recipe.shape, lent)
        self._fill(indices, images.numpy()[:, 0])
        return images

    def _fill(self, indices: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
        """Write images to `out`, float32, shape (len(indices), *recipe.shape)."""
        if self.recipe.numpy_dtype == out.dtype:
            self._images(indices, out)
        else:
            images = np.empty(out.shape, self.recipe.numpy_dtype)
            self._images(indices, images)
            out[...] = images

    def _images(self, indices: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        part = "" if self.split is None else f", split {self.split!r}"
        shape = " x ".join(map(str, self.recipe.shape))
        return f"{type(self).__name__}({self._source}{part}: {len(self)} of {shape})"

    @property
    def _source(self) -> str:
        return f"recipe {self.recipe.name!r}"


class TextureDataset(Textures):
    """The textures of a dataset on disk: Zarr, one HDF5 file, or HDF5 shards.

    Files are opened when first read, once a process, so it works with any number of workers
    however they are started. The checksum of every image is verified whenever it is read.

    Parameters
    ----------
    path
        The dataset: a Zarr folder, an HDF5 file, a folder or pattern of HDF5 shards, or a Zarr
        group on an object store (``s3://bucket/data.zarr``); or a `gpgen.Dataset`, or a view of
        one whose indices ascend.
    split
        Which part of it; None for all of it.
    target
        "label" (an int), "length_scales" (float32 pixels, for regression), "weights" (float32), or
        "both" of the first two.
    transform
        Applied to each image, a float32 tensor (1, *shape).
    target_transform
        Applied to each target.

    Attributes
    ----------
    classes : list of str
        The classes' names, by label.
    class_to_idx : dict
        From a class's name to its label.
    targets : Tensor
        The labels, int64, shape (len(self),).

    Raises
    ------
    DatasetError
        If there is no such dataset, or it is unfinished or damaged.
    UsageError
        If there is no such split or target, or the view holds nothing of the split.
    """

    def __init__(
        self,
        path: str | AnyPath | Samples,
        split: str | None = None,
        target: Target = "label",
        transform: Callable[[torch.Tensor], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        samples = path if isinstance(path, Samples) else open_dataset(path)
        reader = samples.reader
        super().__init__(
            reader.recipe, reader.manifest.n, split, target, transform, target_transform
        )
        if samples.chosen is not None:
            self.chosen = samples.chosen if split is None else samples.split(split).chosen
            if (np.diff(self.indices) <= 0).any():
                raise UsageError(
                    "the view's samples are not in ascending order, each once",
                    "shuffle and repeat with the DataLoader's sampler",
                )
            if len(samples) > 0 and len(self.indices) == 0:
                raise UsageError(
                    f"no sample of the view is in the split {split!r}",
                    "choose the split of the dataset, or leave it out",
                )
        self.path = reader.path
        self.shard_size = reader.manifest.shard_size
        self._reader = reader
        self._opened = threading.local()

    def _images(self, indices: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
        pixels: PixelReader | None = getattr(self._opened, "pixels", None)
        if pixels is None:
            pixels = self._opened.pixels = pixel_reader(self._reader)
        pixels.read_into(indices, out)

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: they mean nothing in another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened = threading.local()

    @property
    def _source(self) -> str:
        return str(self.path)
