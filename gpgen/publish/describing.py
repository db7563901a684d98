"""The description of whatever is at a path: a dataset, an archive or a deposit."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError
from gpgen.publish.archive_source import ArchiveSource, is_archive
from gpgen.publish.dataset_source import DatasetSource
from gpgen.publish.deposit import MANIFEST, SHA256SUMS, Deposit
from gpgen.publish.publication import Publication
from gpgen.publish.subject import Subject, dataset_subject
from gpgen.recipe import Recipe

__all__ = ["describe"]


def describe(path: str | Path) -> tuple[Subject, Publication | None]:
    """Return what a path says about itself, and what was said when it was packaged.

    Raises
    ------
    DatasetError
        If there is neither a dataset nor an archive nor a deposit.
    """
    folder = Path(path)
    if (folder / MANIFEST).is_file() and (folder / SHA256SUMS).is_file():
        deposit = Deposit.open(folder)
        publication = msgspec.convert(deposit.manifest["publication"], Publication)
        return _deposit_subject(deposit), publication
    if is_archive(folder):
        return ArchiveSource(folder, recipe_only=False).subject, None
    with open_dataset(path) as dataset:
        return DatasetSource(dataset, recipe_only=False).subject, None


def _deposit_subject(deposit: Deposit) -> Subject:
    if deposit.form == "archive":
        raise DatasetError(
            f"{deposit.path} holds an archive, whose description is in its CITATION.cff",
            "read that, or give the archive's folder",
        )
    manifest = deposit.manifest
    return dataset_subject(
        Recipe.load(deposit.path / "recipe.toml"),
        int(manifest["n"]),
        deposit.form,
        layout=manifest["layout"],
        recipe_only=deposit.recipe_only,
        gpgen_version=str(manifest["gpgen_version"]),
    )
