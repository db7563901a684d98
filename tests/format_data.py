"""The tiny datasets of a format version: ``python tests/format_data.py`` makes those of today's.

They are made once, when a format version is new, and never again: what is committed must be
read by every later version. The command refuses to replace what is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from gpgen import Recipe
from gpgen.dataset import Dataset
from gpgen.format.manifest import FORMAT_VERSION
from gpgen.golkar2018.importing import import_dataset
from gpgen.making.run import make
from gpgen.publish.packaging import package

DATA = Path(__file__).parent / "data"
N = 8
DRAWN = {
    "d.zarr": {"chunk_size": 2, "shard_size": 4},
    "d.h5": {"shard_size": 4},
    "d-{shard:03d}.h5": {"shard_size": 4},
    "d-{shard:03d}.tar": {"shard_size": 4},
}
PUBLICATION = """
title = "Tiny textures"
license = "CC-BY-4.0"
date = 2026-01-31
[[creators]]
name = "Doe, Jane"
"""


def recipe() -> Recipe:
    """Two classes, a length-scale an axis, splits of one's own: what a manifest can hold."""
    return Recipe.from_dict(
        {
            "name": "tiny µ",
            "shape": [16, 16],
            "seed": 2026,
            "splits": {"train": 0.5, "test": 0.5},
            "components": [
                {"kernel": "rbf", "length_scales": [1.5, [2.0, 3.0]], "weight": 0.75},
                {"kernel": "rbf", "length_scales": [4.0], "weight": 1.25},
            ],
        }
    )


_ATTRIBUTES = {"length_scale": "length_scales", "split": "split_code"}
"""What Python calls a stored array of another name."""


def file_of(dataset: Dataset) -> dict[str, str]:
    """SHA-256 of what a dataset reads as: its pixels and its small arrays."""
    names = ["image", "label", "length_scale", "split"]
    names += ["seed"] if isinstance(dataset.recipe, Recipe) else []
    return {
        name: hashlib.sha256(
            np.ascontiguousarray(getattr(dataset, _ATTRIBUTES.get(name, name))[:]).tobytes()
        ).hexdigest()
        for name in names
    }


def _import(folder: Path) -> Dataset:
    source = folder / "source"
    source.mkdir()
    generator = np.random.default_rng(2018)
    for scale in ("9.5", "80"):
        for version in (1, 2):
            stream = io.BytesIO()
            np.save(stream, generator.standard_normal((8, 8)))
            name = f"final_size-8_corr-{scale}_v{version}.npy"
            (source / name).write_bytes(stream.getvalue())
    dataset = import_dataset(source, folder / "imported.zarr")
    shutil.rmtree(source)
    return dataset


def _without_picture(deposit: Path) -> None:
    """Take the contact sheet out: it is larger than all the rest, and no part of the format."""
    (deposit / "figure.png").unlink()
    for name in ("SHA256SUMS", "MD5SUMS"):
        lines = (deposit / name).read_text().splitlines(keepends=True)
        (deposit / name).write_text("".join(x for x in lines if "figure.png" not in x))


def main() -> None:
    """Make them, and note what they read as."""
    folder = DATA / f"format-{FORMAT_VERSION}"
    if folder.exists():
        sys.exit(f"{folder} exists: a format version's data is made once")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "new"
        work.mkdir()
        hashes = {}
        for out, sizes in DRAWN.items():
            place = work / f"d-{out.rpartition('.')[2]}" if "{" in out else work
            place.mkdir(exist_ok=True)
            with make(recipe(), N, place / out, workers=1, **sizes) as dataset:
                hashes[str((place / out).relative_to(work))] = file_of(dataset)
        with _import(work) as dataset:
            hashes["imported.zarr"] = file_of(dataset)
        (work / "p.toml").write_text(PUBLICATION)
        package(work / "d.zarr", work / "p.toml", work / "deposit", recipe_only=True)
        package(work / "d.zarr", work / "p.toml", work / "packed")
        (work / "packed" / "data.zarr.zip").rename(work / "d.zarr.zip")
        shutil.rmtree(work / "packed")
        (work / "p.toml").unlink()
        _without_picture(work / "deposit")
        hashes["d.zarr.zip"] = hashes["d.zarr"]
        (work / "reads-as.json").write_text(json.dumps(hashes, indent=1) + "\n")
        shutil.copytree(work, folder)


if __name__ == "__main__":
    main()
