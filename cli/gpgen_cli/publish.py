"""``gpgen publish``: bring a deposit into a repository's draft, and publish it when asked."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gpgen.formatting import count
from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source

if TYPE_CHECKING:
    from gpgen.publish.uploading import Record

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen publish deposit --sandbox
  gpgen publish deposit --to zenodo
  gpgen publish deposit --to zenodo --publish
  gpgen publish deposit --to https://data.example.org --new-version 1234"""


@click.command("publish", short_help="Bring a deposit to Zenodo or its like.", epilog=_EPILOG)
@click.argument("deposit", type=Source())
@click.option("--to", default="zenodo", metavar="zenodo|URL", help="Where to.")
@click.option("--sandbox", is_flag=True, help="Zenodo's place for trying out.")
@click.option("--draft/--publish", "draft", default=True, help="Keep it a draft, or not.")
@click.option("--yes", is_flag=True, help="Publish without asking: there is no way back.")
@click.option("--new-version", metavar="RECORD", help="As a new version of it: a number or DOI.")
@click.option("--reserve-doi", is_flag=True, help="Only make the draft and reserve its DOI.")
@click.option("--token-file", type=Source(), help="A file with the token, mode 600.")
@click.option(
    "--max-files", type=int, show_default="100, as Zenodo", help="As many as the service takes."
)
@click.option(
    "--max-bytes", type=int, show_default="50 GB, as Zenodo", help="As many as the service takes."
)
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    /,
    deposit: str,
    to: str,
    sandbox: bool,
    draft: bool,
    yes: bool,
    new_version: str | None,
    reserve_doi: bool,
    token_file: str | None,
    max_files: int | None,
    max_bytes: int | None,
) -> None:
    """Upload DEPOSIT into a draft, or go on with an upload that broke off.

    Files that the service has with the right MD5 are not sent again. Nothing is public
    until --publish is given and confirmed.

    The access token comes from ZENODO_TOKEN, ZENODO_SANDBOX_TOKEN or, for other
    services, INVENIO_TOKEN; or from a file that only you can read.
    """
    from gpgen.errors import UsageError
    from gpgen.publish.addresses import named_service, parse_source
    from gpgen.publish.client import Service
    from gpgen.publish.deposit import RECORD_BYTES, RECORD_FILES, Deposit
    from gpgen.publish.token import find_token
    from gpgen.publish.uploading import Limits, publish_draft, upload

    if not draft and not yes and (output.as_json or not sys.stdin.isatty()):
        raise UsageError("nobody is there to confirm that it shall be published", "add --yes")
    Deposit.open(deposit)
    address, variable = named_service(to, sandbox=sandbox)
    token = find_token(variable, token_file)
    previous = parse_source(new_version, address).number if new_version else None

    with Service(address, token, notify=output.note) as service, _resumable(ctx):
        record = upload(
            deposit,
            service,
            new_version_of=previous,
            limits=Limits(
                RECORD_FILES if max_files is None else max_files,
                RECORD_BYTES if max_bytes is None else max_bytes,
            ),
            reserve_only=reserve_doi,
            progress=output.progress,
        )
        _say(output, record, reserve_doi)
        if draft or reserve_doi:
            if not reserve_doi:
                place = f" --to {shlex.quote(to)}" + (" --sandbox" if sandbox else "")
                output.say(
                    "look at it there; then publish it, with no way back: "
                    f"gpgen publish {shlex.quote(deposit)}{place} --publish"
                )
        else:
            if not yes:
                _confirm(record)
            published = publish_draft(deposit, service)
            output.say(f"published: {published.url}, DOI {published.doi}")
            record = published
    output.result(
        {
            "number": record.number,
            "doi": record.doi,
            "url": record.url,
            "published": record.published,
            "sent": list(record.sent),
            "skipped": list(record.skipped),
        }
    )


@contextmanager
def _resumable(ctx: click.Context) -> Iterator[None]:
    """Say, at Ctrl-C, how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the draft and all that has been committed are kept",
            f"go on with: {shlex.join(['gpgen', *ctx.obj])}",
        ) from None


def _say(output: Output, record: Record, reserve_doi: bool) -> None:
    output.say(f"draft {record.number}: {record.url}, DOI {record.doi} (reserved)")
    if reserve_doi:
        output.say(f'put doi = "{record.doi}" into publication.toml, and package it again')
        return
    there = f"; {count(len(record.skipped), 'file')} were there already" if record.skipped else ""
    output.say(f"{count(len(record.sent), 'file')} sent{there}")


def _confirm(record: Record) -> None:
    asked = f"Published records can't be withdrawn. Type {record.number} to publish it"
    if click.prompt(asked, err=True, default="", show_default=False).strip() != record.number:
        raise click.Abort
