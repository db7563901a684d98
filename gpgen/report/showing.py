"""What a page shows, whatever it is of: a dataset, drawn or imported, or an archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.dataset import Dataset, open_dataset
from gpgen.description.subject import Subject
from gpgen.format import store_for
from gpgen.imported import Imported
from gpgen.io.paths import Given, place_of
from gpgen.labelled_images import LabelledImages
from gpgen.publish.archive_source import ArchiveSource, is_archive
from gpgen.publish.dataset_source import describe_dataset
from gpgen.recipe import Recipe

__all__ = ["Shown", "show"]

_MOST_CHECKSUMS: Final = 64


@dataclass(frozen=True)
class Shown:
    """A dataset or an archive, as a page needs it.

    Parameters
    ----------
    subject
        What it says of itself.
    recipe
        What is expected of its images, or what stands in a recipe's place.
    source
        The recipe's text.
    layout
        How the samples lie, in a sentence.
    hashes
        Of the whole, by name.
    files, unit
        Name and SHA-256 of the first files, and what they are called.
    file_count
        How many files there are.
    indices
        Gives the samples of a class.
    read
        Gives images, checked, by their indices.
    """

    subject: Subject
    recipe: LabelledImages
    source: str
    layout: str
    hashes: dict[str, str]
    files: dict[str, str]
    unit: str
    file_count: int
    indices: Callable[[int], Sequence[int]]
    read: Callable[[Sequence[int]], npt.NDArray[Any]]


@contextmanager
def show(path: Given) -> Iterator[Shown]:
    """Open what is at a path.

    Raises
    ------
    DatasetError
        If there is neither a dataset nor an archive.
    """
    place = place_of(path)
    if isinstance(place, Path) and is_archive(place):
        yield _archive(ArchiveSource(place, recipe_only=False))
        return
    with open_dataset(place) as dataset:
        yield _dataset(dataset)


def _dataset(dataset: Dataset) -> Shown:
    recipe, manifest = dataset.recipe, dataset.manifest
    reader = store_for(dataset.format).reader(dataset.path)
    shards = manifest.layout.shards
    hashes = reader.rows("shard_sha256", 0, min(shards, _MOST_CHECKSUMS))
    layout = f"{manifest.shard_size:,} samples a shard"
    if manifest.chunk_size is not None:
        layout += f", {manifest.chunk_size:,} a chunk"

    def indices(label: int) -> Sequence[int]:
        if isinstance(recipe, Recipe):
            return range(label, dataset.n, len(recipe.classes))
        found: list[int] = np.flatnonzero(recipe.labels(0, dataset.n) == label).tolist()
        return found

    return Shown(
        subject=describe_dataset(dataset),
        recipe=recipe,
        source=recipe.to_toml(),
        layout=f"Version {manifest.sampling_version} of the sampling; {layout}.",
        hashes={
            "Recipe SHA-256": manifest.recipe_sha256,
            "Manifest SHA-256": manifest.manifest_sha256,
        },
        files={str(shard): digest.tobytes().hex() for shard, digest in enumerate(hashes)},
        unit="shard",
        file_count=shards,
        indices=indices,
        read=lambda wanted: dataset.read(list(wanted)),
    )


def _archive(archive: ArchiveSource) -> Shown:
    subject = archive.subject
    labels = np.repeat(np.arange(len(subject.counts)), subject.counts)
    recipe = Imported(
        name=subject.name,
        shape=subject.shape,
        dtype="float64",
        class_names=subject.classes,
        source_kind="npy",
        source_name="samples.zip",
        source_sha256=archive.sha256["samples.zip"],
        image_labels=tuple(labels.tolist()),
    )
    return Shown(
        subject=subject,
        recipe=recipe,
        source="".join(f"{key} = {json.dumps(value)}\n" for key, value in subject.recipe.items()),
        layout="Shown and measured are the samples, not the sums of them.",
        hashes={},
        files=archive.sha256,
        unit="file",
        file_count=len(archive.sha256),
        indices=archive.indices,
        read=archive.read,
    )
