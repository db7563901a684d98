"""``gpgen fetch``: bring a published dataset here."""

from __future__ import annotations

import shlex

import click

from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen fetch 10.5281/zenodo.1234567 --out data.zarr
  gpgen fetch https://zenodo.org/records/1234567
  gpgen fetch 1234 --sandbox --out data.h5
  gpgen fetch deposit --out data.zarr"""


@click.command("fetch", short_help="Bring a published dataset here, verified.", epilog=_EPILOG)
@click.argument("source", type=Source())
@click.option(
    "--out",
    "-o",
    type=click.Path(),
    show_default="data.zarr or the like, by the record's format",
    help="The dataset to make.",
)
@click.option(
    "--from",
    "service",
    metavar="URL",
    show_default="zenodo",
    help="The service, if SOURCE doesn't say.",
)
@click.option("--sandbox", is_flag=True, help="Zenodo's place for trying out.")
@click.option(
    "--workers",
    type=int,
    show_default="all cores",
    help="How many draw the pixels that a record leaves out.",
)
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    /,
    source: str,
    out: str | None,
    service: str | None,
    sandbox: bool,
    workers: int | None,
) -> None:
    """Fetch SOURCE, a DOI, a record's number or page, or a deposit's folder.

    Every checksum is compared. A record without pixels is made again from its recipe.
    """
    from gpgen.publish.addresses import named_service
    from gpgen.publish.fetching import fetch

    if service is not None or sandbox:
        service, _ = named_service(service or "zenodo", sandbox=sandbox)
    try:
        done = fetch(
            source,
            out,
            service=service,
            workers=workers,
            progress=output.progress,
            notify=output.note,
        )
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; what has arrived is kept",
            f"go on with: {shlex.join(['gpgen', *ctx.obj])}",
        ) from None
    how = "made again, every checksum equal" if done.regenerated else "verified"
    output.say(f"{done.path}: {how}")
    if done.form != "archive":
        output.say(f"look at it: gpgen show {shlex.quote(str(done.path))} -o sheet.png")
    output.result({"path": str(done.path), "format": done.form, "regenerated": done.regenerated})
