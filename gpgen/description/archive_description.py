"""What an archive in the form of 2018 says about itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gpgen.description.dataset_description import Column, DatasetDescription
from gpgen.exact.texture import length_scale_name
from gpgen.golkar2018.archive_plan import ArchivePlan

__all__ = ["describe_archive"]


def describe_archive(
    plan: ArchivePlan, fields: dict[str, Any], *, recipe_only: bool
) -> DatasetDescription:
    """Describe an archive.

    Parameters
    ----------
    plan
        What it holds.
    fields
        What its archive.json says.
    recipe_only
        Whether the pixels are left out.
    """
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    names = tuple(length_scale_name(scale) for scale, _ in plan.samples)
    counts = tuple(count for _, count in plan.samples)
    held = ", ".join(f"{count} of {name}" for name, count in zip(names, counts, strict=True))
    size = f"{plan.size} x {plan.size} pixels"
    crosses = ""
    if plan.crosses:
        classes = " and ".join(str(cross.classes) for cross in plan.crosses)
        crosses = f"; and {plan.images} sums of them (float32) in {classes} classes"
    return DatasetDescription(
        name="golkar2018",
        n=sum(counts),
        form="archive",
        shape=(plan.size, plan.size),
        dtype="float64",
        classes=names,
        counts=counts,
        splits={},
        summary=(
            f"{sum(counts)} synthetic textures of {size} (float64), by length-scale in pixels: "
            f"{held}{crosses}; in the files and formats of the dataset of Golkar and Cranmer "
            "(2018)."
        ),
        methods=(
            "Drawn with gpgen from the distribution that the program of 2018 defines: a "
            "Gaussian process on a coarse grid and a spline for long length-scales, a sum of "
            "such patches at random places for short ones. Not an exact Gaussian process: the "
            "variance of the short ones fluctuates from place to place, as in 2018."
        ),
        columns=(
            Column("index", ("sc:Integer",), "The sample's place in samples.zip"),
            Column("class", ("sc:Text",), "Its length-scale, in pixels"),
            Column("length_scale_1", ("sc:Float",), "Its length-scale, in pixels"),
            Column("version", ("sc:Integer",), "Its number among those of its length-scale"),
            Column("file", ("sc:Text",), "The file within samples.zip"),
        ),
        recipe=fields,
        recipe_sha256=hashlib.sha256(canonical).hexdigest(),
        recipe_only=recipe_only,
        from_2018=True,
        difficulty_unknown="the textures of 2018 have no known density",
    )
