"""A recipe or a deposit as a Zarr store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from gpgen.errors import DatasetError, MissingPackageError, UsageError
from gpgen.format.layout import choose_layout
from gpgen.io.user_paths import given
from gpgen.publish.deposit import MANIFEST, Deposit
from gpgen.publish.deposited import (
    deposited_recipe,
    image_crcs,
    shard_hashes,
)
from gpgen.recipe import AnyRecipe, Recipe
from gpgen.virtual_store.keys import Checksums, VirtualKeys

if TYPE_CHECKING:
    from gpgen.virtual_store.store import VirtualStore

__all__ = ["keys_of", "virtual"]

_AGAIN: Final = "get the deposit again"
_USUAL_SAMPLES: Final = 10_000


def virtual(
    recipe: AnyRecipe,
    n: int | None = None,
    *,
    seed: int | None = None,
    dtype: Literal["float32", "float16"] | None = None,
    chunk_size: int | None = None,
    shard_size: int | None = None,
) -> VirtualStore:
    """Return a dataset that nobody has stored, as a read-only Zarr store.

    It has the keys and bytes that `gpgen.make` would write, as far as they are known before the
    images are drawn: all but those of ``crc32c``, ``shard_sha256`` and the root's ``zarr.json``,
    which says that the dataset is virtual and unsealed. An image is drawn when its chunk is asked
    for. A deposit made by `gpgen.publish.package` holds what is missing, and of it every key is
    there with the bytes of the stored dataset.

    Parameters
    ----------
    recipe
        A recipe, the name of a built-in one, the path of a TOML file, or a dict; or the folder of
        a deposit.
    n
        Number of samples, up to 2**48; by default 10,000. A deposit says it itself.
    seed, dtype
        In place of the recipe's.
    chunk_size, shard_size
        As for `gpgen.make`.

    Raises
    ------
    RecipeError
        If there is no such recipe, or it can't be drawn.
    DatasetError
        If the deposit is damaged, or lacks the checksums.
    UsageError
        If an argument is out of range, or given beside a deposit.
    MissingPackageError
        If zarr isn't installed.
    """
    try:
        from gpgen.virtual_store.store import VirtualStore
    except ImportError as error:
        raise MissingPackageError(
            "virtual needs zarr-python, which isn't installed",
            "install it with `pip install 'gpgen[zarr]'`",
        ) from error
    sizes = {"chunk_size": chunk_size, "shard_size": shard_size}
    return VirtualStore(keys_of(recipe, n, **sizes, seed=seed, dtype=dtype))


def keys_of(
    source: AnyRecipe,
    n: int | None = None,
    *,
    chunk_size: int | None = None,
    shard_size: int | None = None,
    **changes: Any,  # noqa: ANN401
) -> VirtualKeys:
    """Return the keys of what `virtual` takes; of a recipe 10,000 samples if n is left out."""
    wanted = {name: value for name, value in changes.items() if value is not None}
    folder = _deposit_at(source)
    if folder is None:
        recipe = Recipe.load(source)
        recipe = recipe.replace(**wanted) if wanted else recipe
        layout = choose_layout(
            "zarr", recipe.image_nbytes, _USUAL_SAMPLES if n is None else n, chunk_size, shard_size
        )
        return VirtualKeys(recipe, layout)
    keys = _deposit_keys(folder)
    wanted |= {"chunk_size": chunk_size, "shard_size": shard_size}
    wanted["n"] = None if n == keys.layout.n else n
    for name, value in wanted.items():
        if value is not None:
            raise UsageError(
                f"{name} is given, but {folder} says what its dataset is",
                "leave it out, or give a recipe",
            )
    return keys


def _deposit_at(source: object) -> Path | None:
    """Return the folder with a deposit's manifest that something names, if it does."""
    if not isinstance(source, str | os.PathLike):
        return None
    folder = given(source)
    return folder if (folder / MANIFEST).is_file() else None


def _deposit_keys(path: Path) -> VirtualKeys:
    """Return the keys of a deposit's dataset, its checksums compared with its manifest.

    Raises
    ------
    DatasetError, UsageError
        As for `virtual`.
    """
    deposit = Deposit.open(path)
    recipe_file = deposit.path / "recipe.toml"
    if deposit.form != "zarr":
        raise UsageError(
            f"the dataset in {deposit.path} is in the format {deposit.form}, not in Zarr's",
            f"use its recipe, which is unsealed: {recipe_file}",
        )
    recipe, shards, crc32c = deposited_recipe(deposit), shard_hashes(deposit), image_crcs(deposit)
    said, files = deposit.manifest.layout, deposit.manifest.attributes.files
    layout = choose_layout(
        "zarr", recipe.image_nbytes, len(crc32c), said.chunk_size, said.shard_size
    )
    wrong = DatasetError(f"{deposit.path} does not hold the checksums of one dataset", _AGAIN)
    if len(shards) != layout.shards or set(shards) != set(range(layout.shards)):
        raise wrong
    try:
        hashes = b"".join(bytes.fromhex(shards[shard]) for shard in range(layout.shards))
        shard_sha256 = np.frombuffer(hashes, "u1").reshape(layout.shards, 32)
        keys = VirtualKeys(
            recipe,
            layout,
            Checksums(crc32c, shard_sha256, files),
            deposit.manifest.gpgen_version,
        )
    except (ValueError, KeyError) as error:
        raise wrong from error
    if keys.manifest_sha256 != deposit.manifest.attributes.manifest_sha256 or keys.damaged():
        raise wrong
    return keys
