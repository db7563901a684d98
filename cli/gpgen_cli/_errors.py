"""Every exception becomes one line that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

import click

__all__ = ["INTERRUPTED", "Interrupted", "option", "run"]

FAILURE, USAGE, INTERRUPTED = 1, 2, 130

# Packages that pip installs when asked for, and by which name.
_EXTRAS = {
    "torch": "torch",
    "tensorstore": "torch",
    "matplotlib": "plot",
    "httpx": "publish",
    "packaging": "publish",
    "yaml": "publish",
    "botocore": "s3",
    "starlette": "serve",
    "uvicorn": "serve",
    "urllib3": "http",
}


# Parameters of the library that are otherwise called at the prompt.
_OTHERWISE = {
    "new_version_of": "--new-version",
    "security": "--tls-ca-file, --tls-cert and --tls-key",
}


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C, with how to go on from here, if there is a way."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint


def run(command: click.Command, arguments: list[str]) -> int:
    """Call a click command and return the exit status, whatever happens.

    An exception is told in one line on standard error; with ``--json`` also as
    an object on standard output, with ``--debug`` after its traceback.
    """
    _open_closed_streams()
    try:
        result = command.main(arguments, prog_name="gpgen", standalone_mode=False, obj=arguments)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        _abandon(sys.stdout)  # the reader has had enough (`gpgen recipes | head`)
        return FAILURE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nothing may escape as a traceback
        return _report(error, arguments)
    return result if isinstance(result, int) else 0


def _open_closed_streams() -> None:
    """Open what the caller has closed (``gpgen info x >&-``), to nowhere.

    Python then has no such stream; and the file opened next, a shard perhaps, would get its
    number, to which other programs and libraries write.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - for ever


def _abandon(stream: TextIO) -> None:
    """Let what can't be written go nowhere: Python would complain again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _write(text: str, stream: TextIO) -> None:
    try:
        click.echo(text, stream, nl=False)
    except OSError:  # the disk is full, or nobody reads it: there is no way to say so
        _abandon(stream)


def _report(error: BaseException, arguments: list[str]) -> int:
    status, code, message, hint = _explain(error, _parameters(arguments))
    if "--debug" in arguments:
        _write("".join(traceback.format_exception(error)), sys.stderr)
    line = f"error: {message}; {hint}" if hint else f"error: {message}"
    _write(f"{_one_line(line)}\n", sys.stderr)
    told = {"code": code, "message": message, "hint": hint}
    # Nothing is a flush: of what is left of the output, which may be what the error is about.
    _write(json.dumps({"error": told}) + "\n" if "--json" in arguments else "", sys.stdout)
    return status


def _parameters(arguments: list[str]) -> dict[str, click.Parameter]:
    """Return the parameters of the verb that was called, by their names."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    module = sys.modules.get(f"gpgen_cli.{verb}") or sys.modules.get(f"gpgen_cli.{verb}_")
    command: click.Command | None = getattr(module, "command", None)
    return {str(each.name): each for each in command.params} if command is not None else {}


def option(name: str, parameters: Mapping[str, click.Parameter]) -> str:
    """Return what a parameter of the library is called at the prompt.

    Parameters
    ----------
    name
        The parameter's name in Python.
    parameters
        Those of the verb that was called.
    """
    if name in _OTHERWISE:
        return _OTHERWISE[name]
    found = parameters.get(name)
    if isinstance(found, click.Argument):
        return found.make_metavar(click.Context(click.Command(None)))
    names = [f"--{name.replace('_', '-')}"] if found is None else found.opts
    return max(names, key=len)


def _explain(
    error: BaseException, parameters: Mapping[str, click.Parameter]
) -> tuple[int, str, str, str | None]:
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
        hint = (
            None
            if error.hint is None
            else errors.worded(error.hint, lambda argument: option(argument.parameter, parameters))
        )
        return status, error.code, error.message, hint
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        hint = f"install it with `pip install 'gpgen[{_EXTRAS[error.name]}]'`"
        return FAILURE, "missing-package", f"this needs {error.name}, which isn't installed", hint
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
