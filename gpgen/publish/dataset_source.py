"""A Zarr or HDF5 dataset, to be packaged."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from gpgen.contact_sheet.content import ContactSheet, shown_plane
from gpgen.contact_sheet.png import sheet_png
from gpgen.dataset import Dataset
from gpgen.description.dataset_description import describe_dataset
from gpgen.errors import DatasetError, UsageError
from gpgen.format import store_for
from gpgen.format.base import Problem, Reader
from gpgen.format.manifest import canonical_json
from gpgen.format.replacing import same_dataset
from gpgen.publish.deposit import CRC32C, hash_file
from gpgen.publish.hub_files import check_split_names, write_parquet
from gpgen.publish.part_writer import Part
from gpgen.publish.sources import VERIFY, copy_file
from gpgen.publish.stated_difficulty import StatedDifficulty
from gpgen.publish.tables import image_checksums, samples_table, shards_table
from gpgen.publish.zarr_packing import pack_zarr
from gpgen.recipe import Recipe
from gpgen.verification import verify

__all__ = ["DatasetSource"]

_HINTS: Final = {
    "damage": VERIFY,
    "unclear": "see to that file, or move it away if it isn't the dataset's, then package it again",
    "pixels": "leave these images out, or make the dataset from another recipe",
}
"""What to do about each kind of problem that keeps a dataset from being packaged."""


class DatasetSource:
    """A Zarr or HDF5 dataset.

    Parameters
    ----------
    dataset
        It.
    recipe_only
        Whether to leave the pixels out.
    difficulty
        What ``gpgen difficulty --json`` wrote about it; None to look it up.
    parquet
        Whether to write the samples as Parquet, too.

    Raises
    ------
    UsageError
        If the dataset was imported, is packed already, or `difficulty` is another recipe's; or
        if the Hub takes no split of such a name, and there shall be Parquet files.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe_only: bool,
        difficulty: StatedDifficulty | None = None,
        *,
        parquet: bool = False,
    ) -> None:
        recipe = dataset.recipe
        if not isinstance(recipe, Recipe):
            raise UsageError(
                f"{dataset.path} was imported, and has no recipe that could make it again",
                "share and cite its source instead",
            )
        path = dataset.path.on_disk()
        if dataset.format == "zarr" and path.is_file():
            raise UsageError(
                f"{dataset.path} is packed already",
                f"package the folder: `gpgen convert {shlex.quote(str(dataset.path))} data.zarr`",
            )
        self._dataset = dataset
        self._recipe = recipe
        self._path = path
        self._reader: Reader = store_for(dataset.format).reader(dataset.path)
        manifest = dataset.manifest
        stated = difficulty.of_recipe(recipe, dataset.path) if difficulty else None
        self.description = describe_dataset(dataset, recipe_only=recipe_only, difficulty=stated)
        self._shards = [
            self._reader.region(shard).path.on_disk() for shard in range(manifest.layout.shards)
        ]
        root = path if dataset.format == "zarr" else path.parent
        self._names = [path.relative_to(root).as_posix() for path in self._shards]
        if dataset.format == "hdf5":
            self._names = ["data.h5"] * len(self._shards)
        self.nbytes = 0 if recipe_only else manifest.n * recipe.image_nbytes
        self._parquet = parquet
        if parquet:
            check_split_names(dataset.splits)
            self.nbytes *= 2

    @property
    def recipe_file(self) -> tuple[str, str]:
        """recipe.toml."""
        return "recipe.toml", self._recipe.to_toml()

    def tables(self) -> Iterator[tuple[str, str, Iterable[bytes]]]:
        """Yield samples.csv, shards.csv and the images' checksums."""
        dataset = self._dataset
        yield (
            "samples.csv",
            "A line for each sample: class, length-scales, seed, split, shard",
            samples_table(
                self._recipe,
                dataset.n,
                self.description,
                dataset.manifest.shard_size,
                self._names,
            ),
        )
        ranges = " (of its range of the file)" if dataset.format == "hdf5" else ""
        yield (
            "shards.csv",
            f"The SHA-256 of each shard{ranges}, to be compared when it is made again",
            shards_table(self._reader, self._names),
        )
        yield (
            CRC32C,
            "The CRC-32C of each image's bytes, with which it is the same dataset with no storage",
            image_checksums(self._reader),
        )

    def manifest(self) -> dict[str, Any]:
        """Return the dataset's own manifest."""
        attributes = json.loads(canonical_json(msgspec.to_builtins(self._dataset.manifest)))
        return {"sampling_version": attributes["sampling_version"], "attributes": attributes}

    def figure(self, classes: Sequence[str]) -> bytes:
        """Return a contact sheet."""
        dataset = self._dataset
        recipe = dataset.recipe
        sheet = ContactSheet.read(
            recipe.classes, recipe.labels, dataset.n, dataset.read, classes=classes
        )
        dataset.close()
        return sheet_png(sheet, note=shown_plane(recipe.shape))

    def write_data(
        self, folder: Path, most_bytes: int, progress: Callable[[int], None]
    ) -> list[tuple[Part, str]]:
        """Write the data, every byte of it checked against the manifest."""
        with same_dataset(self._reader):
            written = self._write_data(folder, most_bytes, progress)
            if self._parquet:
                nbytes = self._recipe.image_nbytes
                written += write_parquet(
                    self._path,
                    self._dataset.splits,
                    folder,
                    lambda samples: progress(samples * nbytes),
                )
            return written

    def _write_data(
        self, folder: Path, most_bytes: int, progress: Callable[[int], None]
    ) -> list[tuple[Part, str]]:
        form = self._dataset.format
        if self.description.recipe_only:
            _verify(self._path)
            return []
        if form == "zarr":
            _refuse(self._dataset, self._reader.problems())
            parts = pack_zarr(self._reader, folder, "data.zarr.zip", most_bytes, progress)
            return [(part, "The dataset: a Zarr v3 group in a zip") for part in parts]
        if form == "hdf5":
            # What is being copied is thrown away should the other thread find damage.
            with ThreadPoolExecutor(1) as beside:
                checked = beside.submit(_verify, self._path)
                parts = copy_file(self._path, folder, "data.h5", most_bytes, progress)
                checked.result()
            return [(part, "The dataset: one HDF5 file") for part in parts]
        return self._copy_shards(folder, most_bytes, progress)

    def _copy_shards(
        self, folder: Path, most_bytes: int, progress: Callable[[int], None]
    ) -> list[tuple[Part, str]]:
        store = store_for(self._dataset.format)
        _refuse(self._dataset, store.check_first(self._path))
        _refuse(self._dataset, self._reader.problems())
        written: list[tuple[Part, str]] = []
        path = self._path
        written += [
            (part, "The manifest of the shards: labels, seeds and checksums of all samples")
            for part in copy_file(path, folder, path.name, most_bytes, progress)
        ]
        for shard, path in enumerate(self._shards):
            parts = copy_file(path, folder, path.name, most_bytes, progress)
            expected = self._reader.rows("shard_sha256", shard, shard + 1).tobytes().hex()
            digest = parts[0].sha256 if len(parts) == 1 else hash_file(path)[1]
            if digest != expected:
                raise DatasetError(f"{path} is damaged: its SHA-256 is not the manifest's", VERIFY)
            written += [(part, f"Shard {shard}") for part in parts]
        return written


def _verify(path: Path) -> None:
    report = verify(path)
    if not report.ok:
        problem = report.problems[0]
        more = f", and {len(report.problems) - 1} more" if len(report.problems) > 1 else ""
        hint = _HINTS["damage" if report.is_damaged else problem.kind]
        raise DatasetError(f"{path}: {problem.file} {problem.what}{more}", hint)


def _refuse(dataset: Dataset, problems: Iterator[Problem]) -> None:
    for problem in problems:
        if problem.kind in _HINTS:
            what = f"{dataset.path}: {problem.file} {problem.what}"
            raise DatasetError(what, _HINTS[problem.kind])
