"""``gpgen verify``: compare what is on disk with what was made."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import click

from gpgen.formatting import count
from gpgen_cli._errors import FAILURE
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen verify data.zarr
  gpgen verify data.zarr --regenerate 10
  gpgen verify data.zarr --regenerate all"""


def parse_regenerate(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> int | Literal["all"] | None:
    """Return a number of samples, or ``all``."""
    if value is None:
        return None
    if value == "all":
        return "all"
    try:
        return int(value)
    except ValueError:
        message = f"{value!r} is neither a number of samples nor 'all'"
        raise click.BadParameter(message, ctx, param) from None


@click.command("verify", short_help="Check a dataset, and name what is damaged.", epilog=_EPILOG)
@click.argument("path", type=Source())
@click.option(
    "--regenerate",
    metavar="K|all",
    callback=parse_regenerate,
    help="Make this many samples again from their seeds and compare the pixels.",
)
@output_options
def command(output: Output, /, path: str, regenerate: int | Literal["all"] | None) -> int:
    """Check every checksum of a dataset, and name each damaged or missing file.

    The exit status is 1 if anything is wrong.
    """
    import gpgen

    report = gpgen.verify(path, regenerate=regenerate, progress=output.progress)
    for problem in (*report.problems, *report.litter):
        output.say(f"{problem.file}: {problem.what}")
    checked = f"{count(report.shards, 'shard')} checked"
    if report.samples_regenerated:
        checked += f", {count(report.samples_regenerated, 'sample')} made again and compared"
    found = count(len(report.problems), "problem")
    if report.is_damaged:
        output.say(f"{path} is damaged: {found}, {checked}")
    elif not report.ok:
        output.say(f"{path} has no damage that could be seen, but {found}; {checked}")
    else:
        beside = f"; beside it {count(len(report.litter), 'file')}" if report.litter else ""
        output.say(f"{path} is whole: {checked}{beside}")
    output.result(
        {
            "path": path,
            "ok": report.ok,
            "damaged": report.is_damaged,
            "problems": [asdict(problem) for problem in report.problems],
            "litter": [asdict(problem) for problem in report.litter],
            "shards": report.shards,
            "samples_regenerated": report.samples_regenerated,
        }
    )
    return 0 if report.ok else FAILURE
