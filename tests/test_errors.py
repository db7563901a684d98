from __future__ import annotations

import ast
import inspect
import pickle
import re
import sys
from pathlib import Path

import click
import pytest
from gpgen_cli._errors import option
from gpgen_cli.main import VERBS, cli

import gpgen
from gpgen.errors import Argument, DatasetError, GpgenError, TargetError
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.publish import addresses, fetching, packaging, uploading
from gpgen.serving import server

ROOT = Path(__file__).parent.parent
CALLS = (
    gpgen.make,
    gpgen.convert,
    gpgen.verify,
    gpgen.difficulty,
    ArchivePlan,
    fetching.fetch,
    packaging.package,
    uploading.upload,
    addresses.named_service,
    server.listening,
)


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2Jgone", "a\0b", "\ud800", "\u202eright to left"])
def test_an_error_is_one_printable_line_whatever_it_quotes(text: str) -> None:
    error = GpgenError(f"what: {text}", f"do: {text}")
    assert str(error).isprintable()


def test_a_message_that_quotes_a_book_is_cut_and_its_end_is_kept() -> None:
    error = GpgenError(f"key {'x' * 10**6} is unknown", "give another")
    assert len(str(error)) < 1100
    assert str(error).endswith("x is unknown; give another")


def test_what_is_printable_is_left_as_it_is() -> None:
    error = DatasetError("größer als 1 µm", "tu's")
    assert str(error) == "größer als 1 µm; tu's"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


@pytest.mark.parametrize("argument", Argument)
def test_every_argument_of_a_hint_is_a_parameter_and_an_option(argument) -> None:
    parameters = {name for call in CALLS for name in inspect.signature(call).parameters}
    assert argument.parameter in parameters
    context = click.Context(cli)
    commands = [cli.get_command(context, verb) for verb in VERBS]
    options = {name for command in commands for each in command.params for name in each.opts}
    words = {option(argument.parameter, {p.name: p for p in c.params}) for c in commands}
    names = {name for each in words for name in re.findall(r"--[a-z-]+", each)}
    assert names & options
    # A verb without the parameter may get the error all the same, and calls it as Python does.
    assert names <= options | {f"--{argument.parameter}"}


def test_a_hint_is_worded_for_python_and_for_the_verb_that_was_called() -> None:
    error = TargetError("x exists", f"choose another {Argument.OUT}, or {Argument.OVERWRITE}")
    assert str(error) == "x exists; choose another out, or overwrite=True"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    for verb, words in (("make", "--out"), ("convert", "DST")):
        command = cli.get_command(click.Context(cli), verb)
        assert option("out", {each.name: each for each in command.params}) == words
        assert f"gpgen_cli.{verb}" in sys.modules


@pytest.mark.parametrize("package", ["gpgen", "backdrop"])
def test_the_library_speaks_of_no_option_but_in_whole_commands(package) -> None:
    """Commands stand in backticks, or begin with the name of a program."""
    found = []
    for path in (ROOT / package).rglob("*.py"):
        tree = ast.parse(path.read_text())
        passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        passed |= {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant | ast.JoinedStr) or id(node) in passed:
                continue
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "X"
                for part in (node.values if isinstance(node, ast.JoinedStr) else [node])
            )
            text = re.sub(r"`[^`]*`|^gpgen .*", "", text)
            found += [(path.name, text)] if re.search(r"(^| )--[a-z]", text) else []
    assert [name for name, _ in found if name not in COMMANDS] == []


COMMANDS = {"record.py", "style.py", "recognizing.py"}
"""Files that build whole commands, and a page's style."""
