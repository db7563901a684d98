"""What a dataset says about itself, in the words that metadata need."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gpgen._version import __version__
from gpgen.description.publication import Related
from gpgen.description.recipe_in_words import is_of_2018, methods_of, summary_of
from gpgen.labelled_images import LabelledImages
from gpgen.observer import DifficultySummary
from gpgen.observer.known import known_summary, reason_for_none
from gpgen.recipe import Recipe

if TYPE_CHECKING:
    from gpgen.dataset import Dataset

__all__ = [
    "ARCHIVE_2018",
    "PAPER",
    "TARGETS",
    "Column",
    "DatasetDescription",
    "DepositFile",
    "describe_dataset",
    "describe_drawn",
    "describe_imported",
]

PAPER: Final = Related("arXiv:1806.01337", "References")
"""Golkar and Cranmer, Backdrop: Stochastic Backpropagation, 2018."""

ARCHIVE_2018: Final = Related("10.5281/zenodo.1252464", "IsDerivedFrom")
"""The dataset published with the paper."""


TARGETS: Final = {
    "zarr": "data.zarr",
    "hdf5": "data.h5",
    "hdf5-shards": "data-{shard:05d}.h5",
    "webdataset": "data-{shard:05d}.tar",
    "archive": "archive",
}
"""What a dataset of each form is called where nobody has said otherwise."""


@dataclass(frozen=True)
class DepositFile:
    """A file of a deposit."""

    name: str
    nbytes: int
    sha256: str
    md5: str
    media_type: str
    description: str


@dataclass(frozen=True)
class Column:
    """A column of samples.csv: its name, its types in Croissant's words, and its meaning."""

    name: str
    kinds: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class DatasetDescription:
    """A dataset, for those who describe it.

    Parameters
    ----------
    name
        A short name, usable in a citation key.
    n
        Number of samples.
    form
        "zarr", "hdf5", "hdf5-shards", "webdataset" or "archive" (the files of 2018).
    shape, dtype
        Of an image; pixels.
    classes, counts
        Names, by label, and how many samples each has.
    splits
        Number of samples in each part.
    summary
        A paragraph that says what the dataset is.
    methods
        A paragraph that says how it was drawn.
    columns
        Of samples.csv.
    recipe
        What determines it, as plain values.
    recipe_sha256
        The hash of the recipe.
    recipe_only
        Whether the pixels are left out, to be made again.
    from_2018
        Whether its source is the dataset of 2018.
    source
        What it was imported from; None if gpgen drew it, and can make it again.
    gpgen_version
        The version that made it.
    layout
        What else `gpgen make` needs to give the same files.
    difficulty
        How well the ideal observer tells its classes apart, if that was looked up or is stated.
    difficulty_unknown
        Why nobody knows that, in one line; empty if it can be computed.
    """

    name: str
    n: int
    form: str
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    splits: dict[str, int]
    summary: str
    methods: str
    columns: tuple[Column, ...]
    recipe: dict[str, Any]
    recipe_sha256: str
    recipe_only: bool = False
    from_2018: bool = False
    source: str | None = None
    gpgen_version: str = __version__
    layout: dict[str, int] = field(default_factory=dict)
    difficulty: DifficultySummary | None = None
    difficulty_unknown: str = ""

    @property
    def related(self) -> tuple[Related, ...]:
        """The works that every such dataset goes back to."""
        return (PAPER, ARCHIVE_2018) if self.from_2018 else (PAPER,)

    @property
    def keywords(self) -> tuple[str, ...]:
        """Words to find it by."""
        return (
            "texture",
            "Gaussian process",
            "random field",
            "multi-scale",
            "image classification",
            "benchmark",
            "synthetic data",
        )


def describe_dataset(
    dataset: Dataset,
    *,
    recipe_only: bool = False,
    difficulty: DifficultySummary | None = None,
) -> DatasetDescription:
    """Describe a dataset, drawn or imported.

    Its difficulty is that of a built-in recipe, unless it is given: nothing is computed that might
    be other on another machine.
    """
    recipe, manifest = dataset.recipe, dataset.manifest
    if not isinstance(recipe, Recipe):
        return describe_imported(
            recipe, dataset.n, dataset.format, gpgen_version=manifest.gpgen_version
        )
    layout = {"shard_size": manifest.shard_size}
    if manifest.chunk_size is not None:
        layout["chunk_size"] = manifest.chunk_size
    return describe_drawn(
        recipe,
        dataset.n,
        dataset.format,
        layout=layout,
        recipe_only=recipe_only,
        gpgen_version=manifest.gpgen_version,
        difficulty=difficulty or known_summary(recipe),
    )


def describe_drawn(
    recipe: Recipe,
    n: int,
    form: str,
    *,
    layout: dict[str, int],
    recipe_only: bool = False,
    gpgen_version: str = __version__,
    difficulty: DifficultySummary | None = None,
) -> DatasetDescription:
    """Describe a dataset that a recipe makes.

    Parameters
    ----------
    recipe
        The recipe.
    n
        Number of samples.
    form
        "zarr", "hdf5", "hdf5-shards" or "webdataset".
    layout
        ``shard_size`` and, for Zarr, ``chunk_size``, in samples.
    recipe_only
        Whether the pixels are left out.
    gpgen_version
        The version that made it.
    difficulty
        How well the ideal observer tells its classes apart, if that is known.
    """
    base, more = divmod(n, len(recipe.classes))
    return DatasetDescription(
        name=recipe.name,
        n=n,
        form=form,
        shape=recipe.shape,
        dtype=recipe.dtype,
        classes=recipe.classes,
        counts=tuple(base + (label < more) for label in range(len(recipe.classes))),
        splits=_split_counts(recipe, n),
        summary=summary_of(recipe, n),
        methods=methods_of(recipe),
        columns=_columns(recipe),
        recipe=recipe.to_dict(),
        recipe_sha256=recipe.sha256,
        recipe_only=recipe_only,
        from_2018=is_of_2018(recipe),
        gpgen_version=gpgen_version,
        layout=layout,
        difficulty=difficulty,
        difficulty_unknown=reason_for_none(recipe),
    )


def _split_counts(recipe: LabelledImages, n: int) -> dict[str, int]:
    """Return how many samples each split has."""
    return {split: len(recipe.split(split, n)) for split in recipe.splits}


def describe_imported(
    recipe: LabelledImages, n: int, form: str, *, gpgen_version: str
) -> DatasetDescription:
    """Describe a dataset that was imported from the files of 2018, or from files like them.

    Parameters
    ----------
    recipe
        What stands in the place of a recipe: `gpgen.imported.Imported`.
    n, form, gpgen_version
        As for `describe_drawn`.
    """
    labels = Counter(recipe.labels(0, n).tolist())
    fields = recipe.to_dict()
    source = f"{fields['source_name']} (SHA-256 {fields['source_sha256']})"
    size = " x ".join(map(str, recipe.shape))
    return DatasetDescription(
        name=recipe.name,
        n=n,
        form=form,
        shape=recipe.shape,
        dtype=recipe.dtype,
        classes=recipe.classes,
        counts=tuple(labels[label] for label in range(len(recipe.classes))),
        splits=_split_counts(recipe, n),
        summary=(
            f"{n:,} textures of {size} pixels ({recipe.dtype}) in {len(recipe.classes)} classes, "
            f"imported from {source}, in the format of the dataset of Golkar and Cranmer (2018)."
        ),
        methods="Imported, not drawn: nothing but the source can make these pixels again.",
        columns=(),
        recipe=fields,
        recipe_sha256=recipe.sha256,
        from_2018=True,
        source=fields["source_name"],
        gpgen_version=gpgen_version,
        difficulty_unknown="it was imported: nothing says which distribution its images have",
    )


def _columns(recipe: Recipe) -> tuple[Column, ...]:
    axes = ("z", "y", "x")[-len(recipe.shape) :]
    per_axis = recipe.length_scale_array(0, 1).ndim > 2
    scales = [
        Column(
            f"length_scale_{number}{suffix}",
            ("sc:Float",),
            f"Length-scale of component {number}{along}, in pixels",
        )
        for number in range(1, len(recipe.components) + 1)
        for suffix, along in (
            [(f"_{axis}", f" along {axis}") for axis in axes] if per_axis else [("", "")]
        )
    ]
    weights = [
        Column(f"weight_{number}", ("sc:Float",), f"Weight of component {number} in the sum")
        for number in range(1, len(recipe.components) + 1)
        if recipe.texture.draws_weights
    ]
    return (
        Column("index", ("sc:Integer",), "The sample's place along the first axis"),
        Column("label", ("sc:Integer", "cr:Label"), "The class, as a number"),
        Column("class", ("sc:Text",), "The class: its length-scales in pixels, joined by -"),
        *scales,
        *weights,
        Column("seed", ("cr:UInt64",), "The sample's own seed, an unsigned 64-bit integer"),
        Column(
            "split", ("sc:Text", "cr:Split"), "The part of the dataset that the sample belongs to"
        ),
        Column("shard", ("sc:Text",), "The file that holds the sample"),
    )
