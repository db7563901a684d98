"""Where a verb's words go: people read tables, programs one JSON object, nobody both.

Standard output carries the result; progress and errors go to standard error.
"""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Output", "details", "output_options"]


P = ParamSpec("P")

# Wide enough for any table here; without a terminal nothing else limits it.
_PLAIN_WIDTH = 120


@dataclass(frozen=True)
class Output:
    """What the user asked to see.

    Parameters
    ----------
    as_json
        One JSON object on standard output, nothing else there.
    quiet
        Nothing but errors.
    """

    as_json: bool = False
    quiet: bool = False

    def say(self, *parts: RenderableType) -> None:
        """Show something to people, on standard output."""
        if not (self.as_json or self.quiet):
            with _standard_output():
                self._say(parts)

    def _say(self, parts: Sequence[RenderableType]) -> None:
        from rich.console import Console

        if sys.stdout.isatty():
            self._print(Console(highlight=False), parts)
            return
        # Rich fills lines up to a table's width: of no use in a file.
        console = Console(highlight=False, width=_PLAIN_WIDTH, color_system=None)
        with console.capture() as captured:
            self._print(console, parts)
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))

    @staticmethod
    def _print(console: Console, parts: Sequence[RenderableType]) -> None:
        for part in parts:
            # Paths and commands are copied from here: never break a line of text,
            # and take no bracket in a name for markup.
            console.print(part, soft_wrap=isinstance(part, str), markup=False)

    def result(self, value: Mapping[str, Any]) -> None:
        """Give a program its answer, on standard output."""
        if self.as_json:
            with _standard_output():
                click.echo(json.dumps(value))

    def note(self, message: str) -> None:
        """Say, on standard error, what is being waited for."""
        if not self.quiet:
            click.echo(message, err=True)

    @contextmanager
    def telling(self, category: type[Warning]) -> Iterator[None]:
        """Say, on standard error, what is warned of meanwhile."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", category)
            try:
                yield
            finally:
                for warning in warned:
                    self.note(f"warning: {warning.message}")

    @property
    def progress(self) -> bool:
        """Whether a bar may be drawn; it is where somebody sees it."""
        return not self.quiet


@contextmanager
def _standard_output() -> Iterator[None]:
    """Say where it was that writing failed, which the system doesn't."""
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        raise


def details(rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Lay out names and values in two columns."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2), pad_edge=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(value))
    return grid


def output_options(verb: Callable[Concatenate[Output, P], object]) -> Callable[P, object]:
    """Give a verb ``--json``, ``--quiet`` and ``--debug``, and an `Output` to speak through."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
    @click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(verb)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> object:
        kwargs.pop("debug")  # read by _errors.run, which sees errors of the parser too
        output = Output(bool(kwargs.pop("as_json")), bool(kwargs.pop("quiet")))
        from gpgen.errors import RecipeWarning

        with warnings.catch_warnings():
            # They stand in the plan and in `recipes show`.
            warnings.simplefilter("ignore", RecipeWarning)
            return verb(output, *args, **kwargs)

    return wrapped
