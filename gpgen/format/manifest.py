"""The manifest: what a dataset says about itself, sealed by a hash.

The same attributes stand at the root of every format. What they cannot hold
for a million shards (checksums, labels, seeds) are small arrays, listed here
too; all but the checksums follow from the recipe alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gpgen._version import __version__
from gpgen.errors import DatasetError, RecipeError
from gpgen.format.layout import MOST_SAMPLES, Layout
from gpgen.format.stored_recipe import stored_recipe
from gpgen.io.failures import VERIFY
from gpgen.io.recognizing import DATASET, NO_DATASET
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe
from gpgen.sampling import SAMPLING_VERSION, seeds

__all__ = [
    "CITATION",
    "FORMAT_VERSION",
    "NEWER",
    "VERIFY",
    "VIRTUAL",
    "Manifest",
    "Rows",
    "SmallArray",
    "canonical_json",
    "checksum_arrays",
    "derived_arrays",
    "image_array",
    "image_axes",
    "newer",
    "read_manifest",
    "root_attributes",
    "seal",
    "virtual_attributes",
]

FORMAT_VERSION = 1
VIRTUAL = "gpgen-virtual"
"""The format of what is drawn when it is read, and sealed by no checksums."""
CITATION = (
    "Golkar, S. and Cranmer, K. (2018). Backdrop: Stochastic Backpropagation. "
    "arXiv:1806.01337. Dataset: doi:10.5281/zenodo.1252464"
)
NEWER = "install a newer gpgen"

# Hints put it behind `pip install gpgen==`, to be copied.
_VERSION = re.compile(r"[0-9A-Za-z.+!-]{1,60}")

Rows = Callable[[int, int], NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class SmallArray:
    """An array with one row a sample (or a shard), written and read in blocks.

    Parameters
    ----------
    name
        Its name in the dataset.
    shape
        Whole shape; the first axis is the sample or the shard.
    dtype
        Little-endian type.
    dimensions
        Name of each axis.
    rows
        ``rows(start, stop)`` gives those rows.
    attributes
        What else to store beside it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...]
    rows: Rows
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def row_nbytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return self.shape[0] * self.row_nbytes

    def block(self, start: int, stop: int) -> bytes:
        """Return rows as they stand on the disk."""
        return np.ascontiguousarray(self.rows(start, stop), dtype=self.dtype).tobytes()


def image_axes(dimensions: int) -> tuple[str, ...]:
    """Return the names of an image's axes: y, x and what comes before."""
    return ("z", "y", "x")[-dimensions:]


def derived_arrays(recipe: LabelledImages, n: int) -> tuple[SmallArray, ...]:
    """Return the arrays that follow from the recipe: label, length_scale, weight, seed, split.

    Parameters
    ----------
    recipe
        The recipe; imported images, which nothing draws again, have no seed. Only where
        weights are drawn are they an array.
    n
        Number of samples.
    """
    scale = recipe.length_scale_array(0, 1).shape[1:]
    names = list(recipe.splits)
    seed: tuple[SmallArray, ...] = ()
    weight: tuple[SmallArray, ...] = ()
    if isinstance(recipe, Recipe) and recipe.texture.draws_weights:
        axes, shape = ("sample", "component"), (n, len(recipe.components))
        weight = (SmallArray("weight", shape, np.dtype("<f8"), axes, recipe.weight_array),)
    if isinstance(recipe, Recipe):
        of_samples = functools.partial(seeds, recipe.seed)
        seed = (SmallArray("seed", (n,), np.dtype("<u8"), ("sample",), of_samples),)
    return (
        SmallArray("label", (n,), np.dtype("<i8"), ("sample",), recipe.labels),
        SmallArray(
            "length_scale",
            (n, *scale),
            np.dtype("<f8"),
            ("sample", "component", "axis")[: 1 + len(scale)],
            recipe.length_scale_array,
            {"units": "pixel"},
        ),
        *weight,
        *seed,
        SmallArray(
            "split",
            (n,),
            np.dtype("u1"),
            ("sample",),
            recipe.split_codes,
            {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)},
        ),
    )


class Manifest(msgspec.Struct, frozen=True):
    """The root attributes of a dataset, as `read_manifest` has checked them."""

    format: str
    format_version: int
    sampling_version: int
    recipe: dict[str, Any]
    recipe_sha256: str
    n: int
    shard_size: int
    class_names: list[str]
    split_names: list[str]
    gpgen_version: str
    citation: str
    manifest_sha256: str
    chunk_size: int | None = None
    shard_pattern: str | None = None
    files: dict[str, str] = {}
    roots_sha256: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def roots(self) -> str | None:
        """A hash of the code of other packages' kernels, where the recipe names any."""
        return None if self.roots_sha256 is msgspec.UNSET else self.roots_sha256

    @property
    def layout(self) -> Layout:
        """How the samples are cut into shards."""
        return Layout(self.n, self.shard_size, self.chunk_size)


def checksum_arrays(layout: Layout) -> tuple[SmallArray, SmallArray]:
    """Return the arrays crc32c and shard_sha256, which no recipe foretells: without rows."""
    return (
        SmallArray("crc32c", (layout.n,), np.dtype("<u4"), ("sample",), _no_rows),
        SmallArray(
            "shard_sha256", (layout.shards, 32), np.dtype("u1"), ("shard", "byte"), _no_rows
        ),
    )


def image_array(recipe: LabelledImages, n: int) -> SmallArray:
    """Return the image array, described like the small ones though it is not one."""
    axes = ("sample", *image_axes(len(recipe.shape)))
    return SmallArray("image", (n, *recipe.shape), recipe.numpy_dtype, axes, _no_rows)


def _no_rows(start: int, stop: int) -> NDArray[Any]:
    raise NotImplementedError(f"rows {start} to {stop} are not in memory")


def canonical_json(value: object) -> bytes:
    """Return the one spelling of a JSON value that hashes are taken of."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def root_attributes(
    recipe: LabelledImages, layout: Layout, version: str = __version__, roots: str | None = None
) -> dict[str, Any]:
    """Return the attributes of a dataset that don't depend on its pixels, not yet sealed.

    Parameters
    ----------
    recipe, layout
        The dataset.
    version
        Of the gpgen that has drawn it.
    roots
        `gpgen.exact.offered_roots.roots_sha256` of the one who has drawn it.
    """
    attributes: dict[str, Any] = {
        "format": "gpgen",
        "format_version": FORMAT_VERSION,
        "sampling_version": SAMPLING_VERSION,
        "gpgen_version": version,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.sha256,
        "n": layout.n,
        "shard_size": layout.shard_size,
        "class_names": list(recipe.classes),
        "split_names": list(recipe.splits),
        "citation": CITATION,
    }
    if layout.chunk_size is not None:
        attributes["chunk_size"] = layout.chunk_size
    if roots is not None:
        attributes["roots_sha256"] = roots
    return attributes


def virtual_attributes(
    recipe: LabelledImages, layout: Layout, roots: str | None = None
) -> dict[str, Any]:
    """Return the attributes of a dataset that nobody has drawn yet: no hash seals its pixels."""
    attributes = root_attributes(recipe, layout, roots=roots)
    return attributes | {"format": VIRTUAL, "virtual": True, "sealed": False}


def newer(version: object) -> str:
    """Say that something is of a format version that this gpgen doesn't know."""
    return f"has format version {repr(version)[:20]}, this gpgen reads up to {FORMAT_VERSION}"


def seal(attributes: dict[str, Any], by: str = "manifest_sha256") -> dict[str, Any]:
    """Return the attributes with one more, called ``by``: the hash of all the others."""
    others = {key: value for key, value in attributes.items() if key != by}
    return {**others, by: hashlib.sha256(canonical_json(others)).hexdigest()}


def read_manifest(attributes: dict[str, Any], where: str) -> tuple[Manifest, LabelledImages]:
    """Check root attributes, however hostile, and return what they say.

    Raises
    ------
    DatasetError
        If they are not gpgen's, are newer than this gpgen, or were changed.
    """
    if attributes.get("format") == VIRTUAL:
        raise DatasetError(
            f"{where} is of a virtual dataset: its images are drawn when they are read, and no "
            "checksums seal them",
            "read it with zarr-python or xarray, or make it, or use a deposit, which has checksums",
        )
    if attributes.get("format") != "gpgen":
        raise DatasetError(f"{where} is not {DATASET}", NO_DATASET)
    version = attributes.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise DatasetError(f"{where} {newer(version)}", NEWER)
    try:
        sealed = seal(attributes)["manifest_sha256"]
        manifest = msgspec.convert(attributes, Manifest)
    except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
        raise DatasetError(f"{where}: the manifest is damaged: {error}", VERIFY) from error
    if sealed != manifest.manifest_sha256:
        raise DatasetError(f"{where}: the manifest was changed: its own hash disagrees", VERIFY)
    chunk = manifest.chunk_size
    sizes = (manifest.n, manifest.shard_size, 1 if chunk is None else chunk)
    if not all(1 <= size <= MOST_SAMPLES for size in sizes):
        raise DatasetError(f"{where}: the manifest has sizes below 1 or beyond belief", VERIFY)
    if not (_VERSION.fullmatch(manifest.gpgen_version) and manifest.citation.isprintable()):
        raise DatasetError(f"{where}: the manifest has texts that gpgen never writes", VERIFY)
    if chunk is not None and manifest.shard_size % chunk:
        raise DatasetError(f"{where}: shards in the manifest are not whole chunks", VERIFY)
    try:
        recipe = stored_recipe(manifest.recipe)
    except RecipeError as error:
        raise DatasetError(f"{where}: the stored recipe is refused: {error}", VERIFY) from error
    agree = (
        recipe.sha256 == manifest.recipe_sha256
        and list(recipe.classes) == manifest.class_names
        and list(recipe.splits) == manifest.split_names
    )
    if not agree:
        raise DatasetError(f"{where}: the stored recipe and the manifest disagree", VERIFY)
    return manifest, recipe
