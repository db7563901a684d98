"""The command ``gpgen``: finds the verb and imports that one alone.

Nothing is imported here but click, so that help and completion come at once.
"""

from __future__ import annotations

import atexit
import difflib
import importlib
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import click

from gpgen_cli._errors import INTERRUPTED, Interrupted, run

__all__ = ["VERBS", "cli", "main", "program"]

# How long an ending may take before Ctrl-C breaks it off.
_PATIENCE_SECONDS = 5.0
_STOPPING = b"stopping; after 5 s, one more Ctrl-C breaks off\n"

# A verb and the module whose `command` it is, in the order in which one needs them.
VERBS = {
    "make": "gpgen_cli.make",
    "recipes": "gpgen_cli.recipes",
    "difficulty": "gpgen_cli.difficulty",
    "info": "gpgen_cli.info",
    "show": "gpgen_cli.show",
    "verify": "gpgen_cli.verify",
    "audit": "gpgen_cli.audit",
    "convert": "gpgen_cli.convert",
    "serve": "gpgen_cli.serve",
    "explore": "gpgen_cli.explore",
    "train": "gpgen_cli.train",
    "evaluate": "gpgen_cli.evaluate",
    "archive": "gpgen_cli.archive",
    "import": "gpgen_cli.import_",
    "download": "gpgen_cli.download",
    "report": "gpgen_cli.report",
    "package": "gpgen_cli.package",
    "publish": "gpgen_cli.publish",
    "fetch": "gpgen_cli.fetch",
    "cite": "gpgen_cli.cite",
    "completion": "gpgen_cli.completion",
}


class LazyGroup(click.Group):
    """A group that imports a verb's module when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the verbs in their own order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the verb's module and return its command."""
        module = VERBS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest verb for one that doesn't exist."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean 'gpgen {near[0]}'?" if near else f"verbs are {', '.join(VERBS)}"
            raise click.UsageError(f"there is no verb {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Call the verb; at Ctrl-C say so in one line, where click would add an empty one."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from gpgen._version import __version__

        click.echo(f"gpgen {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    # The verbs' contexts inherit these.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
    epilog="\b\nStart with:\n  gpgen make --recipe two-scale-mini --n 40 --out mini.zarr\n"
    "  gpgen show mini.zarr -o sheet.png",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Exact, bit-reproducible multi-scale Gaussian-process textures.

    gpgen makes datasets of two-scale textures, stores them in Zarr or HDF5,
    and makes them again, byte for byte, from a recipe of a few lines.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is success, 1 a failure, 2 wrong usage, 130 an interruption by Ctrl-C. Without arguments
    it is ``gpgen --help``.
    """
    return run(cli, list(sys.argv[1:] if arguments is None else arguments) or ["--help"])


def program() -> None:
    """Be the process ``gpgen``: run the command line, then end with its status."""
    if not sys.warnoptions:
        # What other packages warn of when they are interrupted is not for the prompt.
        warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, _Interrupt())
    # Python takes its handlers away when it ends, and one more Ctrl-C would kill it just then. What
    # is registered first comes last.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    # What Dask and others log is not for the prompt: errors come as one line.
    logging.disable()
    sys.exit(main())


class _Interrupt:
    """Ctrl-C once: it says so, and ends in good order. More in the next seconds changes nothing.

    It would break off the ending, for which Dask then makes up with ten seconds of its own. If the
    ending takes longer than it should, one more Ctrl-C leaves everything as it stands, which loses
    nothing that a kill would not.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            if not {"-q", "--quiet"} & set(sys.argv):
                with suppress(OSError):  # nobody may be reading it
                    os.write(2, b"\n" * os.isatty(2) + _STOPPING)
            signal.default_int_handler(number, frame)
        if now - self._first > _PATIENCE_SECONDS:
            os._exit(INTERRUPTED)
