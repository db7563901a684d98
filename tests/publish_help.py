"""What the tests of publishing share: a small dataset, a publication, waiting without time."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpgen import Recipe, make
from gpgen.description.publication import Publication

PUBLICATION = """
title = "Small textures & more"
license = "CC-BY-4.0"
date = 2026-01-31
[[creators]]
name = "Carberry, Josiah"
orcid = "0000-0002-1825-0097"
affiliation = "Brown University"
"""


def publication(extra: str = "") -> Publication:
    return Publication.from_toml(extra + PUBLICATION)


def small_recipe() -> Recipe:
    return Recipe.from_dict(
        {
            "name": "small",
            "shape": [32, 32],
            "seed": 11,
            "components": [
                {"kernel": "rbf", "length_scales": [2.0, 2.5], "weight": 0.75},
                {"kernel": "rbf", "length_scales": [8.0, 12.0], "weight": 1.25},
            ],
        }
    )


def make_small(out: Path) -> Path:
    chunks = {"chunk_size": 4} if out.suffix == ".zarr" else {}
    with make(small_recipe(), 40, out, workers=1, shard_size=16, **chunks) as dataset:
        return dataset.path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refusal(kind, call, *arguments, **options):
    """Return the one-line error that a call ends with."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)
