"""Every exception becomes one line that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import json
import os
import sys
import traceback
from typing import Any

import click

__all__ = ["Interrupted", "run"]

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C, with how to go on from here."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint


def run(command: click.Command, arguments: list[str]) -> int:
    """Call a click command and return the exit status, whatever happens.

    An exception is told in one line on standard error; with ``--json`` also as
    an object on standard output, with ``--debug`` after its traceback.
    """
    try:
        result = command.main(arguments, prog_name="gpgen", standalone_mode=False, obj=arguments)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        # The reader has had enough (`gpgen recipes | head`). Python would complain
        # again when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nothing may escape as a traceback
        return _report(error, arguments)
    return result if isinstance(result, int) else 0


def _report(error: BaseException, arguments: list[str]) -> int:
    status, code, message, hint = _explain(error)
    if "--debug" in arguments:
        traceback.print_exception(error)
    line = f"error: {message}; {hint}" if hint else f"error: {message}"
    click.echo(_one_line(line), err=True)
    if "--json" in arguments:
        told = {"code": code, "message": message, "hint": hint}
        click.echo(json.dumps({"error": told}))
    return status


def _explain(error: BaseException) -> tuple[int, str, str, str | None]:
    """Return exit status, stable code, message and hint of an exception."""
    if isinstance(error, Interrupted):
        return INTERRUPTED, "interrupted", error.message, error.hint
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED, "interrupted", "interrupted", None
    if isinstance(error, click.ClickException):
        return _explain_click(error)
    # gpgen's errors are looked up, not imported: what was raised has imported them.
    errors: Any = sys.modules.get("gpgen.errors")
    if errors is not None and isinstance(error, errors.GpgenError):
        status = USAGE if isinstance(error, errors.UsageError) else FAILURE
        return status, error.code, error.message, error.hint
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return FAILURE, "os", f"{where}{error.strerror[0].lower()}{error.strerror[1:]}", None
    if isinstance(error, MemoryError):
        return FAILURE, "memory", "out of memory", "use fewer workers or a smaller --shard-size"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "this is a bug in gpgen: run it again with --debug and report what it prints"
    return FAILURE, "bug", what, hint


def _explain_click(error: click.ClickException) -> tuple[int, str, str, str | None]:
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError):
        return FAILURE, "error", message, None
    if context is None or message.endswith("?"):
        return USAGE, "usage", message, None
    hint = f"see '{context.command_path} --help'"
    if isinstance(error, click.NoSuchOption):
        message = f"there is no option {error.option_name}"
        options = [name for parameter in context.command.params for name in parameter.opts]
        near = difflib.get_close_matches(error.option_name, options, n=1)
        hint = f"did you mean {near[0]}?" if near else hint
    return USAGE, "usage", message, hint


def _one_line(text: str) -> str:
    return " ".join(text.split())
