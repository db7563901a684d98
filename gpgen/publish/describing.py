"""The description of whatever is at a path: a dataset, an archive or a deposit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gpgen.dataset import open_dataset
from gpgen.description.archive_description import describe_archive
from gpgen.description.dataset_description import (
    DatasetDescription,
    describe_dataset,
    describe_drawn,
)
from gpgen.description.publication import Publication
from gpgen.errors import DatasetError
from gpgen.format.stored_recipe import StoredRecipe
from gpgen.golkar2018.archive import PLAN, read_plan
from gpgen.golkar2018.archive_reading import ArchiveReader, is_archive
from gpgen.io.paths import place_of
from gpgen.observer import DifficultySummary
from gpgen.publish.deposit import MANIFEST, SHA256SUMS, Deposit

__all__ = ["describe"]


def describe(path: str | Path) -> tuple[DatasetDescription, Publication | None]:
    """Return what a path says about itself, and what was said when it was packaged.

    Raises
    ------
    DatasetError
        If there is neither a dataset nor an archive nor a deposit, or it is damaged.
    """
    folder = place_of(path)
    if isinstance(folder, Path):
        if (folder / MANIFEST).is_file() and (folder / SHA256SUMS).is_file():
            return _describe_deposit(Deposit.open(folder))
        if is_archive(folder):
            archive = ArchiveReader(folder)
            return describe_archive(archive.plan, archive.fields, recipe_only=False), None
    with open_dataset(folder) as dataset:
        return describe_dataset(dataset), None


def _describe_deposit(deposit: Deposit) -> tuple[DatasetDescription, Publication]:
    manifest = deposit.manifest
    try:
        publication = msgspec.convert(manifest.publication, Publication)
        if deposit.form == "archive":
            description = describe_archive(
                read_plan(deposit.path), deposit.read_json(PLAN), recipe_only=deposit.recipe_only
            )
        else:
            description = describe_drawn(
                StoredRecipe.load(deposit.path / "recipe.toml"),
                manifest.n,
                deposit.form,
                layout=msgspec.to_builtins(manifest.layout),
                recipe_only=deposit.recipe_only,
                gpgen_version=manifest.gpgen_version,
                difficulty=_stated(manifest.difficulty),
            )
    except msgspec.ValidationError as error:
        raise DatasetError(
            f"{deposit.path / MANIFEST} lacks what a citation needs: {error}",
            "package the dataset again",
        ) from error
    return description, publication


def _stated(fields: dict[str, Any] | None) -> DifficultySummary | None:
    return None if fields is None else DifficultySummary.from_dict(fields)
