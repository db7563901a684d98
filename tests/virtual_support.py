"""What the tests of datasets without storage share: recipes of all kinds, all bytes of a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from publish_help import make_small, publication

from gpgen import Recipe, builtin_recipes
from gpgen.publish import package


def kinds():
    """Return small recipes: of every kind of kernel, boundary, number of axes and type."""
    side = {"golkar2018": 64}
    found = {}
    for name in builtin_recipes():
        recipe = Recipe.load(name)
        found[name] = recipe.replace(shape=(side.get(name, 96),) * len(recipe.shape))
    rbf = {"kernel": "rbf", "length_scales": [2.0, 3.0]}
    exponential = {"kernel": "exponential", "length_scales": [2.0, 3.0]}
    for name, component, fields in (
        ("line", rbf, {"shape": [200], "dtype": "float16"}),
        ("volume", rbf, {"shape": [8, 12, 16], "standardize": False}),
        ("closed", exponential, {"shape": [32, 48], "boundary": "periodic"}),
    ):
        found[name] = Recipe.from_dict({"name": name, "components": [component], **fields})
    return found


def everything(store):
    """Return all keys of a zarr store, and their bytes."""

    async def read():
        return {key: (await store.get(key)).to_bytes() async for key in store.list()}

    return asyncio.run(read())


def deposit_of(folder: Path) -> tuple[Path, Path]:
    """Make a small dataset of several blocks and chunks, and its deposit without pixels."""
    stored = make_small(folder / "stored.zarr")
    package(stored, publication(), folder / "deposit", recipe_only=True)
    return stored, folder / "deposit"
