"""Recipes and plans in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpgen.formatting import count, nbytes, plural, size

if TYPE_CHECKING:
    from gpgen.exact.drawn_range import DrawnRange
    from gpgen.making.run import Plan
    from gpgen.recipe import Component, LengthScale, Recipe

__all__ = [
    "class_list",
    "component_line",
    "headline",
    "length_scale_text",
    "plan_rows",
    "shard_sizes",
    "split_list",
]

FORMATS = {
    "zarr": "Zarr v3",
    "hdf5": "HDF5, one file",
    "hdf5-shards": "HDF5, one file a shard",
    "webdataset": "tar files for webdataset",
}
_MOST_NAMES = 12


def headline(recipe: Recipe) -> str:
    """Return the recipe's name, size, type and boundary in one line."""
    one = recipe.boundary
    boundary = one if isinstance(one, str) else " x ".join(one)
    standardized = "standardized" if recipe.standardize else "not standardized"
    made = "" if recipe.transform is None else f", {recipe.transform} of the sum"
    return (
        f"{recipe.name}: {size(recipe.shape)}, {recipe.dtype}, {boundary} boundary, "
        f"{standardized}{made}"
    )


def length_scale_text(scale: LengthScale) -> str:
    """Return a length-scale as ``9.5``, or ``10x20`` where the axes differ."""
    return "x".join(f"{s:g}" for s in scale) if isinstance(scale, tuple) else f"{scale:g}"


def component_line(component: Component) -> str:
    """Return ``0.75 x rbf, length-scale 9.5 or 10 px``, and the kernel's own numbers."""
    offered = component.length_scales
    if isinstance(offered, tuple):
        scales = " or ".join(map(length_scale_text, offered))
    else:
        scales = _range(offered)
    numbers = "".join(
        f", {name.replace('_', ' ')} {' or '.join(f'{value:g}' for value in values)}"
        for name, values in component.offers.items()
    )
    made = "" if component.transform is None else f", {component.transform}"
    given = component.weight
    weight = f"{given:g}" if isinstance(given, float) else _range(given)
    return f"{weight} x {component.kernel}, length-scale {scales} px{numbers}{made}"


def _range(numbers: DrawnRange) -> str:
    return f"{numbers.low:g} to {numbers.high:g} ({numbers.draw}, {numbers.steps} steps)"


def class_list(recipe: Recipe) -> str:
    """Return how many classes there are, and the first of their names."""
    names = recipe.classes[:_MOST_NAMES]
    more = ", ..." if len(recipe.classes) > len(names) else ""
    return f"{len(recipe.classes)}: {', '.join(names)}{more}"


def split_list(recipe: Recipe) -> str:
    """Return the splits with their shares."""
    return ", ".join(f"{name} {100 * share:g} %" for name, share in recipe.splits.items())


def shard_sizes(shards: int, shard_size: int, chunk_size: int | None) -> str:
    """Return how the samples are laid out."""
    text = count(shards, "shard")
    if shards > 1:
        text += f" of {count(shard_size, 'sample')}"
    if chunk_size:
        text += f", in chunks of {chunk_size:,}"
    return text


def plan_rows(plan: Plan, kind: str, scheduler: str | None) -> list[tuple[str, str]]:
    """Return what will be made, as names and values.

    Parameters
    ----------
    plan
        What the library will do.
    kind
        What a worker is: a thread or a process.
    scheduler
        Address of the cluster that does the work, if not this machine.
    """
    share = f"{nbytes(plan.nbytes)} needed"
    if plan.free_bytes is not None:
        share += f", {nbytes(plan.free_bytes)} free"
        if plan.nbytes > plan.free_bytes:
            share += ": not enough"
    busy = min(plan.workers, plan.shards)
    workers = scheduler or f"{busy} {plural(busy, kind)}"
    return [
        ("recipe", headline(plan.recipe)),
        ("samples", f"{plan.n:,}, seed {plan.recipe.seed}"),
        ("classes", class_list(plan.recipe)),
        ("splits", split_list(plan.recipe)),
        ("output", f"{plan.out} ({FORMATS.get(plan.format, plan.format)})"),
        ("shards", shard_sizes(plan.shards, plan.shard_size, plan.chunk_size)),
        ("disk", share),
        ("workers", f"{workers}, up to {nbytes(plan.memory_per_worker)} of memory each"),
        *([("taken over", f"{plan.reused:,} samples; the rest is drawn")] if plan.reused else []),
        *(("warning", warning) for warning in plan.warnings),
    ]
