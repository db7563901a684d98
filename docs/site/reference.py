"""Write the generated pages of ``docs/reference``: ``python docs/site/reference.py``.

They are kept, so that they can be read without the site, and a test says when one is out of date.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import msgspec
from gpgen_cli._errors import FAILURE, INTERRUPTED, USAGE
from gpgen_cli.main import VERBS, cli
from recipe_keys import COMPONENT_KEYS, RANGE_KEYS, RECIPE_KEYS, Key

from gpgen import Component, Recipe, errors
from gpgen.exact.drawn_range import DrawnRange

__all__ = ["PAGES"]

FOLDER = Path(__file__).parents[1] / "reference"
_WIDTH = 100


def _help(command: click.Command, name: str) -> str:
    context = click.Context(
        command, info_name=name, terminal_width=_WIDTH, help_option_names=["-h", "--help"]
    )
    return command.get_help(context)


def commands() -> str:
    """Return the page on the command line: each verb's own help."""
    parts = [
        "# The command line",
        "What each verb's `--help` says.",
        f"```text\n{_help(cli, 'gpgen')}\n```",
    ]
    for verb, module in VERBS.items():
        command = importlib.import_module(module).command
        parts += [f"## {verb}", f"```text\n{_help(command, f'gpgen {verb}')}\n```"]
        for name, inner in getattr(command, "commands", {}).items():
            parts += [
                f"### {verb} {name}",
                f"```text\n{_help(inner, f'gpgen {verb} {name}')}\n```",
            ]
    return "\n\n".join(parts) + "\n"


def parameters(docstring: str) -> dict[str, str]:
    """Return what a NumPy docstring says of each parameter, on one line each."""
    _, _, rest = inspect.cleandoc(docstring).partition("Parameters\n----------\n")
    section = re.split(r"\n\n\w+\n-+\n", rest)[0]
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\w.*)\n((?:    .*\n?)+)", section, re.MULTILINE):
        for name in names.split(", "):
            found[name] = " ".join(text.split())
    return found


def _type(field: msgspec.inspect.Field) -> str:
    """Return a field's type as TOML knows it."""

    def name(kind: msgspec.inspect.Type) -> list[str]:
        match kind:
            case msgspec.inspect.UnionType():
                return [word for each in kind.types for word in name(each)]
            case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
                return ["list"]
            case msgspec.inspect.StrType() | msgspec.inspect.LiteralType():
                return ["string"]
            case msgspec.inspect.FloatType():
                return ["number"]
            case msgspec.inspect.IntType():
                return ["integer"]
            case msgspec.inspect.BoolType():
                return ["boolean"]
            case msgspec.inspect.DictType() | msgspec.inspect.StructType():
                return ["table"]
            case msgspec.inspect.NoneType():
                return []
        raise TypeError(kind)

    return " or ".join(dict.fromkeys(name(field.type)))


def _default(field: msgspec.inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return "`{ " + ", ".join(f"{key} = {each}" for key, each in value.items()) + " }`"
    text = str(value).lower() if isinstance(value, bool) else value
    return f'`"{text}"`' if isinstance(value, str) else f"`{text}`"


def _keys(struct: type[msgspec.Struct], keys: Mapping[str, Key], level: str) -> list[str]:
    fields = msgspec.inspect.type_info(struct)
    assert isinstance(fields, msgspec.inspect.StructType)
    meaning = parameters(struct.__doc__ or "")
    lines = []
    for field in fields.fields:
        key = keys[field.name]
        text = meaning[field.name]
        rows = [
            ("type", _type(field) + (f", {key.unit}" if key.unit else "")),
            ("allowed", key.limits),
            ("default", _default(field)),
            ("example", f"`{key.example}`"),
        ]
        lines += [
            f"{level} `{field.name}`",
            "",
            text,
            "",
            *(f"- {name}: {value}" for name, value in rows),
            "",
        ]
    return lines


def recipe() -> str:
    """Return the page on each key of a recipe."""
    lines = [
        "# The keys of a recipe",
        "",
        "A recipe is a TOML file, or a dict of the same keys. An unknown key or a value out of",
        "range is refused in one line. `gpgen recipes show NAME` prints one that works.",
        "",
        *_keys(Recipe, RECIPE_KEYS, "##"),
        "## Keys of a component",
        "",
        "In a table `[[components]]` for each.",
        "",
        *_keys(Component, COMPONENT_KEYS, "###"),
        "## Keys of a range",
        "",
        "In the place of a list of length-scales, or of a weight, which each sample then draws:",
        "`length_scales = { low = 3.0, high = 12.0 }`.",
        "",
        *_keys(DrawnRange, RANGE_KEYS, "###"),
    ]
    return "\n".join(lines).rstrip() + "\n"


def exits() -> str:
    """Return the page on exit statuses and errors."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.GpgenError)
    ]
    statuses = {
        0: "done; or help was asked for",
        FAILURE: "it failed; or `verify` found damage, or `audit` a fault",
        USAGE: "an argument or a recipe that can't be fulfilled",
        INTERRUPTED: "Ctrl-C, or SIGTERM; the last line says how to go on",
    }
    rows = []
    for kind in kinds:
        status = USAGE if issubclass(kind, errors.UsageError) else FAILURE
        base = next(each for each in kind.__mro__ if each.__module__ == "builtins")
        text = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        rows.append(f"| `{kind.__name__}` | {base.__name__} | `{kind.code}` | {status} | {text} |")
    lines = [
        "# Exit statuses and errors",
        "",
        "An error is one line on standard error: what was wrong, where, and what to do next. With",
        "`--json` it is an object on standard output, too:",
        '`{"error": {"code": ..., "message": ..., "hint": ...}}`. `--debug` prints the traceback.',
        "",
        "| status | meaning |",
        "| --- | --- |",
        *(f"| {status} | {text} |" for status, text in statuses.items()),
        "",
        "From Python each is an exception of `gpgen`, with `message`, `hint` and `code`:",
        "",
        "| exception | is also a | code | status | |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Codes of what isn't the library's: `os` (the operating system refused), `memory`,",
        "`interrupted`, `error` (from the command line's parser) and `bug` (please report it).",
    ]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "recipe.md": recipe,
    "errors.md": exits,
}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (FOLDER / page).write_text(write(), encoding="utf-8")
