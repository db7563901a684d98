"""``gpgen archive``: make an archive in the form of the 2018 record."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from gpgen.formatting import count, duration, nbytes
from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, details, output_options

if TYPE_CHECKING:
    from gpgen.golkar2018 import ArchivePlan
    from gpgen.progress import Progress

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen archive --out archive
  gpgen archive --samples 5=8 --samples 6=8 --samples 60=8 --samples 80=8 --cross 5-6+60-80 -o mine
  gpgen archive --samples 9.5=4 --samples 10=4 --size 256 --seed 7 --out small"""


@click.command("archive", short_help="Make an archive like Zenodo record 1252464.", epilog=_EPILOG)
@click.option("--out", "-o", type=click.Path(), required=True, help="The folder to make.")
@click.option(
    "--samples",
    "samples",
    multiple=True,
    metavar="LENGTH=COUNT",
    show_default="the record's",
    help="Length-scale in px and number of its samples; may be given several times.",
)
@click.option(
    "--cross",
    "crosses",
    multiple=True,
    metavar="LISTS",
    show_default="9.5-10+80-140, where there are samples",
    help="Lists of length-scales to cross; may be given several times.",
)
@click.option(
    "--weights",
    default="0.75,1.25",
    metavar="W,W",
    help="What each list's texture is multiplied by.",
)
@click.option("--size", type=int, default=1024, help="Pixels along a side.")
@click.option("--seed", type=int, default=0, help="Root seed.")
@click.option("--workers", type=int, show_default="all cores", help="Threads.")
@click.option("--overwrite", is_flag=True, help="Replace what is at the target.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and stop.")
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    /,
    out: str,
    samples: tuple[str, ...],
    crosses: tuple[str, ...],
    weights: str,
    size: int,
    seed: int,
    workers: int | None,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Make samples.zip and dataset.zip as the authors' program of 2018 would.

    The distribution, the files and their names are those of Zenodo record
    1252464; the pixels are new, and the same for the same seed.
    """
    from gpgen.golkar2018 import make_archive, parse_plan
    from gpgen.progress import following

    plan = parse_plan(samples, crosses, weights, size=size, seed=seed)
    output.say(details(_rows(plan, out)))
    if dry_run:
        output.result({"dry_run": True, **_describe(plan, out)})
        return
    last: list[Progress] = []
    started = time.perf_counter()
    try:
        with following(output.progress) as bar:

            def follow(progress: Progress) -> None:
                last[:] = [progress]
                bar(progress)

            made = make_archive(plan, out, workers=workers, overwrite=overwrite, progress=follow)
    except KeyboardInterrupt:
        done = f"{last[0].done:,} of {count(last[0].total, 'image')}" if last else "nothing"
        again = shlex.join(["gpgen", *ctx.obj])
        raise Interrupted(f"interrupted; {done} done", f"start again with: {again}") from None
    seconds = time.perf_counter() - started
    output.say(
        f"made {out}: {nbytes(made.nbytes)}, in {duration(seconds)}",
        *(f"{sha256}  {name}" for name, sha256 in made.sha256.items()),
    )
    answer = {**_describe(plan, out), "path": str(made.path), "sha256": made.sha256}
    output.result({"dry_run": False, **answer, "seconds": seconds})


def _rows(plan: ArchivePlan, out: str) -> list[tuple[str, str]]:
    samples = ", ".join(f"{number} of {scale:g} px" for scale, number in plan.samples)
    crosses = ", ".join(f"{cross.name} ({cross.class_count} classes)" for cross in plan.crosses)
    return [
        ("samples", f"{samples}; {plan.size} x {plan.size} px, float64, seed {plan.seed}"),
        ("crosses", f"{crosses}, {count(plan.images, 'image')}" if crosses else "none"),
        ("output", f"{out} ({nbytes(plan.nbytes)})"),
    ]


def _describe(plan: ArchivePlan, out: str) -> dict[str, Any]:
    return {"out": out, **plan.to_dict(), "images": plan.images, "nbytes": plan.nbytes}
