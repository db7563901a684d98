"""What a report needs of a dataset, drawn or imported, or of an archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from gpgen.dataset import Dataset, open_dataset
from gpgen.description.archive_description import describe_archive
from gpgen.description.dataset_description import DatasetDescription, describe_dataset
from gpgen.format import store_for
from gpgen.golkar2018.archive_reading import ArchiveReader, is_archive
from gpgen.imported import Imported
from gpgen.io.paths import Given, place_of
from gpgen.labelled_images import LabelledImages

__all__ = ["PageContent", "open_content"]

_MOST_CHECKSUMS: Final = 64


@dataclass(frozen=True)
class PageContent:
    """A dataset or an archive, as a page needs it.

    Parameters
    ----------
    description
        What it says of itself.
    recipe
        Its recipe; of imported images and archives an `Imported`, from which nothing is expected.
    source
        The recipe's text.
    layout
        A sentence about shards and chunks.
    hashes
        Of the whole, by name.
    files, unit
        Name and SHA-256 of the first files, and what they are called.
    file_count
        How many files there are.
    read
        Gives images, checked, by their indices.
    dataset
        The dataset, to be audited; None for an archive.
    """

    description: DatasetDescription
    recipe: LabelledImages
    source: str
    layout: str
    hashes: dict[str, str]
    files: dict[str, str]
    unit: str
    file_count: int
    read: Callable[[Sequence[int]], npt.NDArray[Any]]
    dataset: Dataset | None = None


@contextmanager
def open_content(path: Given) -> Iterator[PageContent]:
    """Open what is at a path.

    Raises
    ------
    DatasetError
        If there is neither a dataset nor an archive.
    """
    place = place_of(path)
    if isinstance(place, Path) and is_archive(place):
        yield _archive(ArchiveReader(place))
        return
    with open_dataset(place) as dataset:
        yield _dataset(dataset)


def _dataset(dataset: Dataset) -> PageContent:
    recipe, manifest = dataset.recipe, dataset.manifest
    reader = store_for(dataset.format).reader(dataset.path)
    shards = manifest.layout.shards
    hashes = reader.rows("shard_sha256", 0, min(shards, _MOST_CHECKSUMS))
    layout = f"{manifest.shard_size:,} samples a shard"
    if manifest.chunk_size is not None:
        layout += f", {manifest.chunk_size:,} a chunk"

    return PageContent(
        description=describe_dataset(dataset),
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
        read=lambda wanted: dataset.read(list(wanted)),
        dataset=dataset,
    )


def _archive(archive: ArchiveReader) -> PageContent:
    description = describe_archive(archive.plan, archive.fields, recipe_only=False)
    recipe = Imported(
        name=description.name,
        shape=description.shape,
        dtype="float64",
        class_names=description.classes,
        source_kind="npy",
        source_name="samples.zip",
        source_sha256=archive.sha256["samples.zip"],
        image_labels=tuple(archive.labels(0, len(archive)).tolist()),
    )
    return PageContent(
        description=description,
        recipe=recipe,
        source="".join(
            f"{key} = {json.dumps(value)}\n" for key, value in description.recipe.items()
        ),
        layout="Shown and measured are the samples, not the sums of them.",
        hashes={},
        files=archive.sha256,
        unit="file",
        file_count=len(archive.sha256),
        read=archive.read,
    )
