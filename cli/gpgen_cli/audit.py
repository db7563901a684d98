"""``gpgen audit``: does a dataset have the statistics that its recipe says."""

from __future__ import annotations

import click

from gpgen.formatting import count
from gpgen_cli._errors import FAILURE
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen audit data.zarr
  gpgen audit data.zarr --json
  gpgen audit data.zarr --recipe small.toml --level 0.01"""


@click.command("audit", short_help="Test a dataset's statistics, and name faults.", epilog=_EPILOG)
@click.argument("path", metavar="DATA", type=Source())
@click.option(
    "--recipe",
    type=Source(recipes=True),
    metavar="RECIPE",
    help="Audit against this recipe in the place of the dataset's own.",
)
@click.option(
    "--level",
    type=float,
    default=0.001,
    show_default=True,
    help="The p-value below which the dataset is wrong.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the images for comparison."
)
@click.option(
    "--images",
    type=int,
    metavar="N",
    show_default="as many as have 2^27 pixels",
    help="How many to measure closely.",
)
@click.option("--workers", type=int, help="How many threads.  [default: (all cores)]")
@output_options
def command(
    output: Output,
    /,
    path: str,
    recipe: str | None,
    level: float,
    seed: int,
    images: int | None,
    workers: int | None,
) -> int:
    """Test whether a dataset has the statistics that its recipe says.

    Every image is read, and compared with images drawn for comparison; of a large dataset some are
    chosen to be measured closely. What is wrong is named. The exit status is 1 if anything is.
    """
    import gpgen

    result = gpgen.audit(
        path,
        recipe=recipe,
        level=level,
        seed=seed,
        images=images,
        workers=workers,
        progress=output.progress,
    )
    for finding in result.findings:
        output.say(finding.text)
    read = count(result.samples, "sample")
    if result.measured < result.samples:
        read += f", {result.measured} of them measured closely,"
    read += f" against {count(result.drawn, 'image')} drawn"
    if result.redrawn:
        read += f", {count(result.redrawn, 'sample')} drawn again"
    verdict = "is what its recipe says" if result.ok else "is not what its recipe says"
    if recipe is not None:
        verdict = f"{'may be' if result.ok else 'is not'} of recipe {result.recipe}"
    tests = count(len(result.comparisons), "test")
    output.say(f"{path} {verdict}: p = {result.p:.3g} of {tests}; {read}")
    output.result({"path": path, **result.to_dict()})
    return 0 if result.ok else FAILURE
