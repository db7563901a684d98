"""Tar files that the ``webdataset`` package reads, and a manifest file beside them.

A sample is three members: ``00000042.npy`` (the image), ``.cls`` (the label) and ``.json``
(index, class name, length-scales, weights where they are drawn, seed, split). The seed is text:
many programs that read JSON have no integers above 2**63 - 1. All samples of a dataset take
equally many bytes, so that an image's place follows from its index, and everything that reads a
dataset reads this one too. Without timestamps, equal data is equal bytes. The manifest is that of
HDF5 shards.
"""

from __future__ import annotations

import functools
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from gpgen.errors import DatasetError
from gpgen.exact.texture import LengthScale
from gpgen.format.base import Place, Reader
from gpgen.format.copying import take_shard_file
from gpgen.format.hdf5_shards import Hdf5ShardsReader, Hdf5ShardsStore
from gpgen.format.image_writing import batches, crc32c, new_file
from gpgen.format.job import Job, ShardRecord
from gpgen.format.layout import Format
from gpgen.io.failures import VERIFY, reading, unreadable
from gpgen.io.paths import AnyPath
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe
from gpgen.sampling import seeds

__all__ = ["WebDatasetReader", "WebDatasetStore"]

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


def _padding(nbytes: int) -> bytes:
    return bytes(-nbytes % _BLOCK)


def _header(name: str, nbytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = nbytes
    return info.tobuf(tarfile.USTAR_FORMAT)


def _npy_header(recipe: LabelledImages) -> bytes:
    """Return the first bytes of an image as NumPy's .npy format, version 1.0."""
    raw = io.BytesIO()
    shape: Any = {"descr": recipe.numpy_dtype.str, "fortran_order": False, "shape": recipe.shape}
    np.lib.format.write_array_header_1_0(raw, shape)
    return raw.getvalue()


class _Descriptions:
    """The JSON of a recipe's samples, all of the same length: spaces behind it mean nothing."""

    def __init__(self, recipe: LabelledImages) -> None:
        self._classes = recipe.classes
        self._splits = tuple(recipe.splits)
        self._recipe_sha256 = recipe.sha256
        self.nbytes = 0
        weights = _longest_weights(recipe)
        self.longest = max(
            len(self.of(2**63, label, _longest_scales(recipe, label), weights, 2**64 - 1, split))
            for label in range(recipe.class_count)
            for split in range(len(self._splits))
        )
        self.nbytes = self.longest + len(_padding(self.longest))

    def of(
        self,
        index: int,
        label: int,
        scales: tuple[LengthScale, ...],
        weights: tuple[float, ...],
        seed: int | None,
        split: int,
    ) -> bytes:
        """Return what is to be known about a sample; `weights` if drawn, `split` is its code."""
        content: dict[str, Any] = {"index": index, "label": label, "class": self._classes[label]}
        content["length_scale"] = scales
        if weights:
            content["weight"] = weights
        if seed is not None:
            content["seed"] = str(seed)
        content |= {"split": self._splits[split], "recipe_sha256": self._recipe_sha256}
        return json.dumps(content).encode().ljust(self.nbytes)


def _longest_scales(recipe: LabelledImages, label: int) -> tuple[LengthScale, ...]:
    """Return those length-scales of a class's samples that take most letters."""
    if not isinstance(recipe, Recipe):
        return recipe.length_scales_of(label)
    return tuple(
        max((choice.length_scale for choice in choices), key=lambda scale: len(json.dumps(scale)))
        for choices in recipe.texture.chosen(label)
    )


def _longest_weights(recipe: LabelledImages) -> tuple[float, ...]:
    """Return those drawn weights that take most letters; none if none are drawn."""
    if not (isinstance(recipe, Recipe) and recipe.texture.draws_weights):
        return ()
    return tuple(max(c.all_weights, key=lambda w: len(json.dumps(w))) for c in recipe.components)


@functools.lru_cache(maxsize=8)
def _descriptions(recipe: LabelledImages) -> _Descriptions:
    return _Descriptions(recipe)


def _stride(recipe: LabelledImages) -> int:
    """Return the bytes that a sample takes."""
    return _before_description(recipe) + _descriptions(recipe).nbytes


def _stride_of_numbers(recipe: LabelledImages) -> int:
    """Return the bytes that a sample takes where its seed is a number in JSON: two less, padded.

    gpgen wrote that before its first release.
    """
    longest = _descriptions(recipe).longest - (2 if isinstance(recipe, Recipe) else 0)
    return _before_description(recipe) + longest + len(_padding(longest))


def _before_description(recipe: LabelledImages) -> int:
    """Return the bytes of a sample's three headers, its image and its label."""
    image = len(_npy_header(recipe)) + recipe.image_nbytes
    return 3 * _BLOCK + image + len(_padding(image)) + _BLOCK


class WebDatasetStore(Hdf5ShardsStore):
    """Exports tar files after a pattern: written beside, and renamed when all are whole."""

    resumable: ClassVar[bool] = False

    def nbytes(self, job: Job) -> int:
        """Return the exact bytes that the finished dataset takes."""
        layout = job.layout
        shards = layout.n * _stride(job.recipe) + layout.shards * len(_END)
        return shards + self._manifest_skeleton(job).nbytes

    def write_shard(self, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
        """Draw a shard and write its file, front to back."""
        recipe = job.recipe
        start, stop = job.layout.bounds(shard)
        crcs = np.empty(stop - start, "<u4")
        npy, texts = _npy_header(recipe), _Texts(recipe, start, stop)
        image_nbytes = len(npy) + recipe.image_nbytes
        with new_file(job.temporary.on_disk(), self._shard_path(job, shard)) as stream:
            for first, images in batches(job, start, stop, check):
                for index, image in enumerate(images, first):
                    crcs[index - start] = crc32c(image)
                    head = _header(f"{index:08d}.npy", image_nbytes) + npy
                    stream.write([head, image, _padding(image_nbytes), texts.members(index)])
            stream.write([_END])
            sha256 = stream.finish()
        return ShardRecord(shard, sha256, stream.nbytes, crcs.tobytes())

    def copy_shard(
        self, job: Job, shard: int, source: Reader, check: Callable[[], None]
    ) -> ShardRecord | None:
        """Take a shard's file over; not one whose seeds are numbers, of which text is made."""
        if not (isinstance(source, WebDatasetReader) and source.has_seeds_as_text(shard)):
            return None
        final = self._shard_path(job, shard)
        return take_shard_file(job, final, source, shard, None, check)

    def reader(self, path: AnyPath) -> Reader:
        """Open a finished dataset by its manifest file."""
        return WebDatasetReader(path.on_disk())


class _Texts:
    """The small members of a shard's samples."""

    def __init__(self, recipe: LabelledImages, start: int, stop: int) -> None:
        self._start = start
        self._recipe = recipe
        self._descriptions = _descriptions(recipe)
        self._labels = recipe.labels(start, stop).tolist()
        self._seeds: list[int | None] = [None] * (stop - start)  # of imported images
        if isinstance(recipe, Recipe):
            self._seeds = seeds(recipe.seed, start, stop).tolist()
        self._weights: list[tuple[float, ...]] = [()] * (stop - start)
        if isinstance(recipe, Recipe) and recipe.texture.draws_weights:
            self._weights = [tuple(row) for row in recipe.weight_array(start, stop).tolist()]
        self._splits = recipe.split_codes(start, stop).tolist()

    def members(self, index: int) -> bytes:
        """Return a sample's label and description, as they stand in the tar file."""
        k = index - self._start
        label = str(self._labels[k]).encode()
        scales = self._recipe.length_scales_of(self._labels[k], self._seeds[k])
        text = self._descriptions.of(
            index, self._labels[k], scales, self._weights[k], self._seeds[k], self._splits[k]
        )
        parts = (
            _header(f"{index:08d}.cls", len(label)),
            label.ljust(_BLOCK, b"\0"),
            _header(f"{index:08d}.json", len(text)),
            text,
        )
        return b"".join(parts)


class WebDatasetReader(Hdf5ShardsReader):
    """A finished dataset of tar files, by its manifest file."""

    form: ClassVar[Format] = "webdataset"

    def place(self, shard: int) -> Place:
        """Return where a shard's images lie.

        Raises
        ------
        DatasetError
            If the file is missing or hasn't the length that the manifest makes us expect.
        """
        nbytes, path = self.recipe.image_nbytes, self._shard_path(shard)
        start, stop = self.manifest.layout.bounds(shard)
        strides = _stride(self.recipe), _stride_of_numbers(self.recipe)
        expected = [(stop - start) * stride + len(_END) for stride in strides]
        try:
            found = path.size()
        except OSError as error:
            raise unreadable(path, error) from error
        if found not in expected:
            raise DatasetError(f"{path} has {found} bytes instead of {expected[0]}", VERIFY)
        offset = _BLOCK + len(_npy_header(self.recipe))
        return Place(path, offset, nbytes, 1, strides[expected.index(found)] - nbytes)

    def has_seeds_as_text(self, shard: int) -> bool:
        """Return whether a shard is as gpgen writes it now, by its first sample's description."""
        path = self._shard_path(shard)
        raw = bytearray(_descriptions(self.recipe).nbytes)
        with reading(path):
            file = path.opened()
            try:
                file.read_at(memoryview(raw), _before_description(self.recipe))
            finally:
                file.close()
        return not isinstance(self.recipe, Recipe) or b'"seed": "' in raw
