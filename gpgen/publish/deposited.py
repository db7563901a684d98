"""What a deposit says of the dataset that it stands for, when its pixels are not there."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError
from gpgen.exact.offered_roots import offered_names, roots_sha256
from gpgen.format.stored_recipe import StoredRecipe
from gpgen.publish.deposit import CRC32C, Deposit
from gpgen.recipe import Recipe
from gpgen.sampling import SAMPLING_VERSION

__all__ = ["deposited_recipe", "image_crcs", "shard_hashes"]

_AGAIN = "get the deposit again"


def deposited_recipe(deposit: Deposit) -> Recipe:
    """Return the recipe that makes a deposit's dataset again.

    Raises
    ------
    DatasetError
        If this gpgen draws other pixels of it, or it isn't there or another.
    """
    version = deposit.manifest.sampling_version
    _file(deposit, "recipe.toml")
    if version != SAMPLING_VERSION:
        raise DatasetError(
            f"the deposit was drawn with version {version} of the sampling, and this gpgen has "
            f"{SAMPLING_VERSION}: its pixels would differ",
            f"run `pip install gpgen=={deposit.manifest.gpgen_version}`",
        )
    recipe = StoredRecipe.load(deposit.path / "recipe.toml")
    if recipe.sha256 != deposit.manifest.recipe_sha256:
        raise DatasetError(
            f"{deposit.path / 'recipe.toml'} is not the recipe that the deposit was packaged with",
            _AGAIN,
        )
    roots = deposit.manifest.attributes.roots_sha256
    if roots is not None and roots != roots_sha256(recipe.texture):
        raise DatasetError(
            "the deposit was drawn with another version of the kernel "
            f"{' or '.join(offered_names(recipe.texture))} than is installed here",
            "install the version of that kernel's package that drew it",
        )
    return recipe


def shard_hashes(deposit: Deposit) -> dict[int, str]:
    """Return the SHA-256 of each shard, as shards.csv lists them.

    Raises
    ------
    DatasetError
        If it isn't there or is no such list.
    """
    path, found = _file(deposit, "shards.csv"), {}
    try:
        with path.open(encoding="utf-8", newline="") as table:
            for row in csv.DictReader(table):
                found[int(row["shard"])] = row["sha256"]
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise DatasetError(f"{path} is no list of shards and their checksums", _AGAIN) from error
    return found


def image_crcs(deposit: Deposit) -> npt.NDArray[np.uint32]:
    """Return the CRC-32C of each image, as yet unchecked; the file is mapped, not read.

    Raises
    ------
    DatasetError
        If there is no such file.
    """
    if CRC32C not in deposit.sha256:
        raise DatasetError(
            f"{deposit.path} has no {CRC32C}: it was packaged by an older gpgen",
            f"use its recipe, which is unsealed: {deposit.path / 'recipe.toml'}",
        )
    path = _file(deposit, CRC32C)
    try:
        crcs: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path} is no array of checksums", _AGAIN) from error
    if crcs.shape != (deposit.manifest.n,) or crcs.dtype != np.dtype("<u4"):
        raise DatasetError(f"{path} is no array of {deposit.manifest.n} checksums", _AGAIN)
    return crcs


def _file(deposit: Deposit, name: str) -> Path:
    if name not in deposit.sha256:
        raise DatasetError(f"{deposit.path} has no {name}", "get the whole deposit again")
    return deposit.path / name
